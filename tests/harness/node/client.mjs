// site/client.js in Node.
import { ReconnectingWebSocket } from "/client.mjs";
const socket = new ReconnectingWebSocket(process.argv[2], [], { heartbeat: { message: '{"type": "ping"}' } });
socket.addEventListener("message", ({ data }) => console.log("message", data));
socket.addEventListener("gap", ({ room, gap }) => console.log("gap", room, gap));
socket.addEventListener("close", ({ code, reason, willRetry }) => console.log("close", code, reason, willRetry));
socket.join(process.argv[3], { type: "enter", name: "ann" });
