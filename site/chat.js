/** The page of backend/apps/chat.py, which describes the messages. */

import { ReconnectingWebSocket } from "./client.js";
import { describeClosure } from "./closure.js";
import { TEXTS } from "./chat.texts.js";
import { isLocal, textsOf, translate } from "./language.js";
import { Log, create } from "./log.js";
import { Status } from "./status.js";

const HANDLER = "apps.chat:handler";
const HEARTBEAT = { message: JSON.stringify({ type: "ping" }) };
const REFRESH_INTERVAL = 20_000; // ms
const MAX_ENTRIES = 500;

const byId = id => document.getElementById(id);
const text = textsOf(TEXTS);
// In the reader's own way: 5:33 PM, 17:33, 下午5:33.
const timeOfDay = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

translate(TEXTS);
const status = new Status(byId("state"));
const log = new Log(byId("log"), MAX_ENTRIES);
let socket, name, id, room, refreshTimer;
let listening; // to the events of the socket

// --- Who is who

/** Return the secret that makes the name of this browser its own. */
function ownKey() {
  try {
    return localStorage.chatKey ??= crypto.randomUUID();
  } catch {
    return ownKey.unstored ??= crypto.randomUUID(); // storage is blocked
  }
}

const ids = new Map(); // name → ids, in the order of their appearance

/** Return a name, with a number if somebody else had it before. Without an id: the one that had it last. */
function distinct(person, id) {
  const known = ids.get(person) ?? [];
  if (id !== undefined && !known.includes(id)) known.push(id);
  ids.set(person, known);
  const number = id === undefined ? known.length : known.indexOf(id) + 1;
  return number > 1 ? `${person} (${number})` : person;
}

// --- Log

function timeElement(time = Date.now()) {
  const element = create("time", timeOfDay.format(time));
  element.dateTime = new Date(time).toISOString();
  element.title = dateAndTime.format(time);
  return element;
}

function recordEvent(content, time) {
  log.addEvent(create("p", [content, " · ", timeElement(time)], "event"), content);
}

function recordMessage(kind, sender, message) {
  const isOwn = message.name === name && message.id === id;
  const head = create("p", [create("b", sender), " ", timeElement(message.time), " "], "head");
  log.add(create("div", [head, create("p", message.text)], isOwn ? `${kind} own` : kind));
}

function showMembers(names) {
  byId("names").replaceChildren(...names.map(member => {
    if (member === name) return create("li", create("span", text("you", member)));
    const button = create("button", distinct(member));
    button.title = text("whisperTo", member);
    button.onclick = () => whisperTo(member);
    return create("li", button);
  }));
}

// --- Connection

function send(type, fields) {
  return socket.send(JSON.stringify({ type, room, ...fields }));
}

function show(state) {
  status.show(state, state === "open" ? text("open", name) : text(state));
  // Not `disabled`, which would remove the focus.
  byId("send").ariaDisabled = String(state !== "open");
}

function refresh() {
  if (status.state === "open") send("who");
}

const SHOW = {
  entered({ name: person, id, time }) { recordEvent(text("entered", distinct(person, id)), time); refresh(); },
  left({ name: person, id, time }) { recordEvent(text("left", distinct(person, id)), time); refresh(); },
  said(message) { recordMessage("message", distinct(message.name, message.id), message); },
  whispered(message) {
    recordMessage("whisper", text("whisper", distinct(message.name, message.id), message.to), message);
  },
  members({ names, id: own }) {
    id = own;
    if (status.state !== "open") show("open"); // the server has let us in
    showMembers(names);
  },
  error({ code, text: content, name: person }) {
    const shown = code in TEXTS ? text(code, person) : content;
    if (status.state === "open") recordEvent(shown);
    else leave(shown);
  },
  pong() {},
};

const ON = {
  message({ data }) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {} // another handler
    const show = Object.hasOwn(SHOW, message?.type ?? "") && SHOW[message.type];
    if (show) show(message);
    else leave(text("notAChat") + (isLocal ? ` ${text("startChat", HANDLER)}` : ""));
  },
  gap() { recordEvent(text("gap")); },
  close(event) {
    recordEvent(describeClosure(event));
    show(event.willRetry ? "connecting" : "closed");
  },
  retry({ delay }) {
    show("waiting");
    status.countDown(delay, () => show("connecting"));
  },
};

// --- Enter and leave

function enter(event) {
  event.preventDefault();
  const entered = byId("room").value.trim(); // as the server does
  if (room !== entered) forget();
  [room, name] = [entered, byId("name").value];
  byId("heading").textContent = room;
  setEntered(true);
  show("connecting");
  byId("text").focus();
  socket = new ReconnectingWebSocket(`wss://${location.host}/wss`, [], { heartbeat: HEARTBEAT, maxQueued: 0 });
  listening = new AbortController();
  for (const [type, listener] of Object.entries(ON)) socket.addEventListener(type, listener, { signal: listening.signal });
  socket.join(room, { type: "enter", name, key: ownKey() });
  // A member whose line is cut is not in the list, and comes back without an `entered` message.
  refreshTimer = setInterval(refresh, REFRESH_INTERVAL);
}

/** Return to the form, for another room or name; `notice` is why, if the reader has not asked for it. */
function leave(notice = "") {
  clearInterval(refreshTimer);
  listening.abort();
  socket.leave(room);
  socket.close();
  status.show("none", text("notConnected"));
  setEntered(false);
  byId("heading").textContent = text("title");
  byId("notice").hidden = !notice;
  byId("notice").textContent = notice;
  const field = byId(notice ? "name" : "room");
  field.focus();
  field.select();
}

function forget() {
  log.clear();
  ids.clear();
  byId("names").replaceChildren();
}

function setEntered(isEntered) {
  byId("enter").hidden = isEntered;
  for (const id of ["talk", "say", "leave"]) byId(id).hidden = !isEntered;
}

// --- Say

function whisperTo(member) {
  byId("text").value = `/w ${member} `;
  byId("text").focus();
}

function say(event) {
  event.preventDefault();
  const content = byId("text").value;
  const [, to, whisper] = content.match(/^\s*\/w\s+(\S+)\s+(.+)$/i) ?? [];
  // A mistyped whisper must not be sent to the room.
  if (!to && /^\s*\/w(\s|$)/i.test(content)) return recordEvent(text("howToWhisper"));
  if (status.state !== "open") return recordEvent(text("notSent"));
  if (to ? send("whisper", { to, text: whisper }) : send("say", { text: content })) byId("text").value = "";
}

// On iOS, the keyboard covers the page, and changes only the visual viewport: interactive-widget is not known there.
function fitAboveKeyboard() {
  const { height, scale } = visualViewport;
  if (scale === 1) document.documentElement.style.setProperty("--height", `${height}px`);
  scrollTo(0, 0);
}

byId("enter").onsubmit = enter;
byId("say").onsubmit = say;
byId("leave").onclick = () => leave();
visualViewport?.addEventListener("resize", fitAboveKeyboard);
