import assert from "node:assert/strict";
import test from "node:test";

import { GuestConversation, GuestSessionsError } from "../guest-sessions.js";
import { VirtualClock, record, server, settle } from "./virtual_time.js";

const SESSION = { id: "a", websocketUrl: "ws://gateway.example/" };

function start(script, ticket) {
  const clock = new VirtualClock();
  const { WebSocket, sockets } = server(script);
  const conversation = new GuestConversation(SESSION, { clock, WebSocket, storage: null, random: () => 0.5, ticket });
  return { clock, sockets, conversation, events: record(conversation) };
}

test("each socket is opened by a ticket of its own", async () => {
  let tickets = 0;
  const { clock, sockets, conversation } = start(
    (socket) => (sockets.length < 3 ? socket.drop() : socket.accept()),
    async () => `t-${++tickets}`,
  );
  conversation.connect();
  await clock.advance(10_000);
  assert.equal(conversation.state, "open");
  assert.deepEqual(sockets.map(({ protocols }) => protocols[1]), ["ticket.t-1", "ticket.t-2", "ticket.t-3"]);
});

test("session without tickets has ended", async () => {
  const { conversation, events } = start((socket) => socket.accept(), async () => null);
  conversation.connect();
  await settle();
  assert.deepEqual(events.at(-1), ["ended", { cause: "session-ended", detail: undefined }]);
});

test("failed and late tickets are fetched again, and a refusal for good ends the conversation", async () => {
  const answers = [
    () => Promise.reject(new TypeError("no network")),
    () => Promise.reject(new GuestSessionsError(503, { code: "service.unavailable" })),
    () => new Promise(() => {}),
    () => Promise.resolve("t"),
  ];
  const { clock, sockets, conversation } = start((socket) => socket.accept(), () => answers.shift()());
  conversation.connect();
  await clock.advance(60_000);
  assert.equal(conversation.state, "open");
  assert.equal(sockets.length, 1);
  const refused = start(
    (socket) => socket.accept(),
    () => Promise.reject(new GuestSessionsError(403, { code: "origin.not.allowed" })),
  );
  refused.conversation.connect();
  await settle();
  assert.deepEqual(refused.events.at(-1), ["ended", { cause: "refused", detail: "origin.not.allowed" }]);
});
