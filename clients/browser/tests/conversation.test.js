import assert from "node:assert/strict";
import test from "node:test";

import { GuestConversation } from "../guest-sessions.js";
import { VirtualClock, record, server, settle, storage } from "./virtual_time.js";

const SESSION = { id: "a", websocketUrl: "ws://gateway.example/", accessToken: "the-access-token" };
const SECOND = 1_000;
const MINUTE = 60 * SECOND;

function start(script, options = {}) {
  const clock = new VirtualClock();
  const { WebSocket, sockets } = server(script);
  const conversation = new GuestConversation(SESSION, { clock, WebSocket, storage: null, random: () => 0.5, ...options });
  return { clock, sockets, conversation, events: record(conversation) };
}

const deliveries = (events) => events.filter(([name]) => name === "delivery").map(([, { state }]) => state);
const messages = (sockets) => sockets.flatMap(({ sent }) => sent.filter(({ type }) => type === "message"));

for (const luck of [0, 0.5, 1 - Number.EPSILON]) {
  test(`sockets that are accepted and closed at once make at most 250 connections an hour, random ${luck}`, async () => {
    const script = (socket) => {
      socket.accept();
      socket.drop();
    };
    const { clock, sockets, conversation } = start(script, { random: () => luck });
    conversation.connect();
    await clock.advance(60 * MINUTE);
    assert.ok(sockets.length <= 250, `${sockets.length} connections`);
    assert.ok(sockets.length >= 120, `${sockets.length} connections`);
    assert.equal(conversation.state, "reconnecting");
  });
}

test("ten minutes without a server end with an open conversation and one message", async () => {
  let up = false;
  const { clock, sockets, conversation, events } = start((socket) => (up ? socket.accept() : socket.drop()));
  conversation.connect();
  const id = conversation.send("Hello");
  await clock.advance(10 * MINUTE);
  assert.equal(conversation.state, "reconnecting");
  assert.deepEqual(messages(sockets), []);
  up = true;
  await clock.advance(30 * SECOND);
  assert.equal(conversation.state, "open");
  assert.deepEqual(messages(sockets), [{ type: "message", id, text: "Hello" }]);
  sockets.at(-1).receive({ type: "delivery", id, state: "sent", sequence: 1, timestamp: "2026-01-01T00:00:00Z" });
  assert.deepEqual(deliveries(events), ["queued", "sending", "sent"]);
  assert.equal(events.some(([name]) => name === "ended"), false);
});

test("message that waits at the gateway is queued until it is forwarded", async () => {
  const { sockets, conversation, events } = start((socket) => socket.accept());
  conversation.connect();
  await settle();
  const id = conversation.send("Hello");
  for (const state of ["queued", "queued", "sending"]) {
    sockets[0].receive({ type: "delivery", id, state });
    assert.equal(conversation.unacknowledged[0].state, state);
  }
  sockets[0].receive({ type: "delivery", id, state: "sent", sequence: 1, timestamp: "2026-01-01T00:00:00Z" });
  sockets[0].receive({ type: "delivery", id: "of another tab", state: "queued" });
  assert.deepEqual(deliveries(events), ["sending", "queued", "sending", "sent"]);
});

test("messages that a stopping gateway did not take are sent by the next socket, also in another epoch", async () => {
  const epochs = ["e-1", "e-2"];
  const { clock, sockets, conversation, events } = start((socket) => socket.accept(epochs.shift()));
  conversation.connect();
  await settle();
  const [id, untaken, doubtful] = ["a", "b", "c"].map((text) => conversation.send(text));
  sockets[0].receive({ type: "delivery", id, state: "failed", code: "not.sent", message: "x" });
  await settle();
  assert.equal(messages(sockets).length, 3);
  sockets[0].receive({ type: "delivery", id: doubtful, state: "unknown", code: "in.doubt", message: "x" });
  sockets[0].receive({ type: "session.moved" });
  sockets[0].drop(1001);
  await clock.advance(SECOND);
  assert.deepEqual(messages(sockets.slice(1)).map(({ id }) => id), [id, untaken]);
  sockets[1].receive({ type: "delivery", id, state: "sent", sequence: 1, timestamp: "2026-01-01T00:00:00Z" });
  const states = (id) => events.filter(([name, detail]) => name === "delivery" && detail.id === id).map(([, { state }]) => state);
  assert.deepEqual(states(id), ["sending", "queued", "sending", "sent"]);
  assert.deepEqual(states(untaken), ["sending", "queued", "sending"]);
});

test("message of another page is shown once, and an own one never", async () => {
  const { sockets, conversation, events } = start((socket) => socket.accept());
  conversation.connect();
  await settle();
  const id = conversation.send("Hello");
  const sent = (id, sequence) => ({ type: "delivery", id, state: "sent", sequence, timestamp: "2026-01-01T00:00:00Z", messageId: `m${sequence}`, text: "Hello" });
  for (const frame of [sent(id, 1), sent(id, 2), sent("of another page", 3), sent("of another page", 3)]) sockets[0].receive(frame);
  const shown = events.filter(([name]) => name === "message").map(([, detail]) => detail);
  assert.deepEqual(shown.map(({ id, text, from }) => [id, text, from.kind]), [["m3", "Hello", "guest"]]);
  assert.deepEqual(deliveries(events), ["sending", "sent"]);
});

test("message that may not have arrived is reported when it arrives late, once", async () => {
  const epochs = ["e-1", "e-2"];
  const { clock, sockets, conversation, events } = start((socket) => socket.accept(epochs.shift()));
  conversation.connect();
  await settle();
  const [doubtful, lost, failed] = ["a", "b", "c"].map((text) => conversation.send(text));
  sockets[0].receive({ type: "delivery", id: doubtful, state: "unknown", sequence: 1, code: "in.doubt", message: "x" });
  sockets[0].receive({ type: "delivery", id: failed, state: "failed", sequence: 2, code: "message.refused", message: "x" });
  sockets[0].drop();
  await clock.advance(SECOND);
  const before = events.length;
  for (const [index, id] of [doubtful, lost, doubtful, failed].entries()) {
    const sequence = index + 1;
    sockets[1].receive({ type: "delivery", id, state: "sent", sequence, timestamp: "2026-01-01T00:00:00Z", messageId: `m${sequence}`, text: "x" });
  }
  // after `failed` no acknowledgement is due
  const late = events.slice(before).map(([name, { id, state }]) => [name, id, state]);
  assert.deepEqual(late, [["delivery", doubtful, "sent"], ["delivery", lost, "sent"]]);
  assert.deepEqual(conversation.unacknowledged, []);
  assert.deepEqual(messages(sockets.slice(1)), []);
});

test("late acknowledgements of the last 100 messages that may not have arrived are reported", async () => {
  const { sockets, conversation, events } = start((socket) => socket.accept());
  conversation.connect();
  await settle();
  const ids = Array.from({ length: 101 }, (_, index) => {
    const id = conversation.send("x");
    sockets[0].receive({ type: "delivery", id, state: "unknown", sequence: index + 1, code: "in.doubt", message: "x" });
    return id;
  });
  for (const [index, id] of ids.entries()) {
    sockets[0].receive({ type: "delivery", id, state: "sent", sequence: index + 102, timestamp: "2026-01-01T00:00:00Z" });
  }
  const sent = events.filter(([name, { state }]) => name === "delivery" && state === "sent");
  assert.deepEqual(sent.map(([, { id }]) => id), ids.slice(1));
});

test("backoff begins again after a connection of 60 s", async () => {
  for (const [age, delay] of [[59 * SECOND, 22_500], [60 * SECOND, 375]]) {
    let failures = 8;
    const { clock, sockets, conversation } = start((socket) => (failures-- > 0 ? socket.drop() : socket.accept()));
    let openedAt;
    conversation.addEventListener("accepted", () => (openedAt = clock.now()));
    conversation.connect();
    for (let second = 0; conversation.state !== "open"; second += 1) {
      assert.ok(second < 180);
      await clock.advance(SECOND);
    }
    const socket = sockets.at(-1);
    for (let left = age - (clock.now() - openedAt); left > 0; left -= SECOND) {
      socket.receive({ type: "pong" });
      await clock.advance(Math.min(left, SECOND));
    }
    const before = sockets.length;
    socket.drop();
    await clock.advance(delay - 1);
    assert.equal(sockets.length, before, `after ${age} ms`);
    await clock.advance(1);
    assert.equal(sockets.length, before + 1, `after ${age} ms`);
  }
});

test("attempt follows at once when the machine is online and when the page becomes visible", async (t) => {
  const page = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  Object.assign(globalThis, { addEventListener: page.addEventListener.bind(page), document });
  t.after(() => {
    delete globalThis.addEventListener;
    delete globalThis.document;
  });
  const { clock, sockets, conversation } = start((socket) => socket.drop());
  conversation.connect();
  await clock.advance(10 * MINUTE);
  for (const [target, name] of [[page, "online"], [document, "visibilitychange"]]) {
    await clock.advance(SECOND);
    const before = sockets.length;
    target.dispatchEvent(new Event(name));
    target.dispatchEvent(new Event(name));
    await clock.advance(0);
    assert.equal(sockets.length, before + 1, name);
  }
  // repeated `online` events cause at most one attempt per shortest backoff
  const before = sockets.length;
  for (let times = 0; times < 100; times += 1) {
    page.dispatchEvent(new Event("online"));
    await clock.advance(10);
  }
  assert.ok(sockets.length - before <= 2, `${sockets.length - before} attempts in a second`);
  document.visibilityState = "hidden";
  await clock.advance(SECOND);
  const hidden = sockets.length;
  document.dispatchEvent(new Event("visibilitychange"));
  await clock.advance(0);
  assert.equal(sockets.length, hidden);
  conversation.close();
  page.dispatchEvent(new Event("online"));
  await clock.advance(MINUTE);
  assert.equal(sockets.length, hidden);
});

test("connection that was lost in sleep is found 5 s after the machine is online", async (t) => {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  t.after(() => delete globalThis.addEventListener);
  const { clock, sockets, conversation } = start((socket) => socket.accept());
  conversation.connect();
  await settle();
  page.dispatchEvent(new Event("online"));
  sockets[0].receive({ type: "pong" });
  await clock.advance(5 * SECOND);
  assert.equal(conversation.state, "open");
  page.dispatchEvent(new Event("online"));
  await clock.advance(5 * SECOND);
  assert.equal(conversation.state, "reconnecting");
});

test("reconnect() attempts at once and resumes an ended conversation, but not an ended session", async () => {
  let up = false;
  const { clock, sockets, conversation, events } = start((socket) => (up ? socket.accept() : socket.drop()), { maxAttempts: 20 });
  conversation.reconnect();
  await clock.advance(2 * MINUTE);
  const before = sockets.length;
  conversation.reconnect();
  await clock.advance(0);
  assert.equal(sockets.length, before + 1);
  await clock.advance(10 * MINUTE);
  assert.deepEqual(events.at(-1), ["ended", { cause: "unreachable", detail: undefined }]);
  up = true;
  conversation.reconnect();
  await settle();
  assert.equal(conversation.state, "open");
  sockets.at(-1).receive({ type: "session.ended", reason: "guest", sequence: 9 });
  assert.equal(conversation.state, "ended");
  assert.throws(() => conversation.reconnect(), /start a new conversation/);
});

test("unsent messages survive a reload, and no token is stored", async () => {
  const kept = storage();
  let up = false;
  const script = (socket) => (up ? socket.accept() : socket.drop());
  const before = start(script, { storage: kept });
  before.conversation.connect();
  const ids = [before.conversation.send("one"), before.conversation.send("two")];
  await before.clock.advance(SECOND);
  assert.equal([...kept.entries.values()].some((value) => value.includes(SESSION.accessToken)), false);
  // the page is reloaded: the old conversation runs no more
  up = true;
  const after = start(script, { storage: kept });
  assert.deepEqual(after.conversation.unacknowledged, [{ id: ids[0], text: "one", state: "queued" }, { id: ids[1], text: "two", state: "queued" }]);
  after.conversation.connect();
  await settle();
  assert.deepEqual(messages(after.sockets).map(({ id }) => id), ids);
  for (const id of ids) after.sockets[0].receive({ type: "delivery", id, state: "sent", sequence: 1, timestamp: "2026-01-01T00:00:00Z" });
  assert.deepEqual(deliveries(after.events), ["queued", "queued", "sending", "sending", "sent", "sent"]);
  assert.equal(kept.entries.size, 0);
});

test("stored messages go when the session has ended", async () => {
  const kept = storage();
  const { sockets, conversation, events } = start((socket) => socket.accept(), { storage: kept });
  conversation.connect();
  await settle();
  conversation.send("written");
  sockets[0].readyState = 2;
  conversation.send("not written");
  assert.equal(JSON.parse([...kept.entries.values()][0]).length, 2);
  sockets[0].receive({ type: "session.ended", reason: "agent", sequence: 3 });
  assert.deepEqual(deliveries(events), ["sending", "queued", "unknown", "failed"]);
  assert.equal(kept.entries.size, 0);
});

test("message that cannot be stored is sent and reported as such", async () => {
  const { conversation, events } = start((socket) => socket.accept(), { storage: storage(200) });
  conversation.connect();
  await settle();
  conversation.send("short");
  conversation.send("long".repeat(100));
  assert.deepEqual(events.filter(([name]) => name === "delivery").map(([, { stored }]) => stored), [true, false]);
});

test("foreign content of the storage is ignored", () => {
  for (const value of ["", "{", "null", "7", '[null,{"id":7,"text":"a"},{"id":"a"}]']) {
    const kept = storage();
    kept.entries.set("guest-sessions:a", value);
    assert.deepEqual(start(() => {}, { storage: kept }).conversation.unacknowledged, []);
  }
  const kept = storage();
  kept.entries.set("guest-sessions:a", JSON.stringify(Array.from({ length: 500 }, (_, at) => ({ id: `${at}`, text: "a" }))));
  assert.equal(start(() => {}, { storage: kept }).conversation.unacknowledged.length, 100);
});

test("backend that never answers a refresh does not stop the attempts", async () => {
  let asked = 0;
  const refresh = () => {
    asked += 1;
    return new Promise(() => {});
  };
  const { clock, sockets, conversation } = start((socket) => socket.drop(), { refresh });
  conversation.connect();
  await clock.advance(10 * MINUTE);
  assert.ok(sockets.length >= 12, `${sockets.length} attempts`);
  assert.equal(asked, 1);
});

test("constructor names the option for a runtime without WebSocket", () => {
  assert.throws(() => new GuestConversation(SESSION, { WebSocket: undefined }), /option `WebSocket`/);
});

test("new epoch is received from its first event on, and shows and sends nothing twice", async () => {
  const epochs = ["e-1", "e-2"];
  const sequences = [3, 2];
  const script = (socket) => socket.accept(epochs.shift(), sequences.shift());
  const { clock, sockets, conversation, events } = start(script);
  const message = (sequence, id) => ({ type: "message", sequence, id, text: id, from: { kind: "agent" }, timestamp: "2026-01-01T00:00:00Z" });
  conversation.connect();
  await settle();
  sockets[0].receive(message(4, "a1"));
  const written = conversation.send("written before");
  assert.deepEqual(conversation.position, { epoch: "e-1", sequence: 4, messageId: "a1" });
  sockets[0].drop();
  const queued = conversation.send("not written before");
  await clock.advance(SECOND);
  const { epoch, lastSequence, lastMessageId } = sockets[1].sent[0];
  assert.deepEqual({ epoch, lastSequence, lastMessageId }, { epoch: "e-1", lastSequence: 4, lastMessageId: "a1" });
  sockets[1].receive(message(1, "a1"));
  sockets[1].receive({ type: "replay.incomplete", sequence: 2, readFrom: "a1", readUntil: "a9", message: "x" });
  sockets[1].receive(message(3, "a9"));
  const shown = events.filter(([name]) => name === "message" || name === "gap").map(([, { id, readFrom }]) => id ?? `gap after ${readFrom}`);
  assert.deepEqual(shown, ["a1", "gap after a1", "a9"]);
  assert.deepEqual(conversation.position, { epoch: "e-2", sequence: 3, messageId: "a9" });
  assert.deepEqual(events.filter(([name, { id }]) => name === "delivery" && id === written).at(-1)[1].state, "unknown");
  assert.deepEqual(messages(sockets).map(({ id }) => id), [written, queued]);
});

test("reloaded page resumes at its position", async () => {
  const position = { epoch: "e-1", sequence: 7, messageId: "a7" };
  const { sockets, conversation, events } = start((socket) => socket.accept("e-1", 8), { position });
  conversation.connect();
  await settle();
  assert.equal(sockets[0].sent[0].lastSequence, 7);
  sockets[0].receive({ type: "message", sequence: 8, id: "a8", text: "missed", from: { kind: "bot" }, timestamp: "2026-01-01T00:00:00Z" });
  assert.equal(events.filter(([name]) => name === "message").length, 1);
});

test("form is answered with texts, choices and several values of one field", async () => {
  const { sockets, conversation } = start((socket) => socket.accept());
  conversation.connect();
  await settle();
  const choices = [{ text: "Tea", payload: "tea" }, { text: "Water", payload: "water" }];
  conversation.submit({ id: "m" }, { cannedResponseId: "c" }, { street: "1 Harbor Street", drinks: choices });
  const [{ form }] = messages(sockets)[0].content;
  assert.equal(form.cannedResponseId, "c");
  assert.deepEqual(
    form.response.map(({ id, component }) => [id, component.buttonResponse.text, component.buttonResponse.payload]),
    [["street", "1 Harbor Street", "1 Harbor Street"], ["drinks", "Tea", "tea"], ["drinks", "Water", "water"]],
  );
});

test("history is read with the token of the session, and names what was shown", async () => {
  const asked = [];
  let token = "the-access-token";
  const fetch = async (url, { headers }) => {
    asked.push(url);
    const valid = headers.authorization === `Bearer ${token}`;
    const body = valid ? { messages: [{ id: "a2" }, { id: "a1" }], nextPage: 2 } : { code: "credentials.expired" };
    return new Response(JSON.stringify(body), { status: valid ? 200 : 401 });
  };
  const session = { ...SESSION, websocketUrl: "wss://gateway.example/base/api/v2/webmessaging/guest-sessions/a/socket" };
  const { WebSocket, sockets } = server((socket) => socket.accept());
  const refresh = async () => ({ accessToken: token });
  const conversation = new GuestConversation(session, { clock: new VirtualClock(), WebSocket, storage: null, fetch, refresh });
  const events = record(conversation);
  conversation.connect();
  await settle();
  sockets[0].receive({ type: "message", sequence: 1, id: "a1", text: "x", from: { kind: "bot" }, timestamp: "2026-01-01T00:00:00Z" });
  const { messages, nextPage } = await conversation.history();
  assert.deepEqual([messages, nextPage], [[{ id: "a2", shown: false }, { id: "a1", shown: true }], 2]);
  assert.equal(asked[0], "https://gateway.example/base/api/v2/webmessaging/guest-sessions/a/messages");
  // what the history has shown is not emitted
  sockets[0].receive({ type: "message", sequence: 2, id: "a2", text: "y", from: { kind: "bot" }, timestamp: "2026-01-01T00:00:00Z" });
  assert.equal(events.filter(([name]) => name === "message").length, 1);
  token = "the-next-token";
  await conversation.history({ from: "a1" });
  assert.ok(asked[1].endsWith("/messages?from=a1"), asked[1]);
  assert.equal(asked.length, 3, "the token was refreshed once");
});

test("answer that was queued before a reload is sent again with its payload", async () => {
  const kept = storage();
  start((socket) => socket.drop(), { storage: kept }).conversation.choose({ id: "m" }, "QuickReply", { text: "Tea", payload: "tea" });
  const { sockets, conversation, events } = start((socket) => socket.accept(), { storage: kept });
  const [{ id, content }] = conversation.unacknowledged;
  conversation.connect();
  await settle();
  sockets[0].receive({ type: "delivery", id, state: "failed", code: "message.refused", message: "x" });
  const again = conversation.send({ content });
  assert.notEqual(again, id);
  const buttonResponse = { type: "QuickReply", text: "Tea", payload: "tea", originatingMessageId: "m" };
  const answer = [{ contentType: "ButtonResponse", buttonResponse }];
  assert.deepEqual(messages(sockets), [{ type: "message", id, content: answer }, { type: "message", id: again, content: answer }]);
  assert.deepEqual(deliveries(events), ["queued", "sending", "failed", "sending"]);
});

test("lone surrogates are replaced in texts, in answers and in what a reload finds", async (t) => {
  const { toWellFormed } = String.prototype;
  t.after(() => (String.prototype.toWellFormed = toWellFormed));
  for (const native of [toWellFormed, undefined]) {
    String.prototype.toWellFormed = native;
    const kept = storage();
    kept.entries.set("guest-sessions:a", JSON.stringify([{ id: "old", text: "\ud800" }]));
    const { sockets, conversation } = start((socket) => socket.accept(), { storage: kept });
    conversation.connect();
    await settle();
    conversation.send("bad \ud800 half \u{1f600} \udc00");
    conversation.choose({ id: "m" }, "QuickReply", { text: "\ud800", payload: "\udfff" });
    conversation.submit({ id: "m" }, { cannedResponseId: "c" }, { street: "\ude00\ud83d" });
    const [old, text, answer, form] = messages(sockets);
    assert.equal(old.text, "\ufffd");
    assert.equal(text.text, "bad \ufffd half \u{1f600} \ufffd");
    const { buttonResponse } = answer.content[0];
    assert.deepEqual([buttonResponse.text, buttonResponse.payload], ["\ufffd", "\ufffd"]);
    assert.equal(form.content[0].form.response[0].component.buttonResponse.text, "\ufffd\ufffd");
  }
});

test("refused message has failed, and the conversation goes on after the fifth", async () => {
  const kept = storage();
  const { clock, sockets, conversation, events } = start((socket) => socket.accept(), { storage: kept });
  conversation.connect();
  await settle();
  const ids = Array.from({ length: 5 }, () => conversation.send("x"));
  for (const id of ids) sockets[0].receive({ type: "error", code: "bad.frame", message: "invalid", id });
  const failed = events.filter(([name, { state }]) => name === "delivery" && state === "failed").map(([, { id, code }]) => [id, code]);
  assert.deepEqual(failed, ids.map((id) => [id, "bad.frame"]));
  assert.equal(kept.entries.size, 0);
  sockets[0].drop(1008);
  await clock.advance(SECOND);
  assert.equal(conversation.state, "open");
  assert.deepEqual(messages(sockets.slice(1)), []);
  // an earlier refusal does not hide that newer sockets took the place
  const id = conversation.send("x");
  sockets[1].receive({ type: "error", code: "bad.frame", message: "invalid", id });
  sockets[1].receive({ type: "pong" });
  sockets[1].drop(1008);
  assert.deepEqual(events.at(-1), ["ended", { cause: "replaced", detail: undefined }]);
});

test("invalid message is refused before it is queued", () => {
  const { conversation } = start(() => {});
  for (const message of ["", null, undefined, 7, {}, { content: "a" }, { text: "a" }]) {
    assert.throws(() => conversation.send(message), TypeError);
  }
  assert.throws(() => conversation.send("a".repeat(4_097)), RangeError);
  assert.deepEqual(conversation.unacknowledged, []);
});

test("moved session is resumed within half a second each time", async () => {
  const { clock, sockets, conversation, events } = start((socket) => socket.accept());
  conversation.connect();
  await settle();
  sockets[0].receive({ type: "message", sequence: 1, id: "m1", text: "Hello", from: { kind: "agent" }, timestamp: "2026-01-01T00:00:00Z" });
  sockets[0].receive({ type: "session.moved" });
  assert.equal(sockets[0].readyState, 3);
  await clock.advance(249);
  assert.equal(sockets.length, 1);
  await clock.advance(251);
  assert.equal(conversation.state, "open");
  const [{ epoch, lastSequence, lastMessageId }] = sockets[1].sent;
  assert.deepEqual([epoch, lastSequence, lastMessageId], ["e-1", 1, "m1"]);
  sockets[1].receive({ type: "session.moved" });
  await clock.advance(500);
  assert.equal(conversation.state, "open");
  assert.equal(sockets.length, 3);
  assert.equal(events.some(([name]) => name === "gap" || name === "ended"), false);
});
