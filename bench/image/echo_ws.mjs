// An echo with https://github.com/websockets/ws, on http or https; `?all` broadcasts.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { WebSocketServer } from "ws";

const server = process.argv.includes("tls")
  ? createTlsServer({ cert: readFileSync("/tls/server.pem"), key: readFileSync("/tls/server.key") })
  : createServer();
const sockets = new WebSocketServer({ server });
sockets.on("connection", (socket, request) => {
  socket.on("error", console.error);
  if (request.url.endsWith("?all")) {
    socket.on("message", (data, binary) => sockets.clients.forEach(client => client.send(data, { binary })));
  } else {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  }
});
server.listen(9000);
