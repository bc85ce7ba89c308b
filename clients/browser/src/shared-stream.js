import { uuid } from "./platform.js";
import { FramePoster, FrameSocket, StreamSocket } from "./stream.js";

/** Largest number of connections of tabs, and of senders that are known. */
const MAX_TABS = 200;

/**
 * The event stream of a session for all tabs of a browser. The tab that holds the lock reads it, passes its frames to the others,
 * and posts the frames of all. When that tab is closed, another one gets the lock, and the others resume there.
 */
class SharedStream {
  name;
  #channel;
  #client;
  #socket = null;
  #leader = null;
  #unlock = () => {};
  #page = new AbortController();

  constructor(name, client, locks) {
    this.name = name;
    this.#client = client;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => (data.kind in TO_LEADER ? this.#leader?.handle(data) : this.#receive(data));
    const { signal } = this.#page;
    const held = locks.request(name, { signal }, () => new Promise((unlock) => this.#lead(unlock)));
    // aborted by `close`
    held.catch(() => {});
    // a page that comes back from the cache of the browser connects again
    globalThis.addEventListener?.("pagehide", () => this.#socket?.fail(1006), { signal });
  }

  /** A connection of this tab, with the interface of a WebSocket. */
  connect() {
    this.#socket = new TabSocket((message) => {
      if (this.#leader === null) this.#channel.postMessage(message);
      else this.#leader.handle(message);
    });
    return this.#socket;
  }

  close() {
    this.#page.abort();
    this.#leader?.close();
    this.#unlock();
    this.#channel.close();
  }

  #lead(unlock) {
    this.#unlock = unlock;
    if (this.#page.signal.aborted) return unlock();
    this.#leader = new StreamLeader(this.#client, (message) => {
      this.#channel.postMessage(message);
      this.#receive(message);
    });
    this.#channel.postMessage({ kind: "leader" });
    this.#socket?.enter();
  }

  #receive({ kind, ports, data, code }) {
    const socket = this.#socket;
    if (kind === "leader") socket?.enter();
    else if (socket === null || !ports.includes(socket.id)) return;
    else if (kind === "frame") socket.receive(data);
    else socket.fail(code);
  }
}

/** The messages to the leader. Those to the other tabs are `leader`, `frame` and `close`. */
const TO_LEADER = { enter: true, leave: true, send: true };

/** The connection of a tab to the one that reads the stream. */
class TabSocket extends FrameSocket {
  id = uuid();
  #post;
  #handshake = null;
  #isAccepted = false;

  constructor(post) {
    super();
    this.#post = post;
  }

  send(data) {
    const frame = JSON.parse(data);
    if (frame.type !== "handshake") return this.#post({ kind: "send", port: this.id, frame });
    this.#handshake = frame;
    this.enter();
  }

  /** Sends the handshake to a new leader. What an earlier one accepted is lost with it. */
  enter() {
    if (this.readyState !== 1) return;
    if (this.#isAccepted) this.fail(1006);
    else if (this.#handshake !== null) this.#post({ kind: "enter", port: this.id, handshake: this.#handshake });
  }

  receive(data) {
    if (JSON.parse(data).type === "handshake.accepted") this.#isAccepted = true;
    super.receive(data);
  }

  close() {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.#post({ kind: "leave", port: this.id });
  }
}

/** The part of the tab that reads the stream. */
class StreamLeader {
  #client;
  #deliver;
  #poster;
  /** The connections of the tabs: the handshake of each, and whether it is accepted. */
  #ports = new Map();
  #current = null;
  /** A stream that is not accepted yet. */
  #next = null;
  /** The last event of the current stream, as in a handshake. */
  #position = null;
  /** The senders of messages by their ids, and the one of the last other request. */
  #senders = new Map();
  #requester = null;

  constructor(client, deliver) {
    this.#client = client;
    this.#deliver = deliver;
    this.#poster = new FramePoster(client);
    this.#poster.onrefused = (error, frame) => this.#refuse(error, frame);
  }

  handle({ kind, port, handshake, frame }) {
    if (kind === "enter") {
      if (this.#ports.size >= MAX_TABS) this.#close([this.#ports.keys().next().value], 1008);
      this.#ports.set(port, { handshake, isAccepted: false });
      this.#open();
    } else if (kind === "send") this.#send(port, frame);
    else if (this.#ports.delete(port) && this.#ports.size === 0) this.close();
  }

  close() {
    const streams = [this.#current, this.#next];
    this.#current = this.#next = null;
    this.#poster.clear();
    for (const stream of streams) stream?.close();
  }

  #send(port, frame) {
    if (this.#current === null || !this.#ports.get(port)?.isAccepted) return;
    if (frame.id === undefined) this.#requester = port;
    else this.#senders.set(frame.id, port);
    if (this.#senders.size > MAX_TABS) this.#senders.delete(this.#senders.keys().next().value);
    this.#poster.push(frame);
  }

  /** Opens a stream for the first tab that waits, from its last event on. The current one is read until it is accepted. */
  #open() {
    const waiting = [...this.#ports.values()].find(({ isAccepted }) => !isAccepted);
    if (this.#next !== null || waiting === undefined) return;
    const start = earlier(waiting.handshake, this.#current === null ? null : this.#position);
    const stream = new StreamSocket(this.#client, this.#poster);
    stream.onopen = () => stream.send(JSON.stringify({ ...waiting.handshake, ...start }));
    stream.onmessage = ({ data }) => this.#receive(stream, start, data);
    stream.onclose = ({ code }) => this.#lose(stream, code);
    this.#next = stream;
  }

  #receive(stream, start, data) {
    const frame = JSON.parse(data);
    const { type, sequence } = frame;
    if (type === "handshake.accepted") return this.#accept(stream, start, frame, data);
    if (stream === this.#next) return this.#pass(this.#portsThat(false), data);
    // one that was replaced may still refuse a message
    if (stream !== this.#current && type !== "error") return;
    if (typeof sequence === "number") this.#position.lastSequence = Math.max(this.#position.lastSequence, sequence);
    if (type === "message" && frame.from?.kind !== "guest") this.#position.lastMessageId = frame.id;
    const sender = type !== "error" ? undefined : frame.id !== undefined ? this.#senders.get(frame.id) : frame.code === "action.unavailable" ? this.#requester : undefined;
    this.#pass(sender === undefined ? this.#portsThat(true) : [sender], data);
  }

  #accept(stream, start, frame, data) {
    if (stream !== this.#next) return;
    const before = this.#current;
    [this.#current, this.#next] = [stream, null];
    this.#poster.stream = stream.id;
    const resumes = start.epoch === frame.epoch;
    if (before === null || this.#position.epoch !== frame.epoch) {
      // in another epoch each tab resumes after its own last message
      this.#close(this.#portsThat(true), 1006);
      const lastSequence = start.lastSequence === undefined ? frame.sequence : resumes ? start.lastSequence : 0;
      this.#position = { epoch: frame.epoch, lastSequence, lastMessageId: start.lastMessageId };
    }
    const isServed = ({ epoch, lastSequence }) =>
      lastSequence === undefined || (epoch === start.epoch && (resumes ? lastSequence >= start.lastSequence : lastSequence === start.lastSequence));
    const served = this.#portsThat(false).filter((port) => isServed(this.#ports.get(port).handshake));
    for (const port of served) this.#ports.get(port).isAccepted = true;
    this.#pass(served, data);
    // a frame on its way to it is answered first
    if (before !== null) this.#poster.idle().then(() => before.close());
    this.#open();
  }

  #lose(stream, code) {
    const isCurrent = stream === this.#current;
    if (!isCurrent && stream !== this.#next) return;
    if (isCurrent) {
      this.#current = null;
      this.#poster.clear();
    } else this.#next = null;
    this.#close(this.#portsThat(isCurrent), code);
    this.#open();
  }

  /** Reports an error of a posted frame. */
  #refuse(error, frame) {
    const sender = this.#senders.get(frame?.id);
    const { action, code, message } = error;
    if (sender !== undefined && action === "fix") this.#pass([sender], JSON.stringify({ type: "error", code, message, id: frame.id }));
    else if (action !== "fix") this.#current?.refuse(error, null);
  }

  #portsThat(areAccepted) {
    return [...this.#ports].filter(([, { isAccepted }]) => isAccepted === areAccepted).map(([port]) => port);
  }

  #pass(ports, data) {
    if (ports.length > 0) this.#deliver({ kind: "frame", ports, data });
  }

  #close(ports, code) {
    for (const port of ports) this.#ports.delete(port);
    if (ports.length > 0) this.#deliver({ kind: "close", ports, code });
  }
}

/** The earlier position of a handshake and of the current stream, which may be `null`. */
function earlier({ epoch, lastSequence, lastMessageId }, position) {
  const own = { epoch, lastSequence, lastMessageId };
  if (position === null) return own;
  if (lastSequence === undefined) return { ...position };
  return epoch !== position.epoch || lastSequence < position.lastSequence ? own : { ...position };
}

export { SharedStream };
