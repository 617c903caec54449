// Socket.IO (https://socket.io): its clients begin with long polling, then upgrade to a WebSocket on the same path.
import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer();
const io = new Server(server);

io.on("connection", socket => {
  const { address, headers } = socket.handshake;
  socket.on("whoami", reply => reply({ address: headers["x-real-ip"] ?? address, host: headers.host }));
  socket.on("echo", (message, reply) => reply(message));
  socket.on("join", (room, reply) => {
    socket.join(room);
    reply(room);
  });
  socket.on("say", (room, message) => io.to(room).emit("said", message));
});

server.listen(3000);

// Tells the clients that the server stops, so that they connect again.
process.on("SIGTERM", () => io.close(() => process.exit()));
