// An echo with https://bun.com/docs/runtime/http/websockets, with TLS if requested; `?all` broadcasts.
const tls = process.argv.includes("tls")
  ? { cert: Bun.file("/tls/server.pem"), key: Bun.file("/tls/server.key") }
  : undefined;
const server = Bun.serve({
  port: 9000,
  tls,
  fetch(request, server) {
    if (!server.upgrade(request, { data: { all: request.url.endsWith("?all") } })) {
      return new Response("not a WebSocket", { status: 426 });
    }
  },
  websocket: {
    maxPayloadLength: 2 << 20,
    backpressureLimit: 64 << 20,
    open(socket) {
      if (socket.data.all) socket.subscribe("all");
    },
    message(socket, data) {
      if (socket.data.all) server.publish("all", data);
      else socket.send(data);
    },
  },
});
