/**
 * A WebSocket that connects again by itself, and resumes the rooms that it has joined: docs/client.md.
 * Events: `open`; `message` (data, in a room with history also room and position); `gap` (room, gap, since, position);
 * `close` (code, reason, wasClean, willRetry); `retry` (delay in ms, failures); `drop` (data that is not sent).
 */

// Close codes after which a new connection can succeed, with the failures for which they count in addition: more if the
// server has a problem. https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number
const RETRIED = new Map([[1001, 0], [1006, 0], [1011, 3], [1012, 0], [1013, 3], [1014, 3]]);

export const DEFAULTS = {
  firstDelay: 1_000, // ms
  maxDelay: 30_000, // ms
  minUptime: 5_000, // ms that a connection lasts before the delay is reset
  connectTimeout: 10_000, // ms
  maxQueued: 100, // messages that wait for a connection
  heartbeat: null, // { message, isReply, interval: 20_000, timeout: 10_000 }: the server has to answer `message`
  isRetried: code => RETRIED.has(code),
};

/** Exponential backoff with full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ */
export function retryDelay(code, failures, { firstDelay, maxDelay } = DEFAULTS) {
  return Math.random() * Math.min(maxDelay, firstDelay * 2 ** (failures + (RETRIED.get(code) ?? 0)));
}

export class ReconnectingWebSocket extends EventTarget {
  #options; #failures; #queue = []; #timers = {};
  #socket; // undefined while it waits for the next attempt
  #rooms = new Map(); // name → { message, position }
  #isEnded; #isHeard; // whether no attempt follows; whether a message came since the last heartbeat
  #listening; // to the events of the page

  /** `url` and `protocols` are properties: the next attempt uses their new values. */
  constructor(url, protocols = [], options = {}) {
    super();
    Object.assign(this, { url, protocols });
    this.#options = { ...DEFAULTS, ...options };
    this.reconnect();
  }

  get protocol() { return this.#socket?.protocol ?? ""; }
  get extensions() { return this.#socket?.extensions ?? ""; }
  get readyState() { return this.#socket?.readyState ?? (this.#isEnded ? WebSocket.CLOSED : WebSocket.CONNECTING); }

  /** Connect now: during the wait for the next attempt, after the last one, or in place of the open connection. */
  reconnect() {
    this.#abandon();
    this.#failures = 0;
    this.#isEnded = false;
    this.#listen();
    this.#connect();
  }

  /** Close for good: the `close` event follows, and no other attempt. */
  close(code = 1000, reason = "") {
    const isWaiting = !this.#socket && !this.#isEnded;
    this.#isEnded = true;
    this.#socket?.close(code, reason);
    if (isWaiting) this.#closed({ code, reason, wasClean: true });
  }

  /** Send, or queue until the connection is open again. Return false, after a `drop` event, if neither is possible. */
  send(data) {
    const isOpen = this.readyState === WebSocket.OPEN;
    const isKept = isOpen || (!this.#isEnded && this.#queue.length < this.#options.maxQueued);
    if (isOpen) this.#socket.send(data);
    else if (isKept) this.#queue.push(data);
    else this.#emit("drop", { data });
    return isKept;
  }

  /** Send `{ ...message, room, since }` now and after each reconnect, with the last position in the room, if any. */
  join(room, message = { type: "join" }, since = this.position(room)) {
    this.#rooms.set(room, { message, position: since });
    this.#sendJoin(room);
  }

  leave(room, message = { type: "leave" }) {
    if (this.#rooms.delete(room) && this.readyState === WebSocket.OPEN) this.send(JSON.stringify({ ...message, room }));
  }

  /** Return the position of the last message that was received in a room with history. */
  position(room) { return this.#rooms.get(room)?.position; }

  #connect() {
    const socket = this.#socket = new WebSocket(this.url, this.protocols);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ reason }) => this.#lost(reason); // whatever the code: Node has 1002 here
    this.#after("connect", this.#options.connectTimeout, () => this.#lost("connect timeout"));
  }

  #opened() {
    clearTimeout(this.#timers.connect);
    this.#socket.onclose = event => this.#closed(event);
    this.#after("stable", this.#options.minUptime, () => { this.#failures = 0; });
    const joined = [...this.#rooms];
    this.#emit("open"); // a listener can authenticate with the first message, and join other rooms
    for (const [room, entry] of joined) if (this.#rooms.get(room) === entry) this.#sendJoin(room);
    for (const data of this.#queue.splice(0)) this.send(data);
    this.#wake(); // starts the heartbeat
  }

  #closed({ code, reason, wasClean }) {
    this.#abandon();
    const willRetry = !this.#isEnded && this.#options.isRetried(code);
    this.#isEnded = !willRetry;
    this.#emit("close", { code, reason, wasClean, willRetry });
    if (this.#socket) return; // a listener has called reconnect()
    if (!this.#isEnded) return this.#wait(retryDelay(code, this.#failures++, this.#options));
    this.#listening.abort();
    for (const data of this.#queue.splice(0)) this.#emit("drop", { data });
  }

  // A browser reports a dead connection only after a minute: do not wait for its close event.
  #lost(reason, code = 1006) { this.#closed({ code, reason, wasClean: false }); }

  #abandon() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #wait(delay) {
    this.#after("retry", delay, () => this.#connect());
    this.#emit("retry", { delay, failures: this.#failures });
  }

  // Two timers: when a frozen tab wakes, messages that have arrived are delivered before the second one ends.
  #beat() {
    const { message, interval = 20_000, timeout = 10_000 } = this.#options.heartbeat;
    this.#isHeard = false;
    this.#socket.send(message);
    const next = ifSilent => () => (this.#isHeard ? this.#after("beat", interval, () => this.#beat()) : ifSilent());
    this.#after("beat", timeout, next(() => this.#after("beat", 1_000, next(() => this.#lost("heartbeat timeout")))));
  }

  // The network or the tab may have changed: examine the connection, or shorten the wait.
  #wake() {
    if (this.readyState === WebSocket.OPEN && this.#options.heartbeat) this.#beat();
    if (!this.#socket) this.#wait(retryDelay(1006, 0, this.#options));
  }

  #listen() {
    this.#listening?.abort();
    const { signal } = this.#listening = new AbortController();
    const on = (target, type, listener = () => this.#wake()) => target?.addEventListener?.(type, listener, { signal });
    for (const type of ["online", "offline", "pageshow"]) on(globalThis, type); // Node has neither these
    for (const type of ["visibilitychange", "resume"]) on(globalThis.document, type); // nor a document
    // The back-forward cache can refuse a page with an open WebSocket: https://web.dev/articles/bfcache
    on(globalThis, "pagehide", () => { if (this.#socket) this.#lost("page hidden", 1001); });
  }

  #sendJoin(room) {
    const { message, position } = this.#rooms.get(room);
    if (this.readyState === WebSocket.OPEN) this.send(JSON.stringify({ ...message, room, since: position }));
  }

  #received(data) {
    this.#isHeard = true;
    if (this.#options.heartbeat?.isReply?.(data)) return;
    const { room, position, ...event } = (this.#rooms.size && parse(data)) || {};
    const entry = this.#rooms.get(room);
    if (!entry || typeof position !== "string") return this.#emit("message", { data });
    const isStart = "gap" in event, since = entry.position, step = steps(since, position);
    if (step <= 0 && !event.gap) return; // a duplicate
    const gap = isStart ? event.gap : step === 1 ? null : "lost";
    entry.position = position;
    if (gap) this.#emit("gap", { room, gap, since, position });
    if (!isStart) this.#emit("message", { data: event.message ?? data, room, position });
  }

  #after(name, delay, callback) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(callback, delay);
  }

  #emit(type, fields) { this.dispatchEvent(Object.assign(new Event(type), fields)); }
}

/** Return how many messages one position (`epoch:offset`) is after another: 1 after none, NaN in another epoch. */
function steps(since, position) {
  if (!since) return 1;
  const [[epoch, offset], [newEpoch, newOffset]] = [since, position].map(text => text.split(":"));
  return epoch === newEpoch ? newOffset - offset : NaN;
}

/** Return the object in a message (docs/rooms.md#positions). In a binary one, the message follows a line feed. */
function parse(data) {
  try {
    if (typeof data === "string") return JSON.parse(data);
    const end = new Uint8Array(data).indexOf(10);
    return { ...JSON.parse(new TextDecoder().decode(data.slice(0, end))), message: data.slice(end + 1) };
  } catch {} // a message of another kind
}
