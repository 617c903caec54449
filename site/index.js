/** The test page: sends messages, shows what comes back, how long it takes, and why a connection ends. */

import { Chart } from "./chart.js";
import { ReconnectingWebSocket } from "./client.js";
import { describeClosure } from "./closure.js";
import { TEXTS } from "./index.texts.js";
import { isLocal, textsOf, translate } from "./language.js";
import { Log, create } from "./log.js";
import { Status } from "./status.js";

const ADDRESS = `wss://${location.host}/wss`;
const MAX_ENTRIES = 200;
const MAX_CHARACTERS = 2_000;
const ANSWER_TIMEOUT = 5_000; // ms

const byId = id => document.getElementById(id);
const text = textsOf(TEXTS);
const timeOfDay = new Intl.DateTimeFormat(undefined, {
  hour: "numeric", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
});
const timeToTheSecond = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

translate(TEXTS);
const status = new Status(byId("state"));
const log = new Log(byId("log"), MAX_ENTRIES);
const chart = new Chart(byId("chart"), byId("chart-summary"), (...figures) => text("summary", ...figures));

// --- Log

function entryOf(direction, ...content) {
  const entry = create("p", [create("time", timeOfDay.format()), " ", ...content]);
  entry.dataset.direction = direction;
  return entry;
}

function recordEvent(content) {
  log.addEvent(entryOf("event", content), content);
}

function recordMessage(direction, content) {
  const shown = content.length > MAX_CHARACTERS ? `${content.slice(0, MAX_CHARACTERS)}…` : content;
  log.add(entryOf(direction, create("b", text(direction)), " ", shown));
}

// --- Connection

// Without a queue: the page reports what it cannot send.
const socket = new ReconnectingWebSocket(ADDRESS, [], { maxQueued: 0 });
let sentAt; // the time of the oldest message without a reply
let steady, answerTimer;

function enter(state) {
  sentAt = undefined;
  clearTimeout(answerTimer);
  const isOpen = state === "open";
  status.show(state, text(state));
  byId("subprotocol").textContent = isOpen ? socket.protocol || text("none") : "–";
  byId("extensions").textContent = isOpen ? socket.extensions || text("none") : "–";
  byId("connect").textContent = text(isOpen || state === "connecting" ? "disconnect" : "connect");
  // Not `disabled`, which would remove the focus.
  for (const id of ["send-tom", "send"]) byId(id).ariaDisabled = String(!isOpen);
  restartSteady();
}

function connect() {
  socket.reconnect();
  enter("connecting");
}

function disconnect() {
  // On a dead connection, the close event arrives only after a minute.
  enter("closed");
  socket.close(1000);
}

function opened() {
  enter("open");
  byId("detail").textContent = text("since", timeToTheSecond.format());
  recordEvent(text("connected"));
}

function received({ data }) {
  if (sentAt !== undefined) measured(performance.now() - sentAt);
  sentAt = undefined;
  clearTimeout(answerTimer);
  showHandler(data === "ok" ? "exampleHandler" : "otherHandler");
  recordMessage("received", typeof data === "string" ? data : text("binary", data.byteLength));
}

function measured(milliseconds) {
  byId("round-trip").textContent = `${milliseconds.toFixed(1)} ms`;
  chart.add(milliseconds);
}

/** Report which handler the server seems to have; the text is announced only if it changes. */
function showHandler(key) {
  if (byId("handler").textContent !== text(key)) byId("handler").textContent = text(key);
}

function closed(event) {
  const isUnanswered = status.state === "closed" && event.code === 1006;
  const closure = isUnanswered ? text("unanswered") : describeClosure(event);
  const isUnexplained = event.code === 1006 && !isUnanswered;
  byId("detail").textContent = isUnexplained ? text(isLocal ? "seeDoctor" : "noDetails", closure) : closure;
  recordEvent(closure);
  if (!event.willRetry) enter("closed");
}

function waiting({ delay }) {
  enter("waiting");
  status.countDown(delay, () => enter("connecting"));
}

function send(message) {
  if (status.state !== "open") {
    recordEvent(text("notSent"));
    return false;
  }
  // Measure from the oldest message without a reply: the next message is most likely the reply to it.
  if (sentAt === undefined) {
    sentAt = performance.now();
    answerTimer = setTimeout(showHandler, ANSWER_TIMEOUT, "otherHandler");
  }
  socket.send(message);
  recordMessage("sent", message);
  return true;
}

function sendTom() {
  send("tom");
}

function restartSteady() {
  clearInterval(steady);
  const isSteady = status.state === "open" && byId("steady").checked;
  if (isSteady) steady = setInterval(sendTom, 1000);
  byId("log").setAttribute("aria-live", isSteady ? "off" : "polite");
}

function sendOwn(event) {
  event.preventDefault();
  if (send(byId("message").value)) byId("message").value = "";
}

// --- Snippets

async function copy({ currentTarget: button }) {
  const snippet = byId(button.dataset.copy);
  const result = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(snippet.textContent);
    result.textContent = text("copied");
  } catch {
    getSelection().selectAllChildren(snippet);
    result.textContent = text("selected");
  }
  setTimeout(() => { result.textContent = ""; }, 3000);
}

function fillIn(id) {
  byId(id).textContent = byId(id).textContent.replaceAll("HOST", location.host);
}

// --- Start

["address", "snippet-browser", "snippet-python", "snippet-shell"].forEach(fillIn);
byId("connect").onclick = () => (["connecting", "open"].includes(status.state) ? disconnect() : connect());
byId("send-tom").onclick = sendTom;
byId("own").onsubmit = sendOwn;
byId("steady").onchange = restartSteady;
for (const button of document.querySelectorAll("[data-copy]")) button.onclick = copy;
socket.addEventListener("open", opened);
socket.addEventListener("message", received);
socket.addEventListener("close", closed);
socket.addEventListener("retry", waiting);
enter("connecting");
