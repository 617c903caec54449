// Express with `trust proxy` (https://expressjs.com/en/guide/behind-proxies.html), and ws on the same port.
const { createServer } = require("node:http");
const express = require("express");
const { WebSocketServer } = require("ws");

const application = express();
application.set("trust proxy", 1);
application.all("*", (request, response) => {
  const { protocol, hostname, ip, secure } = request;
  response.json({ protocol, hostname, ip, secure, host: request.get("host") });
});
const server = createServer(application);
new WebSocketServer({ server }).on("connection", socket => {
  socket.on("message", (data, binary) => socket.send(data, { binary }));
});
server.listen(9000);
process.on("SIGTERM", () => process.exit(0));
