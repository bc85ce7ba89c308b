import assert from "node:assert/strict";
import test from "node:test";

import { GuestConversation, fetchMetrics } from "../guest-sessions.js";
import { VirtualClock, server, settle, storage } from "./virtual_time.js";

const BASE = "ws://gateway.example/api/v2/webmessaging/guest-sessions/a";
const SESSION = { id: "a", websocketUrl: `${BASE}/socket`, accessToken: "first" };
const RULES = { mediaTypes: ["image/*", "text/plain"], blockedExtensions: ["exe"], maxBytes: 10 };

/** A file. Node 18 has no global `File`. */
function file(name, content = "x", type = "image/png") {
  return Object.assign(new Blob([content], { type }), { name });
}

/** A conversation that is open, and the requests that it makes. */
async function open(answers, { attachments = RULES, ...options } = {}) {
  const requests = [];
  const fetch = async (url, { method, headers, body, signal }) => {
    requests.push({ url, method, headers, body: body === undefined ? undefined : await body.text() });
    signal?.throwIfAborted();
    const [status, answer] = answers.shift() ?? [204];
    return new Response(answer === undefined ? null : JSON.stringify(answer), { status });
  };
  const { WebSocket, sockets } = server((socket) => socket.accept());
  const conversation = new GuestConversation(SESSION, { clock: new VirtualClock(), WebSocket, storage: null, fetch, ...options });
  conversation.connect();
  await settle();
  sockets[0].receive({ type: "conversation", state: "open", actions: ["send"], attachments });
  return { conversation, requests, sockets };
}

test("file is uploaded under a fresh id, and a message names it", async () => {
  const { conversation, requests, sockets } = await open([]);
  const id = await conversation.attach(file("gr\u00f6\u00dfe (1).png"));
  const [{ url, method, headers, body }] = requests;
  assert.deepEqual([method, body], ["PUT", "x"]);
  assert.equal(url, `${BASE.replace("ws", "http")}/attachments/${id}`);
  assert.deepEqual(headers, {
    authorization: "Bearer first",
    "content-type": "image/png",
    "content-disposition": "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%281%29.png",
  });
  conversation.send("", { attachments: [id] });
  conversation.send("look", { attachments: [id] });
  const sent = sockets[0].sent.filter(({ type }) => type === "message");
  assert.deepEqual(sent.map(({ text, attachments }) => [text, attachments]), [[undefined, [id]], ["look", [id]]]);
  assert.throws(() => conversation.send("", { attachments: Array(11).fill(id) }), RangeError);
  assert.throws(() => conversation.send(""), TypeError);
});

test("file that the rules refuse is not sent", async () => {
  const { conversation, requests } = await open([]);
  for (const [refused, code] of [
    [file("a.png", "x".repeat(11)), "attachment.too.large"],
    [file("a.pdf", "x", "application/pdf"), "attachment.not.allowed"],
    [file("a.EXE"), "attachment.not.allowed"],
    [file("a.png", ""), "invalid.value"],
    [file("png"), "invalid.value"],
    [file(".png"), "invalid.value"],
  ]) {
    await assert.rejects(conversation.attach(refused), { name: "GuestSessionsError", code });
  }
  await conversation.attach(file("a.txt", "x", "text/plain; charset=utf-8"));
  assert.equal(requests.length, 1);
});

test("file is refused while the session takes none", async () => {
  const { conversation, requests } = await open([], { attachments: null });
  assert.equal(conversation.attachmentRules, null);
  await assert.rejects(conversation.attach(file("a.png")), { code: "action.unavailable" });
  assert.deepEqual(requests, []);
});

test("request with an expired token is repeated with a new one", async () => {
  const refresh = async () => ({ accessToken: "second" });
  const expired = [401, { code: "credentials.expired", message: "expired" }];
  const { conversation, requests } = await open([expired, [204], [200, { url: "https://storage.example/1" }]], { refresh });
  const id = await conversation.attach(file("a.png"));
  assert.deepEqual(requests.map(({ headers }) => headers.authorization), ["Bearer first", "Bearer second"]);
  assert.equal(requests[0].url, requests[1].url);
  assert.equal(await conversation.attachmentUrl(id), "https://storage.example/1");
  await conversation.deleteAttachment(id);
  assert.deepEqual(requests.slice(2).map(({ method }) => method), ["GET", "DELETE"]);
});

test("refusal of the gateway has its code", async () => {
  const { conversation } = await open([[422, { code: "attachment.refused", message: "no" }]]);
  await assert.rejects(conversation.attach(file("a.png")), { status: 422, code: "attachment.refused", action: "fix" });
});

test("canceled upload is rejected with the reason of its signal", async () => {
  const { conversation, requests } = await open([]);
  const signal = AbortSignal.abort(new Error("canceled"));
  await assert.rejects(conversation.attach(file("a.png"), { signal }), /canceled/);
  assert.deepEqual(requests, []);
});

test("upload that is canceled while the token is renewed is not sent", async (t) => {
  const requests = [];
  globalThis.XMLHttpRequest = class {
    upload = {};

    open(method) {
      requests.push(method);
    }

    setRequestHeader() {}

    send() {
      this.status = 204;
      this.responseText = "";
      this.onload();
      this.onloadend();
    }

    getResponseHeader() {
      return null;
    }
  };
  t.after(() => delete globalThis.XMLHttpRequest);
  const cancel = new AbortController();
  const reasons = [new Error("canceled"), null];
  const authorize = async (run) => {
    const reason = reasons.shift();
    if (reason !== null) cancel.abort(reason);
    return run({ baseUrl: "http://gateway.example" });
  };
  const { conversation } = await open([], { authorize, fetch: undefined });
  await assert.rejects(conversation.attach(file("a.png"), { signal: cancel.signal }), /canceled/);
  assert.deepEqual(requests, []);
  await conversation.attach(file("a.png"), { signal: new AbortController().signal });
  assert.deepEqual(requests, ["PUT"]);
});

test("message with files survives a reload", async () => {
  const kept = storage();
  const { conversation } = await open([], { storage: kept });
  conversation.send("look", { attachments: ["one"] });
  conversation.send("", { attachments: ["two"] });
  const { conversation: reloaded } = await open([], { storage: kept });
  assert.deepEqual(
    reloaded.unacknowledged.map(({ text, attachments }) => [text, attachments]),
    [["look", ["one"]], [undefined, ["two"]]],
  );
});

test("wait that an answer asks for is in seconds and at most five minutes", async () => {
  for (const [header, expected] of [
    ["0", 0],
    ["7", 7],
    ["9007199254740993", 300],
    ["Wed, 02 Dec 2026 00:00:00 GMT", undefined],
    ["-1", undefined],
    [null, undefined],
  ]) {
    const headers = header === null ? {} : { "retry-after": header };
    const fetch = async () => new Response("", { status: 429, headers });
    await assert.rejects(fetchMetrics({ baseUrl: "http://gateway.example", fetch }), ({ retryAfter }) => retryAfter === expected, header);
  }
});
