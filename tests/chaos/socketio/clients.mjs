// Clients of Socket.IO. Commands come on standard input, reports go to standard output: JSON arrays, one per line.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, ca] = process.argv.slice(2);
const sockets = new Map();
const report = (...fields) => console.log(JSON.stringify(fields));

const commands = {
  open(name, room) {
    const socket = io(url, {
      transports: ["websocket"],
      ca: readFileSync(ca),
      forceNew: true,
      reconnectionDelay: 500,
      reconnectionDelayMax: 3_000,
    });
    sockets.set(name, socket);
    let connected = 0;
    socket.on("connect", () => {
      connected = Date.now();
      if (socket.recovered) report("recovered", name);
      else socket.emit("join", room, () => report("joined", name));
    });
    socket.on("disconnect", reason => {
      report("lost", name);
      // The client does not connect again by itself after a close by the server.
      if (reason === "io server disconnect") socket.connect();
    });
    // The offset is the ID in the stream, which begins with the time in milliseconds.
    socket.on("said", (sender, number, offset) => report("said", name, sender, number, offset, parseInt(offset) < connected));
  },
  say(name, room, number) {
    const socket = sockets.get(name);
    if (socket.connected) socket.emit("say", room, name, number, () => report("kept", name, number));
  },
  pause(name) { sockets.get(name).io.engine?.transport?.ws?._socket?.pause(); },
  cut(name) { sockets.get(name).io.engine?.transport?.ws?.terminate(); },
};

createInterface({ input: process.stdin }).on("line", line => {
  const [command, ...fields] = JSON.parse(line);
  commands[command](...fields);
}).on("close", () => process.exit());
