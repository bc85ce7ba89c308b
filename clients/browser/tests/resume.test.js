import assert from "node:assert/strict";
import test from "node:test";

import { SpaClient } from "../guest-sessions.js";
import { refusal } from "./stream_server.js";
import { VirtualClock, storage } from "./virtual_time.js";

const KEY = "guest-sessions:spa:http://gateway.example";
const SESSION = { id: "a", websocketUrl: "ws://gateway.example/" };

/** A gateway with `embedding = "same-site"`, which answers a request by its method and path. */
function start(answers, stored = {}) {
  const requests = [];
  const fetch = async (url, { method }) => {
    const request = `${method} ${new URL(url).pathname}`;
    requests.push(request);
    return answers[request]();
  };
  const kept = { storage: storage(), marks: storage() };
  for (const [name, value] of Object.entries(stored)) kept[name].setItem(KEY, value);
  const client = new SpaClient("http://gateway.example", { clock: new VirtualClock(), WebSocket: undefined, fetch, locks: null, ...kept });
  return { client, requests, ...kept };
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
