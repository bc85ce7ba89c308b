import assert from "node:assert/strict";
import test from "node:test";

import { SpaClient } from "../guest-sessions.js";
import { refusal } from "./stream_server.js";
import { VirtualClock, storage } from "./virtual_time.js";

const KEY = "guest-sessions:spa:http://gateway.example";
const SESSION = { id: "a", websocketUrl: "ws://gateway.example/" };

/** A gateway with `embedding = "same-site"`, which answers a request by its method and path. */
function start(answers, stored = {}, options = {}) {
  const requests = [];
  const sent = [];
  const fetch = async (url, { method, headers, body }) => {
    const request = `${method} ${new URL(url).pathname}`;
    requests.push(request);
    if (request === "POST /spa/session") sent.push({ key: headers["idempotency-key"], body: JSON.parse(body) });
    return answers[request]();
  };
  const kept = { storage: storage(), marks: storage() };
  for (const [name, value] of Object.entries(stored)) kept[name].setItem(KEY, value);
  const client = new SpaClient("http://gateway.example", { clock: new VirtualClock(), WebSocket: undefined, fetch, locks: null, ...kept, ...options });
  return { client, requests, sent, ...kept };
}

const SAME_SITE = {
  "POST /spa/session/resume": () => refusal(404, "not.found"),
  "GET /spa/session": () => Response.json(SESSION),
  "GET /spa/settings": () => Response.json({ embedding: "same-site", anonymous: true }),
  "POST /spa/session": () => Response.json(SESSION, { status: 201 }),
};

test("handle at a gateway that was switched to the same site is gone", async () => {
  const { client, requests, storage } = start(SAME_SITE, { storage: "handle" });
  assert.equal(await client.resume(), null);
  assert.equal(storage.entries.size, 0);
  assert.equal(await client.resume(), null);
  assert.deepEqual(requests, ["POST /spa/session/resume"]);
});

test("session of the cookie is resumed in place of a handle that is gone", async () => {
  const { client, storage, marks } = start(SAME_SITE, { storage: "handle", marks: "a" });
  assert.equal((await client.resume()).id, "a");
  assert.deepEqual([storage.entries.size, marks.getItem(KEY)], [0, "a"]);
});

test("session of the cookie is resumed where the browser stores nothing", async () => {
  const refused = {
    getItem() {
      throw new Error("SecurityError");
    },
  };
  for (const marks of [null, refused]) {
    const { client, requests } = start(SAME_SITE, {}, { marks });
    assert.equal((await client.resume()).id, "a");
    assert.deepEqual(requests, ["GET /spa/session"]);
    const without = start({ "GET /spa/session": () => refusal(401, "session.required") }, {}, { marks });
    assert.equal(await without.client.resume(), null);
  }
});

test("session that is created at a switched gateway replaces the handle", async () => {
  const { client, storage, marks } = start(SAME_SITE, { storage: "handle" });
  await client.create({ analytics: true });
  assert.deepEqual([storage.entries.size, marks.getItem(KEY)], [0, "a"]);
});

test("failure of the gateway keeps the handle", async () => {
  const answers = { "POST /spa/session/resume": () => refusal(503, "service.unavailable") };
  const { client, storage } = start(answers, { storage: "handle" });
  await assert.rejects(client.resume(), { code: "service.unavailable" });
  assert.equal(storage.getItem(KEY), "handle");
});

test("creation whose answer was lost is repeated with its key, its assertion and its body", async () => {
  const outcomes = [() => Promise.reject(new TypeError("no network")), () => refusal(503, "service.unavailable")];
  const answers = { ...SAME_SITE, "POST /spa/session": () => (outcomes.shift() ?? SAME_SITE["POST /spa/session"])() };
  let signed = 0;
  const { client, sent } = start(answers, {}, { assertion: async () => `assertion-${++signed}` });
  await assert.rejects(client.create({ analytics: true }));
  await assert.rejects(client.create({ analytics: true }), { code: "service.unavailable" });
  assert.equal((await client.create({ analytics: true })).id, "a");
  assert.match(sent[0].key, /^"[0-9a-f-]{36}"$/);
  assert.deepEqual([sent[1], sent[2]], [sent[0], sent[0]]);
  // the outcome is known, and another attempt has another key
  await client.create({ analytics: true });
  assert.notEqual(sent[3].key, sent[0].key);
  assert.equal(sent[3].body.assertion, "assertion-2");
});

test("repeated creation that is refused is followed by a new one", async () => {
  const outcomes = [
    () => Promise.reject(new TypeError("no network")),
    () => refusal(401, "assertion.invalid"),
    () => refusal(409, "idempotency.limit"),
  ];
  const answers = { ...SAME_SITE, "POST /spa/session": () => (outcomes.shift() ?? SAME_SITE["POST /spa/session"])() };
  const { client, sent } = start(answers);
  await assert.rejects(client.create({ analytics: true }));
  assert.equal((await client.create({ analytics: true })).id, "a");
  assert.equal(new Set(sent.map(({ key }) => key)).size, 3);
  assert.deepEqual([sent[1].key, sent[3].key], [sent[0].key, undefined]);
});
