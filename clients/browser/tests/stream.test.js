import assert from "node:assert/strict";
import test from "node:test";

import { ACTIONS, SpaClient } from "../guest-sessions.js";
import { StreamServer, refusal, settleAll } from "./stream_server.js";
import { VirtualClock, record, server as socketServer } from "./virtual_time.js";

const SESSION = { id: "a", websocketUrl: "ws://gateway.example/" };

function start(gateway, script = (socket) => socket.drop()) {
  const clock = new VirtualClock();
  const { WebSocket, sockets } = socketServer(script);
  const client = new SpaClient("http://gateway.example", { clock, WebSocket, fetch: gateway.fetch, storage: null, marks: null, locks: null });
  const conversation = client.conversation(SESSION, { storage: null, random: () => 0.5 });
  conversation.connect();
  return { client, clock, sockets, conversation, events: record(conversation) };
}

/** A conversation with an open stream, in place of two sockets that could not be opened. */
async function fallBack(gateway) {
  const started = start(gateway);
  await started.clock.advance(5_000);
  gateway.stream.accept();
  await settleAll();
  assert.equal(started.conversation.state, "open");
  return started;
}

const named = (events, name) => events.filter(([event]) => event === name).map(([, detail]) => detail);

test("stream replaces WebSockets after two that could not be opened", async () => {
  const gateway = new StreamServer();
  const { sockets, conversation, events } = await fallBack(gateway);
  assert.equal(sockets.length, 2);
  assert.equal(gateway.tickets, 2, "a stream needs no ticket");
  assert.equal(gateway.stream.handshake.guestSessionId, "a");
  const id = conversation.send("hello");
  await settleAll();
  assert.deepEqual(gateway.frames, [{ stream: gateway.stream.id, type: "message", id, text: "hello" }]);
  gateway.stream.receive({ type: "delivery", id, state: "sent", sequence: 1, timestamp: "2026-01-01T00:00:00Z" });
  // an event may arrive in parts
  const text = `data: ${JSON.stringify({ type: "message", id: "m", sequence: 2, from: { kind: "agent" }, text: "größer" })}\n\n`;
  for (const part of [text.slice(0, 20), text.slice(20)]) gateway.stream.write(part);
  await settleAll();
  assert.deepEqual(named(events, "delivery").map(({ state }) => state), ["sending", "sent"]);
  assert.deepEqual(named(events, "message").map((message) => message.text), ["größer"]);
});

test("WebSocket that was opened once is not replaced for a single failure", async () => {
  const gateway = new StreamServer();
  const { clock, sockets } = start(gateway, (socket) => (sockets.length % 2 === 1 ? socket.drop() : (socket.accept(), socket.drop())));
  await clock.advance(60_000);
  assert.ok(sockets.length > 4);
  assert.equal(gateway.streams.length, 0);
});

test("WebSocket is tried again ten minutes later", async () => {
  const gateway = new StreamServer();
  const { clock, sockets, conversation } = await fallBack(gateway);
  for (let minutes = 0; minutes < 11; minutes += 1) {
    gateway.stream.write(":\n\n:\n\n");
    await settleAll();
    await clock.advance(29_000);
    gateway.stream.write(":\n\n");
    await settleAll();
    await clock.advance(29_000);
    gateway.stream.write(":\n\n");
    await settleAll();
    await clock.advance(2_000);
  }
  assert.equal(gateway.frames.length, 0, "comments show that the stream is alive");
  gateway.stream.end();
  await settleAll();
  await clock.advance(500);
  assert.equal(sockets.length, 3);
  await clock.advance(2_000);
  assert.equal(gateway.streams.length, 2);
  gateway.stream.accept();
  await settleAll();
  assert.equal(conversation.state, "open");
});

test("stream resumes after its last event, and shows nothing twice", async () => {
  const gateway = new StreamServer();
  const { clock, events } = await fallBack(gateway);
  gateway.stream.message(1);
  gateway.stream.message(2);
  await settleAll();
  gateway.stream.close(1001);
  await settleAll();
  await clock.advance(2_000);
  const { epoch, lastSequence, lastMessageId } = gateway.stream.handshake;
  assert.deepEqual([gateway.streams.length, epoch, lastSequence, lastMessageId], [2, "e-1", 2, "m-2"]);
  gateway.stream.accept("e-1", 3);
  gateway.stream.message(2);
  gateway.stream.message(3);
  await settleAll();
  assert.deepEqual(named(events, "message").map(({ id }) => id), ["m-1", "m-2", "m-3"]);
});

test("frames are posted in order, and repeated after a passing refusal", async () => {
  const answers = [refusal(503, "service.unavailable", { "retry-after": "5" }), refusal(429, "too.many.requests")];
  const gateway = new StreamServer(() => answers.shift());
  const { clock, conversation } = await fallBack(gateway);
  for (const text of ["one", "two"]) conversation.send(text);
  await settleAll();
  assert.equal(gateway.frames.length, 0);
  await clock.advance(5_999);
  assert.equal(gateway.frames.length, 0);
  await clock.advance(1);
  await settleAll();
  assert.deepEqual(gateway.frames.map(({ text }) => text), ["one", "two"]);
});

test("message whose stream is gone is sent by the next one", async () => {
  let known = false;
  const gateway = new StreamServer(() => (known ? undefined : refusal(409, "stream.required")));
  const { clock, conversation } = await fallBack(gateway);
  const id = conversation.send("hello");
  await settleAll();
  assert.equal(conversation.state, "reconnecting");
  known = true;
  await clock.advance(2_000);
  gateway.stream.accept();
  await settleAll();
  assert.deepEqual(gateway.frames.map((frame) => [frame.stream, frame.id]), [[gateway.stream.id, id]]);
});

test("refused frame fails alone", async () => {
  const gateway = new StreamServer((frame) => (frame.text === "bad" ? refusal(400, "bad.frame") : undefined));
  const { conversation, events } = await fallBack(gateway);
  const id = conversation.send("bad");
  conversation.send("good");
  await settleAll();
  const failed = named(events, "delivery").find(({ state }) => state === "failed");
  assert.deepEqual([failed.id, failed.code], [id, "bad.frame"]);
  assert.deepEqual(gateway.frames.map(({ text }) => text), ["good"]);
  assert.equal(conversation.state, "open");
});

test("request without an answer ends the stream after 20 seconds", async () => {
  const gateway = new StreamServer(() => new Promise(() => {}));
  const { clock, conversation } = await fallBack(gateway);
  conversation.send("hello");
  await clock.advance(19_000);
  assert.equal(conversation.state, "open");
  await clock.advance(1_000);
  assert.equal(conversation.state, "reconnecting");
});

test("refused and ended streams end the conversation", async () => {
  for (const [status, code, cause] of [
    [410, "session.gone", "session-ended"],
    [401, "session.required", "session-ended"],
    [403, "origin.not.allowed", "refused"],
  ]) {
    const gateway = new StreamServer();
    gateway.refusal = refusal(status, code);
    const { clock, events } = start(gateway);
    await clock.advance(5_000);
    await settleAll();
    assert.deepEqual(named(events, "ended").map((ended) => ended.cause), [cause], code);
  }
  const gateway = new StreamServer();
  const { events } = await fallBack(gateway);
  gateway.stream.close(1008);
  await settleAll();
  assert.deepEqual(named(events, "ended").map((ended) => ended.cause), ["replaced"]);
});

test("action of a refusal is the one that resolves it", () => {
  const actions = ["ticket.invalid", "stream.required", "handshake.timeout", "session.required", "session.gone"].map((code) => ACTIONS[code]);
  assert.deepEqual(actions, ["authenticate", "reconnect", "reconnect", "create", "create"]);
});
