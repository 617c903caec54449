// A client for WeChat mini programs that connects again by itself, and resumes its rooms: the twin of site/client.js.
//
//     import { connect } from "./wechat.js";
//     const socket = connect("wss://example.com/wss", {
//       rooms: { tea: { type: "enter", name: "Ann" } },           // the message that joins each room
//       heartbeat: JSON.stringify({ type: "ping" }),              // the server has to answer it
//       onMessage(data, room) {}, onGap(room, reason) {}, onClose(code, reason, willRetry) {},
//     });
//     socket.send("hello");                                       // false: there is no connection
//
// wx.connectSocket: https://developers.weixin.qq.com/miniprogram/dev/api/network/websocket/wx.connectSocket.html
// The domain must be in the list of the mini program's administration, and its certificate must have its full chain.

// The codes after which a new connection can succeed, with the failures for which they count in addition.
const RETRIED = { 1001: 0, 1006: 0, 1011: 3, 1012: 0, 1013: 3, 1014: 3 };
const FIRST_DELAY = 1000, MAX_DELAY = 30000, MIN_UPTIME = 5000, CONNECT_TIMEOUT = 10000; // ms
const HEARTBEAT_INTERVAL = 20000, HEARTBEAT_TIMEOUT = 10000; // ms
// With 1000 and this reason, WeChat itself has closed a connection in the background. Developers report it, its manual does not:
// https://developers.weixin.qq.com/community/develop/doc/000a0cbd84c480897c1e455105b800
const SUSPENDED = "interrupted";
const nothing = () => {};

export function connect(url, options) {
  const { rooms = {}, heartbeat, header, protocols, onMessage = nothing, onGap = nothing, onClose = nothing } = options;
  const positions = {};
  let task, isOpen = false, isEnded = false, isHeard = false, failures = 0, opened = 0, retryTimer, beatTimer;

  function open() {
    const mine = task = wx.connectSocket({ url, header, protocols, timeout: CONNECT_TIMEOUT });
    const ifCurrent = listener => event => { if (mine === task) listener(event); };
    mine.onOpen(ifCurrent(() => {
      isOpen = true;
      opened = Date.now();
      for (const room in rooms) send(JSON.stringify({ ...rooms[room], room, since: positions[room] }));
      if (heartbeat) beat();
    }));
    mine.onMessage(ifCurrent(({ data }) => receive(data)));
    mine.onClose(ifCurrent(({ code, reason }) => {
      const isLost = !code || (code === 1000 && reason === SUSPENDED);
      closed(isLost ? 1006 : code, reason || "");
    }));
    // Without a close event, if the connection could not be opened.
    mine.onError(ifCurrent(({ errMsg }) => closed(1006, errMsg)));
  }

  function closed(code, reason) {
    task = undefined;
    clearTimeout(beatTimer);
    if (isOpen && Date.now() - opened > MIN_UPTIME) failures = 0;
    isOpen = false;
    isEnded = isEnded || !(code in RETRIED);
    onClose(code, reason, !isEnded);
    if (!isEnded) wait(FIRST_DELAY * 2 ** (failures++ + RETRIED[code]));
  }

  // Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
  function wait(delay) {
    clearTimeout(retryTimer);
    retryTimer = setTimeout(open, Math.random() * Math.min(MAX_DELAY, delay));
  }

  function beat() {
    isHeard = false;
    send(heartbeat);
    clearTimeout(beatTimer);
    beatTimer = setTimeout(() => {
      if (isHeard) beatTimer = setTimeout(beat, HEARTBEAT_INTERVAL);
      else lost();
    }, HEARTBEAT_TIMEOUT);
  }

  // Do not wait for the close event of a dead connection.
  function lost() {
    task.close({ code: 1000 });
    closed(1006, "heartbeat timeout");
  }

  function wake() {
    if (isOpen && heartbeat) beat();
    else if (!task && !isEnded) wait(FIRST_DELAY);
  }

  function receive(data) {
    isHeard = true;
    const { room, position, gap, message } = parse(data);
    if (!(room in rooms) || !position) return onMessage(data);
    const step = steps(positions[room], position);
    if (step <= 0 && !gap) return; // a duplicate
    positions[room] = position;
    if (gap) return onGap(room, gap);
    if (gap === null) return; // a start: nothing is missing
    if (step !== 1) onGap(room, "lost");
    onMessage(message === undefined ? data : message, room);
  }

  function send(data) {
    if (isOpen) task.send({ data });
    return isOpen;
  }

  function close() {
    isEnded = true;
    clearTimeout(retryTimer);
    if (task) task.close({ code: 1000 });
    wx.offAppShow(wake);
    wx.offNetworkStatusChange(wake);
  }

  wx.onAppShow(wake); // a mini program in the background is suspended
  wx.onNetworkStatusChange(wake);
  open();
  return { send, close };
}

/** Return how many messages one position (`epoch:offset`) is after another: 1 after none, NaN in another epoch. */
function steps(since, position) {
  if (!since) return 1;
  const [[epoch, offset], [newEpoch, newOffset]] = [since, position].map(text => text.split(":"));
  return epoch === newEpoch ? newOffset - offset : NaN;
}

function parse(data) {
  try {
    return JSON.parse(data) || {};
  } catch (error) {
    return {}; // not JSON: a message of another kind
  }
}
