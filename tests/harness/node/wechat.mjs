// examples/clients/wechat.js in Node, with a stand-in for WeChat's `wx` on a real WebSocket.
globalThis.wx = {
  connectSocket({ url, protocols }) {
    const ws = new WebSocket(url, protocols);
    return {
      onOpen(listener) { ws.onopen = () => listener({}); },
      onMessage(listener) { ws.onmessage = ({ data }) => listener({ data }); },
      onClose(listener) { ws.onclose = ({ code, reason }) => listener({ code, reason }); },
      onError(listener) { ws.onerror = () => listener({ errMsg: "connectSocket:fail" }); },
      send({ data }) { ws.send(data); },
      close({ code }) { ws.close(code); },
    };
  },
  onAppShow() {}, offAppShow() {}, onNetworkStatusChange() {}, offNetworkStatusChange() {},
};

const { connect } = await import("/client.mjs");
connect(process.argv[2], {
  rooms: { [process.argv[3]]: { type: "enter", name: "ann" } },
  heartbeat: JSON.stringify({ type: "ping" }),
  onMessage(data) { console.log("message", data); },
  onGap(room, reason) { console.log("gap", room, reason); },
  onClose(code, reason, willRetry) { console.log("close", code, reason, willRetry); },
});
