// The echo of https://github.com/websockets/ws, on http or https.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { WebSocketServer } from "ws";

const server = process.argv.includes("tls")
  ? createTlsServer({ cert: readFileSync("/tls/server.pem"), key: readFileSync("/tls/server.key") })
  : createServer();
const sockets = new WebSocketServer({ server });
sockets.on("connection", socket => {
  socket.on("error", console.error);
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.listen(9000);
