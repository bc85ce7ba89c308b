import { ACTIONS } from "./contract.js";
import { Heartbeat } from "./heartbeat.js";
import { call } from "./http.js";
import { choiceAnswer, formAnswer, textMessage } from "./message.js";
import { Outbox, addLatest } from "./outbox.js";
import { CLOCK, DetailEvent, inTime, pageStorage, uuid } from "./platform.js";
import { SessionAccess } from "./session-access.js";
import { refusalOf, upload } from "./upload.js";

/** The WebSocket subprotocol of the contract. */
const PROTOCOL = "guest-sessions.v1";
/** Interval in milliseconds in which the gateway forwards one typing indicator. */
const TYPING_INTERVAL = 5_000;
/** Longest time to connect and complete the handshake, in milliseconds. */
const HANDSHAKE_TIMEOUT = 20_000;
/** Largest number of message ids that are compared. */
const KNOWN_MESSAGES = 1_000;
/** Longest time in milliseconds for an answer to the ping after the machine slept or was offline. */
const PROBE_TIMEOUT = 5_000;
/** Age in milliseconds at which a connection counts as stable: the backoff starts again. */
const STABLE_TIME = 60_000;
/** Causes of an end after which the session goes on. */
const RESUMABLE = ["closed", "replaced", "unreachable"];

/**
 * A guest's conversation. It reconnects after a lost connection and receives the missed events. It ends with the event
 * `ended`.
 */
export class GuestConversation extends EventTarget {
  #options;
  #session;
  #socket = null;
  #state = "idle";
  #cause = null;
  #position;
  #known = new Set();
  #failures = 0;
  #refreshes = 0;
  #acceptedAt = null;
  #attemptedAt = -Infinity;
  #attempt = null;
  #timer;
  #heartbeat;
  #page = null;
  #rules = null;
  #outbox;
  /** Ids of messages from before the start, which are sent again. */
  #requeued;
  #typedAt = -Infinity;
  #generation = 0;

  /** @see GuestConversationOptions in guest-sessions.d.ts */
  constructor(session, options = {}) {
    super();
    this.#options = {
      maxAttempts: Infinity,
      minDelay: 500,
      maxDelay: 30_000,
      random: Math.random,
      clock: CLOCK,
      storage: pageStorage(),
      WebSocket: globalThis.WebSocket,
      ...options,
    };
    if (typeof this.#options.WebSocket !== "function") {
      throw new TypeError("no global WebSocket: pass a constructor as the option `WebSocket`, as of the npm package `ws`");
    }
    this.#session = new SessionAccess(session, this.#options);
    this.#heartbeat = new Heartbeat(this.#options.clock, {
      ping: () => this.#sendFrame({ type: "ping" }),
      lost: () => this.#onDisconnect(true, null),
    });
    this.#position = options.position ?? null;
    if (this.#position?.messageId !== undefined) this.#isNew(this.#position.messageId);
    this.#outbox = new Outbox(this.#options.storage, session.id);
    this.#requeued = this.#outbox.ids;
    for (const id of this.#requeued) this.#isNew(id);
  }

  get state() {
    return this.#state;
  }

  /** The last received event, or `null`. As the option `position` it lets a reloaded page resume after it. */
  get position() {
    return this.#position === null ? null : { ...this.#position };
  }

  /** The messages without an acknowledgement, oldest first, with those from before a reload of the page. */
  get unacknowledged() {
    return this.#outbox.list;
  }

  connect() {
    if (this.#state === "ended") throw new Error("the conversation has ended: start a new one");
    if (this.#state === "idle") this.#start();
  }

  /**
   * Connects at once: without waiting for the next attempt, or again after an end by `closed`, `replaced` or `unreachable`.
   */
  reconnect() {
    if (this.#state === "ended") {
      if (!RESUMABLE.includes(this.#cause)) throw new Error("the session has ended or was refused: start a new conversation");
      this.#failures = 0;
      this.#start();
    } else if (this.#state === "idle") this.#start();
    else if (this.#state === "reconnecting") this.#schedule(0);
  }

  /** Closes the conversation. The session stays: only the backend can end it. */
  close() {
    this.#end("closed");
  }

  /**
   * Sends a text, or the content of an answer as `unacknowledged` lists it. `attachments` are ids of `attach`: with them the
   * text may be empty. Returns the id, which `delivery` events name with its status.
   */
  send(message, { attachments = [] } = {}) {
    if (Array.isArray(message?.content)) return this.#queue({ content: message.content });
    return this.#queue(textMessage(message, attachments));
  }

  /** The rules of the session for files, or null if none can be attached now. The event `conversation` reports a change. */
  get attachmentRules() {
    return this.#session.accessToken === undefined && this.#options.authorize === undefined ? null : this.#rules;
  }

  /**
   * Uploads a file, and returns the id for `send`. `onProgress` gets the number of bytes that were sent. After them the gateway
   * passes the file to Genesys. `signal` cancels the upload.
   */
  async attach(file, { onProgress = () => {}, signal } = {}) {
    signal?.throwIfAborted();
    const refusal = refusalOf(file, this.attachmentRules);
    if (refusal !== null) throw refusal;
    const attachmentId = uuid();
    await this.#session.authorized((options, id) => upload({ id, attachmentId }, file, { ...options, onProgress, signal }));
    return attachmentId;
  }

  /** Deletes an uploaded file that was not sent. */
  async deleteAttachment(attachmentId) {
    await this.#session.authorized((options, id) => call("deleteAttachment", options, { path: { id, attachmentId } }));
  }

  /** Returns a fresh download link of a file. It works for about ten minutes, for anyone who has it. */
  async attachmentUrl(attachmentId) {
    const link = await this.#session.authorized((options, id) => call("fetchAttachment", options, { path: { id, attachmentId } }));
    return link.url;
  }

  /**
   * Answers a message with one or several of its choices, each `{ text, payload }`. Returns the id of the answer, as
   * `send` does.
   */
  choose(message, type, ...choices) {
    return this.#queue(choiceAnswer(message, type, choices));
  }

  /**
   * Answers a form of a message: `fields` has by the id of each field its text, or its choices, each `{ text, payload }`.
   * Returns the id, as `send` does.
   */
  submit(message, form, fields) {
    return this.#queue(formAnswer(message, form, fields));
  }

  #queue(message) {
    if (this.#state === "ended") throw new Error("the conversation has ended: start a new one");
    const id = uuid();
    const stored = this.#outbox.add(id, message);
    this.#isNew(id);
    if (this.#state === "open" && this.#transmit(id)) this.#outbox.advance(id, "sending");
    this.#emit("delivery", { id, state: this.#outbox.state(id), stored });
    return id;
  }

  /**
   * Reads the conversation from Genesys: a page of at most 50 messages, newest first, or the messages from one on, oldest
   * first. `shown` of a message: whether the client emitted or returned it before.
   */
  async history({ page, from } = {}) {
    const answer = await this.#session.authorized((options, id) => call("fetchMessages", options, { path: { id }, query: { page, from } }));
    const messages = answer.messages.map((message) => ({ ...message, shown: !this.#isNew(message.id) }));
    return { ...answer, messages };
  }

  /**
   * Signs the guest in with the authorization code of the identity provider: `{ code, redirectUri, codeVerifier, nonce }`. The
   * event `conversation` has `signedIn` then. A code works once.
   */
  async signIn(authorization) {
    await this.#session.authorized((options, id) => call("signIn", options, { path: { id }, body: authorization }));
  }

  /** Signs the guest out everywhere. The session ends: its conversation cannot go on anonymously. */
  async signOut() {
    await this.#session.authorized((options, id) => call("signOut", options, { path: { id } }));
  }

  /** Starts a new conversation after a read-only one. The event `conversation` offers it as the action `start_new`. */
  startNew() {
    this.#sendFrame({ type: "conversation.start" });
  }

  /** Clears the conversation: it ends, and its history is deleted. `conversation` offers it as the action `clear`. */
  clear() {
    this.#sendFrame({ type: "conversation.clear" });
  }

  /** Sends a typing indicator. Call it at every key: its rate is limited. */
  typing() {
    const now = this.#options.clock.now();
    if (this.#state !== "open" || now - this.#typedAt < TYPING_INTERVAL) return;
    this.#typedAt = now;
    this.#sendFrame({ type: "typing" });
  }

  #start() {
    this.#page = new AbortController();
    const { signal } = this.#page;
    globalThis.addEventListener?.("online", () => this.#wake(), { signal });
    globalThis.document?.addEventListener(
      "visibilitychange",
      () => {
        if (globalThis.document.visibilityState === "visible") this.#wake();
      },
      { signal },
    );
    this.#open();
    for (const id of this.#requeued) {
      this.#outbox.advance(id, "queued");
      this.#emit("delivery", { id, state: "queued", stored: this.#options.storage !== null });
    }
    this.#requeued = [];
  }

  /** Tries at once, or checks a connection that may have been lost while the machine slept. */
  #wake() {
    if (this.#state === "open") this.#heartbeat.probe(PROBE_TIMEOUT);
    if (this.#state === "reconnecting" && this.#attempt !== null) {
      // repeated `online` events cause at most one attempt per shortest backoff
      this.#schedule(Math.max(0, this.#attemptedAt + this.#options.minDelay - this.#options.clock.now()));
    }
  }

  #open() {
    const generation = ++this.#generation;
    this.#attemptedAt = this.#options.clock.now();
    this.#setState("connecting");
    if (this.#options.ticket === undefined) this.#openSocket(generation, `access_token.${this.#session.accessToken}`);
    else this.#openByTicket(generation);
  }

  async #openByTicket(generation) {
    let ticket;
    let refusal = null;
    try {
      ticket = await inTime(this.#options.clock, this.#options.ticket(), HANDSHAKE_TIMEOUT);
    } catch (error) {
      refusal = error;
    }
    if (generation !== this.#generation) return;
    if (typeof ticket === "string") this.#openSocket(generation, `ticket.${ticket}`);
    else if (ticket === null) this.#end("session-ended");
    else this.#onDisconnect(true, refusal);
  }

  #openSocket(generation, credential) {
    const { clock, WebSocket } = this.#options;
    const { id, websocketUrl } = this.#session;
    let socket;
    try {
      socket = new WebSocket(websocketUrl, [PROTOCOL, credential]);
    } catch (error) {
      this.#end("misconfigured", error.message);
      return;
    }
    this.#socket = socket;
    let opened = false;
    let refusal = null;
    const current = (handle) => (event) => generation === this.#generation && handle(event);
    this.#timer = clock.setTimeout(current(() => this.#onDisconnect(opened, null)), HANDSHAKE_TIMEOUT);
    socket.onopen = current(() => {
      opened = true;
      const frame = { type: "handshake", guestSessionId: id, timestamp: new Date().toISOString() };
      if (this.#position !== null) {
        const { epoch, sequence, messageId } = this.#position;
        Object.assign(frame, { epoch, lastSequence: sequence, lastMessageId: messageId });
      }
      this.#sendFrame(frame);
    });
    socket.onmessage = current(({ data }) => {
      let frame;
      try {
        frame = JSON.parse(data);
      } catch {
        return;
      }
      if (this.#state === "open") this.#heartbeat.restart();
      if (frame.type === "error") refusal = frame;
      else if (refusal?.id !== undefined) refusal = null;
      this.#handle(frame);
    });
    socket.onclose = current(({ code }) => {
      // 1008 and 1011 follow an error that is final for this socket; without one, newer sockets replaced it
      if (code === 1008 && refusal === null) return this.#end("replaced");
      // the refused messages have failed, and the others are sent by the next socket
      if (refusal?.id !== undefined) refusal = null;
      this.#onDisconnect(opened, code === 1008 || code === 1011 ? refusal : null);
    });
  }

  #handle(frame) {
    // a frame that was received before the connection was lost is dropped
    let isKnown = false;
    if (typeof frame.sequence === "number" && frame.type !== "handshake.accepted" && this.#position !== null) {
      isKnown = frame.sequence <= this.#position.sequence;
      if (isKnown && frame.type !== "delivery") return;
      if (!isKnown) this.#position.sequence = frame.sequence;
    }
    switch (frame.type) {
      case "handshake.accepted":
        this.#options.clock.clearTimeout(this.#timer);
        this.#acceptedAt = this.#options.clock.now();
        this.#refreshes = 0;
        this.#enter(frame);
        this.#setState("open");
        this.#heartbeat.restart();
        this.#emit("accepted", frame);
        // the gateway deduplicates messages by id
        for (const id of this.#outbox.ids) if (this.#transmit(id)) this.#progress(id, "sending");
        break;
      case "delivery":
        this.#deliver(frame, isKnown);
        break;
      case "session.ended":
        this.#end("session-ended", frame.reason);
        break;
      case "session.moved":
        if (this.#state === "open") {
          // a message that is still undecided was not taken
          for (const id of this.#outbox.ids) this.#report(this.#outbox.requeue(id));
          this.#failures = 0;
        }
        this.#onDisconnect(true, null);
        break;
      case "replay.incomplete":
        this.#emit("gap", frame);
        break;
      case "conversation":
        this.#rules = frame.attachments ?? null;
        // in an outage of Genesys it comes before the answer to the handshake, and messages wait
        if (this.#state === "connecting") {
          this.#options.clock.clearTimeout(this.#timer);
          this.#heartbeat.restart();
        }
        this.#emit("conversation", frame);
        break;
      case "message":
        if (frame.from.kind !== "guest") this.#position.messageId = frame.id;
        if (this.#isNew(frame.id)) this.#emit("message", frame);
        break;
      case "typing":
      case "error":
        if (frame.id !== undefined) this.#acknowledge(frame.id, { id: frame.id, state: "failed", code: frame.code, message: frame.message });
        this.#emit(frame.type === "error" ? "refused" : frame.type, frame);
        break;
    }
  }

  /** Enters the epoch of an accepted handshake. What was missed in a new one is received from its first event on. */
  #enter({ epoch, sequence }) {
    const earlier = this.#position;
    if (earlier?.epoch !== epoch) {
      this.#position = { epoch, sequence: earlier === null ? sequence : 0, messageId: earlier?.messageId };
    }
    for (const id of this.#outbox.ids) {
      // the gateway recognizes no message of an earlier epoch: it is not sent twice
      if (![null, epoch].includes(this.#outbox.epoch(id))) this.#acknowledge(id, { id, state: "unknown" });
    }
  }

  #deliver({ id, state, sequence, timestamp, messageId, text, code, message }, isKnown) {
    const isOwn = this.#known.has(id) || this.#outbox.awaits(id);
    const isNew = messageId === undefined || this.#isNew(messageId);
    // a message from another page of the session
    if (state === "sent" && !isOwn && !isKnown && isNew && text !== undefined) {
      this.#emit("message", { type: "message", sequence, id: messageId ?? id, text, from: { kind: "guest" }, timestamp });
    } else if (state === "sent") this.#acknowledge(id, { id, state, timestamp });
    // the gateway closes the socket, and the next one sends it
    else if (state === "failed" && code === "not.sent") this.#report(this.#outbox.requeue(id));
    else if (state === "failed" || state === "unknown") this.#acknowledge(id, { id, state, code, message });
    else if (state === "queued" || state === "sending") this.#progress(id, state);
  }

  /** Reports a changed state of a message without an acknowledgement. */
  #progress(id, state) {
    this.#report(this.#outbox.advance(id, state));
  }

  #report(change) {
    if (change !== null) this.#emit("delivery", change);
  }

  /** Whether the id of a message is new. The latest are compared. */
  #isNew(id) {
    if (this.#known.has(id)) return false;
    addLatest(this.#known, id, KNOWN_MESSAGES);
    return true;
  }

  #onDisconnect(opened, refusal) {
    this.#release();
    const { clock, random, minDelay, maxDelay, maxAttempts } = this.#options;
    const action = refusal === null ? undefined : ACTIONS[refusal.code];
    if (action === "end" || action === "fix") return this.#end("refused", refusal.code);
    // a browser does not expose the reason of a failed upgrade: it may be the token
    const mayBeToken = !opened || action === "authenticate" || action === "refresh";
    if (this.#acceptedAt !== null && clock.now() - this.#acceptedAt >= STABLE_TIME) this.#failures = 0;
    this.#acceptedAt = null;
    this.#failures += 1;
    if (this.#failures > maxAttempts) return this.#end("unreachable");
    this.#setState("reconnecting");
    const next = ++this.#generation;
    this.#attempt = async () => {
      if (mayBeToken && this.#options.refresh !== undefined) {
        const tokens = await this.#session.refresh();
        if (next !== this.#generation) return;
        if (tokens === null) return this.#end("not-refreshed");
      } else if (mayBeToken && action !== undefined) {
        return this.#end("refused", refusal.code);
      }
      if (action !== undefined && mayBeToken && ++this.#refreshes > 3) return this.#end("refused", refusal.code);
      this.#open();
    };
    // jitter spreads the reconnects of a gateway's pages; the delay is at least half of the ceiling
    const ceiling = Math.min(maxDelay, minDelay * 2 ** (this.#failures - 1));
    this.#schedule((ceiling / 2) * (1 + random()));
  }

  /** Makes the pending attempt after the delay. Without effect while one is being made. */
  #schedule(delay) {
    if (this.#attempt === null) return;
    this.#options.clock.clearTimeout(this.#timer);
    this.#timer = this.#options.clock.setTimeout(() => {
      const attempt = this.#attempt;
      this.#attempt = null;
      attempt();
    }, delay);
  }

  /** Whether the message was written. The gateway reports one that has to wait there. */
  #transmit(id) {
    if (!this.#sendFrame(this.#outbox.frame(id))) return false;
    this.#outbox.markSent(id, this.#position.epoch);
    return true;
  }

  #acknowledge(id, delivery) {
    if (this.#outbox.acknowledge(id, delivery.state)) this.#emit("delivery", delivery);
  }

  /** Whether the frame was written. */
  #sendFrame(frame) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #release() {
    this.#options.clock.clearTimeout(this.#timer);
    this.#heartbeat.stop();
    this.#attempt = null;
    this.#generation += 1;
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null && socket.readyState < 2) socket.close(1000);
  }

  #end(cause, detail) {
    if (this.#state === "ended") return;
    this.#release();
    this.#page?.abort();
    this.#cause = cause;
    this.#setState("ended");
    for (const id of this.#outbox.ids) {
      if (this.#outbox.epoch(id) !== null) this.#emit("delivery", { id, state: "unknown" });
      else this.#emit("delivery", { id, state: "failed", code: "not.sent", message: "the conversation ended before it was sent" });
    }
    // after the others it can go on: `reconnect()` or a reloaded page sends them
    if (!RESUMABLE.includes(cause)) this.#outbox.clear();
    this.#requeued = this.#outbox.ids;
    this.#emit("ended", { cause, detail });
  }

  #setState(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#emit("state", { state });
  }

  #emit(name, detail) {
    this.dispatchEvent(new DetailEvent(name, detail));
  }
}
