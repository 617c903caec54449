// Socket.IO with its connection state recovery, over the streams of the hub: https://socket.io/docs/v4/redis-streams-adapter
import { readFileSync } from "node:fs";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const password = readFileSync(process.env.HUB_PASSWORD_FILE, "utf8").trim();
const hub = createClient({ url: "redis://hub:6379", password });
hub.on("error", error => console.error(error.message)); // it connects again by itself
await hub.connect();

const io = new Server(3000, {
  adapter: createAdapter(hub, { maxLen: 100_000 }),
  connectionStateRecovery: { maxDisconnectionDuration: 120_000 },
  pingInterval: 5_000,
  pingTimeout: 10_000,
});

io.on("connection", socket => {
  socket.on("join", async (room, reply) => {
    await socket.join(room);
    reply();
  });
  socket.on("say", (room, sender, number, reply) => {
    io.to(room).emit("said", sender, number);
    reply();
  });
});

process.on("SIGTERM", () => io.close(() => process.exit()));
