// Many clients in one room are closed at the same moment: when does each come back?
import { ReconnectingWebSocket } from "/client.mjs";

const [url, number, firstDelay] = [process.argv[2], +process.argv[3], +process.argv[4]];
const once = (socket, type, is = () => true) => new Promise(resolve => {
  socket.addEventListener(type, event => { if (is(event)) resolve(event); });
});
const sockets = Array.from({ length: number }, () => {
  const socket = new ReconnectingWebSocket(url, [], { firstDelay, minUptime: 0, connectTimeout: 600_000 });
  socket.join("many", { type: "enter", name: "ann" });
  return socket;
});
await Promise.all(sockets.map(socket => once(socket, "message", ({ data }) => data.includes("members"))));
// A timer counts from a turn of the event loop that began before it was set, and the process may be interrupted after
// that: each client is measured from a time that is certainly not later.
let turn = performance.now();
setInterval(() => { turn = performance.now(); }, 1);
const back = sockets.map(async socket => {
  const { delay } = await once(socket, "retry");
  const cut = turn;
  await once(socket, "open");
  return { delay, took: performance.now() - cut };
});
console.log("all have joined");
console.log(JSON.stringify(await Promise.all(back)));
process.exit(0);
