// An echo with https://github.com/uNetworking/uWebSockets.js, with TLS if requested; `?all` broadcasts.
const uws = require("@btc-vision/uwebsockets.js");

const app = process.argv.includes("tls")
  ? uws.SSLApp({ cert_file_name: "/tls/server.pem", key_file_name: "/tls/server.key" })
  : uws.App();
app
  .ws("/wss", {
    maxPayloadLength: 2 << 20,
    maxBackpressure: 64 << 20,
    upgrade(response, request, context) {
      response.upgrade(
        { all: request.getQuery() === "all" },
        request.getHeader("sec-websocket-key"),
        request.getHeader("sec-websocket-protocol"),
        request.getHeader("sec-websocket-extensions"),
        context,
      );
    },
    open(socket) {
      if (socket.getUserData().all) socket.subscribe("all");
    },
    message(socket, data, binary) {
      if (socket.getUserData().all) app.publish("all", data, binary);
      else socket.send(data, binary);
    },
  })
  .listen(9000, listening => {
    if (!listening) throw new Error("port 9000 cannot be opened");
  });
