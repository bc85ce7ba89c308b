import assert from "node:assert/strict";
import test from "node:test";

import { SpaClient } from "../guest-sessions.js";
import { StreamServer, refusal, settleAll } from "./stream_server.js";
import { VirtualClock, record } from "./virtual_time.js";

const SESSION = { id: "a", websocketUrl: "ws://gateway.example/" };

/** A browser without WebSockets. Each of its tabs has a channel to the others and requests the locks. */
class Browser {
  #channels = new Map();
  #holders = [];

  constructor(script) {
    this.clock = new VirtualClock();
    this.gateway = new StreamServer(script);
  }

  open({ position = null } = {}) {
    const tab = { channels: [], isClosed: false };
    const channels = this.#channels;
    const holders = this.#holders;
    globalThis.BroadcastChannel = class {
      constructor(name) {
        this.name = name;
        channels.set(this, tab);
        tab.channels.push(this);
      }

      postMessage(message) {
        if (tab.isClosed) return;
        const data = structuredClone(message);
        for (const channel of channels.keys()) {
          if (channel !== this && channel.name === this.name) queueMicrotask(() => !channels.get(channel)?.isClosed && channel.onmessage?.({ data }));
        }
      }

      close() {
        channels.delete(this);
      }
    };
    const grant = () => {
      while (holders[0]?.tab.isClosed) holders.shift();
      if (holders.length === 0 || holders[0].isHeld) return;
      holders[0].isHeld = true;
      holders[0].hold();
    };
    const locks = {
      async request(_name, { signal }, hold) {
        const holder = { tab, hold, isHeld: false };
        holders.push(holder);
        signal.addEventListener("abort", () => holders.splice(holders.indexOf(holder), 1));
        queueMicrotask(grant);
      },
    };
    const { clock, gateway } = this;
    const fetch = (url, options) => (tab.isClosed ? new Promise(() => {}) : gateway.fetch(url, options));
    const client = new SpaClient("http://gateway.example", { clock, fetch, locks, WebSocket: undefined, storage: null, marks: null });
    const conversation = client.conversation(SESSION, { storage: null, random: () => 0.5, position });
    tab.conversation = conversation;
    tab.events = record(conversation);
    /** Ends the tab without a word to the others. */
    tab.kill = () => {
      tab.isClosed = true;
      grant();
    };
    conversation.connect();
    return tab;
  }

  /** Accepts the streams that the tabs wait for. */
  async accept(epoch, sequence) {
    await settleAll();
    const accepted = new Set();
    for (;;) {
      const { stream } = this.gateway;
      if (stream === undefined || stream.isAccepted) return;
      assert.ok(!accepted.has(stream));
      accepted.add(stream);
      stream.isAccepted = true;
      stream.accept(epoch, sequence);
      await settleAll();
    }
  }
}

const named = (tab, name) => tab.events.filter(([event]) => event === name).map(([, detail]) => detail);
const shown = (tab) => named(tab, "message").map(({ id }) => id);
const states = (...tabs) => tabs.map(({ conversation }) => conversation.state);

test("tabs share one stream, and a message of any tab appears once in all", async () => {
  const browser = new Browser();
  const { gateway } = browser;
  const [one, two] = [browser.open(), browser.open()];
  await browser.accept("e-1", 0);
  assert.deepEqual(states(one, two), ["open", "open"]);
  assert.equal(gateway.streams.filter(({ isClosed }) => !isClosed).length, 1);
  const ids = [two.conversation.send("from two"), one.conversation.send("from one")];
  await settleAll();
  assert.deepEqual(gateway.frames.map(({ id }) => id).sort(), [...ids].sort());
  for (const [index, id] of ids.entries()) {
    const text = ["from two", "from one"][index];
    gateway.stream.receive({ type: "delivery", id, state: "sent", sequence: index + 1, timestamp: "2026-01-01T00:00:00Z", messageId: `g-${index}`, text });
  }
  gateway.stream.message(3);
  await settleAll();
  assert.deepEqual(shown(one).sort(), ["g-0", "m-3"]);
  assert.deepEqual(shown(two).sort(), ["g-1", "m-3"]);
  assert.deepEqual(named(one, "message").find(({ id }) => id === "g-0").text, "from two");
  for (const tab of [one, two]) assert.deepEqual(tab.conversation.unacknowledged, []);
});

test("late tab resumes where it was, and the others see nothing twice", async () => {
  const browser = new Browser();
  const one = browser.open();
  await browser.accept("e-1", 4);
  browser.gateway.stream.message(5);
  browser.gateway.stream.message(6);
  await settleAll();
  const two = browser.open({ position: { epoch: "e-1", sequence: 4 } });
  await settleAll();
  assert.equal(browser.gateway.stream.handshake.lastSequence, 4);
  // before the new stream is accepted, the earlier one is read
  browser.gateway.streams[0].message(7);
  await browser.accept("e-1", 7);
  for (const sequence of [5, 6, 7, 8]) browser.gateway.stream.message(sequence);
  await settleAll();
  assert.deepEqual(shown(one), ["m-5", "m-6", "m-7", "m-8"]);
  assert.deepEqual(shown(two), ["m-5", "m-6", "m-7", "m-8"]);
  const three = browser.open();
  await settleAll();
  assert.equal(browser.gateway.stream.handshake.lastSequence, 8, "the others lose nothing");
  await browser.accept("e-1", 8);
  browser.gateway.stream.message(9);
  await settleAll();
  assert.deepEqual(shown(three), ["m-9"]);
  three.conversation.send("hello");
  await settleAll();
  assert.deepEqual(browser.gateway.frames.map((frame) => frame.stream), [browser.gateway.stream.id]);
  browser.open({ position: { epoch: "e-1", sequence: 12 } });
  await settleAll();
  assert.equal(browser.gateway.stream.handshake.lastSequence, 9, "the others have not received what it has");
  await browser.accept("e-1", 12);
  assert.equal(browser.gateway.streams.filter(({ isClosed }) => !isClosed).length, 1);
});

test("tab that reads the stream is replaced by another without loss or doubles", async () => {
  const browser = new Browser();
  const [one, two, three] = [browser.open(), browser.open(), browser.open()];
  await browser.accept("e-1", 0);
  browser.gateway.stream.message(1);
  await settleAll();
  const { streams } = browser.gateway;
  const before = streams.length;
  one.kill();
  await settleAll();
  const id = two.conversation.send("meanwhile");
  await browser.clock.advance(2_000);
  assert.deepEqual(
    streams.slice(before).map(({ handshake }) => handshake.lastSequence),
    [1],
  );
  await browser.accept("e-1", 2);
  // it missed one
  browser.gateway.stream.message(2);
  browser.gateway.stream.message(3);
  await settleAll();
  assert.deepEqual(states(two, three), ["open", "open"]);
  for (const tab of [two, three]) assert.deepEqual(shown(tab), ["m-1", "m-2", "m-3"]);
  assert.deepEqual(browser.gateway.frames.map((frame) => frame.id), [id]);
});

test("tabs resume in the epoch of a restarted gateway", async () => {
  const browser = new Browser();
  const tabs = [browser.open(), browser.open()];
  await browser.accept("e-1", 0);
  browser.gateway.stream.message(1);
  await settleAll();
  browser.gateway.stream.close(1001);
  await settleAll();
  await browser.clock.advance(2_000);
  const { epoch, lastSequence, lastMessageId } = browser.gateway.stream.handshake;
  assert.deepEqual([epoch, lastSequence, lastMessageId], ["e-1", 1, "m-1"]);
  await browser.accept("e-2", 0);
  await browser.clock.advance(2_000);
  await browser.accept("e-2", 0);
  browser.gateway.stream.receive({ type: "message", id: "m-2", sequence: 1, from: { kind: "agent" }, text: "after" });
  await settleAll();
  assert.deepEqual(states(...tabs), ["open", "open"]);
  for (const tab of tabs) assert.deepEqual(shown(tab), ["m-1", "m-2"]);
});

test("tab of another epoch takes the others along", async () => {
  const browser = new Browser();
  const one = browser.open();
  await browser.accept("e-1", 0);
  browser.gateway.stream.message(1);
  await settleAll();
  const two = browser.open({ position: { epoch: "e-0", sequence: 5, messageId: "m-0" } });
  await browser.accept("e-2", 1);
  assert.deepEqual(states(one, two), ["reconnecting", "open"]);
  await browser.clock.advance(1_000);
  const { epoch, lastSequence, lastMessageId } = browser.gateway.stream.handshake;
  assert.deepEqual([epoch, lastSequence, lastMessageId], ["e-1", 1, "m-1"]);
  await browser.accept("e-2", 1);
  browser.gateway.stream.message(2);
  await settleAll();
  assert.deepEqual(states(one, two), ["open", "open"]);
  assert.deepEqual(shown(one), ["m-1", "m-2"]);
});

test("refusal is reported in the tab that caused it", async () => {
  const browser = new Browser((frame) => (frame.text === "bad" ? refusal(400, "bad.frame") : undefined));
  const [one, two] = [browser.open(), browser.open()];
  await browser.accept("e-1", 0);
  const [bad, late] = [two.conversation.send("bad"), two.conversation.send("late")];
  two.conversation.startNew();
  await settleAll();
  browser.gateway.stream.receive({ type: "error", code: "not.sent", message: "test", id: late });
  browser.gateway.stream.receive({ type: "error", code: "action.unavailable", message: "test" });
  await settleAll();
  const failed = named(two, "delivery").filter(({ state }) => state === "failed");
  assert.deepEqual(failed.map(({ id }) => id), [bad, late]);
  assert.equal(named(two, "refused").length, 3);
  assert.equal(named(one, "refused").length, 0);
  assert.deepEqual(states(one, two), ["open", "open"]);
});

test("end of the session reaches every tab, and the last tab to leave closes the stream", async () => {
  const browser = new Browser();
  const [one, two] = [browser.open(), browser.open()];
  await browser.accept("e-1", 0);
  const { stream } = browser.gateway;
  one.conversation.close();
  await settleAll();
  assert.ok(!stream.isClosed, "the tab reads it for the other one");
  two.conversation.close();
  await settleAll();
  assert.ok(stream.isClosed);

  const tabs = [browser.open(), browser.open()];
  await browser.accept("e-1", 0);
  browser.gateway.stream.receive({ type: "session.ended", reason: "guest", sequence: 1 });
  await settleAll();
  for (const tab of tabs) assert.equal(named(tab, "ended")[0].cause, "session-ended");
});
