// Express and ws (https://github.com/websockets/ws) on one port: an echo, and a route that shows what Express sees.
import { createServer } from "node:http";
import express from "express";
import { WebSocketServer } from "ws";

// Only the proxies reach this container, so every peer may state the client's address.
const app = express().set("trust proxy", true);
app.get("/api/whoami", (request, response) => {
  response.json({ address: request.ip, url: `${request.protocol}://${request.host}${request.originalUrl}` });
});

const server = createServer(app).listen(9000);
const sockets = new WebSocketServer({ server, path: "/ws" });
sockets.on("connection", socket => {
  socket.isAlive = true;
  socket.on("pong", () => (socket.isAlive = true));
  socket.on("error", console.error);
  socket.on("message", (data, binary) => socket.send(data, { binary }));
});

// ws does not ping by itself. Without pings, the proxies close a silent WebSocket after IDLE_TIMEOUT, and a client that
// has vanished stays until then.
setInterval(() => {
  for (const socket of sockets.clients) {
    if (!socket.isAlive) socket.terminate();
    socket.isAlive = false;
    socket.ping();
  }
}, 20_000);

// The proxies cannot send close frames of this server: without this, clients see 1006 at a stop.
process.on("SIGTERM", () => {
  server.close(() => process.exit());
  for (const socket of sockets.clients) socket.close(1012, "restart");
  server.closeIdleConnections();
  setTimeout(() => sockets.clients.forEach(socket => socket.terminate()), 5_000);
});
