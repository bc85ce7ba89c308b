/** The WebSocket subprotocol of the contract. */
const PROTOCOL = "guest-sessions.v1";
/** Most messages that wait to be acknowledged. */
const MOST_WAITING = 100;
/** The gateway passes on one typing signal in so many milliseconds. */
const TYPING_PACE = 5_000;
/** How long the handshake may take, the connection included, in milliseconds. */
const PATIENCE = 20_000;
/** A silence, in milliseconds, after which a ping is sent; a second one ends the socket. */
const SILENCE = 30_000;

/** A refusal of the gateway. `action` says what to do about it. */
export class GuestSessionsError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.message ?? problem.error_description ?? `the gateway answered ${status}`);
    this.name = "GuestSessionsError";
    this.status = status;
    this.code = problem.code ?? problem.error ?? "unknown";
    this.action = ACTIONS[this.code];
    this.details = problem.details ?? [];
    this.contextId = problem.contextId;
    this.retryAfter = retryAfter;
  }
}

/** Makes a REST call of the contract. For backends: pages hold no API client's token. */
async function call(operation, { baseUrl, accessToken, fetch = globalThis.fetch, signal }, { path = {}, body } = {}) {
  const [method, template, media] = OPERATIONS[operation];
  const url = baseUrl.replace(/\/$/, "") + template.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(path[name]));
  const headers = {};
  if (accessToken !== undefined) headers.authorization = `Bearer ${accessToken}`;
  if (body !== undefined) headers["content-type"] = media;
  const sent = body === undefined ? undefined : media === "application/json" ? JSON.stringify(body) : new URLSearchParams(body).toString();
  const response = await fetch(url, { method, headers, body: sent, signal, redirect: "error" });
  const text = await response.text();
  let answer;
  try {
    answer = text === "" ? undefined : JSON.parse(text);
  } catch {
    answer = {};
  }
  if (response.ok) return answer;
  const wait = response.headers.get("retry-after");
  throw new GuestSessionsError(response.status, answer ?? {}, wait === null ? undefined : Number(wait));
}

/**
 * One guest's conversation. It comes back by itself after a lost connection, with what was missed, and ends for good
 * with the event `ended`.
 */
export class GuestConversation extends EventTarget {
  #options;
  #session;
  #socket = null;
  #state = "idle";
  #sequence = null;
  #failures = 0;
  #renewals = 0;
  #timer;
  #watch;
  #waiting = new Map();
  #typedAt = -Infinity;
  #generation = 0;

  /** @see GuestConversationOptions in guest-sessions.d.ts */
  constructor(session, options = {}) {
    super();
    const { id, websocketUrl, accessToken } = session;
    this.#session = { id, websocketUrl, accessToken };
    this.#options = { attempts: 10, shortest: 500, longest: 30_000, random: Math.random, WebSocket: globalThis.WebSocket, ...options };
    this.#sequence = options.lastSequence ?? null;
  }

  get state() {
    return this.#state;
  }

  /** The number of the last event that was told; given as `lastSequence`, a page that was reloaded goes on after it. */
  get lastSequence() {
    return this.#sequence;
  }

  connect() {
    if (this.#state === "ended") throw new Error("the conversation has ended: begin a new one");
    if (this.#state === "idle") this.#open();
  }

  /** Leaves. The session stays: only the backend can end it. */
  close() {
    this.#end("closed");
  }

  /** Says something; gives the message's id, under which `delivery` events tell what became of it. */
  send(text) {
    if (this.#state === "ended") throw new Error("the conversation has ended: begin a new one");
    if (typeof text !== "string" || text === "") throw new TypeError("a message has text");
    if (new TextEncoder().encode(text).length > 4_096) throw new RangeError("a message has at most 4,096 bytes");
    if (this.#waiting.size >= MOST_WAITING) throw new RangeError("too many messages wait to be delivered: wait for them");
    const id = uuid();
    this.#waiting.set(id, text);
    this.#tell("delivery", { id, state: "sending" });
    if (this.#state === "open") this.#say({ type: "message", id, text });
    return id;
  }

  /** The guest is typing. Call it at every key: it is paced. */
  typing() {
    const now = Date.now();
    if (this.#state !== "open" || now - this.#typedAt < TYPING_PACE) return;
    this.#typedAt = now;
    this.#say({ type: "typing" });
  }

  #open() {
    const generation = ++this.#generation;
    this.#become("connecting");
    const { id, websocketUrl, accessToken } = this.#session;
    let socket;
    try {
      socket = new this.#options.WebSocket(websocketUrl, [PROTOCOL, `access_token.${accessToken}`]);
    } catch (error) {
      this.#end("misconfigured", error.message);
      return;
    }
    this.#socket = socket;
    let opened = false;
    let refusal = null;
    const ours = (handle) => (event) => generation === this.#generation && handle(event);
    this.#timer = setTimeout(ours(() => this.#lost(opened, null)), PATIENCE);
    socket.onopen = ours(() => {
      opened = true;
      const frame = { type: "handshake", guestSessionId: id, timestamp: new Date().toISOString() };
      if (this.#sequence !== null) frame.lastSequence = this.#sequence;
      this.#say(frame);
    });
    socket.onmessage = ours(({ data }) => {
      let frame;
      try {
        frame = JSON.parse(data);
      } catch {
        return;
      }
      if (this.#state === "open") this.#watchSilence(generation);
      if (frame.type === "error") refusal = frame;
      this.#handle(frame, generation);
    });
    socket.onclose = ours(({ code }) => {
      // 1008 and 1011 follow a refusal that is final for this socket; without one, newer sockets took its place
      if (code === 1008 && refusal === null) return this.#end("replaced");
      this.#lost(opened, code === 1008 || code === 1011 ? refusal : null);
    });
  }

  #handle(frame, generation) {
    // a frame that was told before the connection was lost is not told again
    if (typeof frame.sequence === "number" && frame.type !== "handshake.accepted") {
      const known = this.#sequence !== null && frame.sequence <= this.#sequence;
      if (known && frame.type !== "message.accepted") return;
      if (!known) this.#sequence = frame.sequence;
    }
    switch (frame.type) {
      case "handshake.accepted":
        clearTimeout(this.#timer);
        this.#failures = 0;
        this.#renewals = 0;
        this.#sequence ??= frame.sequence;
        this.#become("open");
        this.#watchSilence(generation);
        this.#tell("accepted", frame);
        // by its id the gateway knows a message that it has already
        for (const [id, text] of this.#waiting) this.#say({ type: "message", id, text });
        break;
      case "message.accepted":
        this.#settle(frame.id, { id: frame.id, state: "delivered", timestamp: frame.timestamp });
        break;
      case "message.failed":
        this.#settle(frame.id, {
          id: frame.id,
          state: frame.code === "in.doubt" ? "doubtful" : "failed",
          code: frame.code,
          message: frame.message,
        });
        break;
      case "session.ended":
        this.#end("session-ended", frame.reason);
        break;
      case "message":
      case "typing":
      case "event":
      case "error":
        this.#tell(frame.type === "error" ? "refused" : frame.type, frame);
        break;
    }
  }

  #lost(opened, refusal) {
    this.#release();
    const action = refusal === null ? undefined : ACTIONS[refusal.code];
    if (action === "end" || action === "fix") return this.#end("refused", refusal.code);
    // why an upgrade failed a browser does not tell: it may be the token
    const doubtful = !opened || action === "authenticate" || action === "renew";
    this.#failures += 1;
    if (this.#failures > this.#options.attempts) return this.#end("unreachable");
    this.#become("waiting");
    // full jitter: as many pages as the gateway has do not come back at once
    const most = Math.min(this.#options.longest, this.#options.shortest * 2 ** (this.#failures - 1));
    const next = ++this.#generation;
    this.#timer = setTimeout(async () => {
      if (next !== this.#generation) return;
      if (doubtful && this.#options.renew !== undefined) {
        let tokens;
        try {
          tokens = await this.#options.renew(this.#session.id);
        } catch {
          // the backend is out of reach: what is at hand is tried again
          tokens = undefined;
        }
        if (next !== this.#generation) return;
        if (tokens === null) return this.#end("not-renewed");
        if (tokens !== undefined) this.#session.accessToken = tokens.accessToken;
      } else if (doubtful && action !== undefined) {
        return this.#end("refused", refusal.code);
      }
      if (action !== undefined && doubtful && ++this.#renewals > 3) return this.#end("refused", refusal.code);
      this.#open();
    }, this.#options.random() * most);
  }

  #watchSilence(generation, asked = false) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      if (generation !== this.#generation) return;
      if (asked) return this.#lost(true, null);
      this.#say({ type: "ping" });
      this.#watchSilence(generation, true);
    }, SILENCE);
  }

  #settle(id, delivery) {
    if (this.#waiting.delete(id)) this.#tell("delivery", delivery);
  }

  #say(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  #release() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#generation += 1;
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null && socket.readyState < 2) socket.close(1000);
  }

  #end(cause, detail) {
    if (this.#state === "ended") return;
    this.#release();
    this.#become("ended");
    for (const id of this.#waiting.keys()) this.#tell("delivery", { id, state: "doubtful" });
    this.#waiting.clear();
    this.#tell("ended", { cause, detail });
  }

  #become(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#tell("state", { state });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** `randomUUID` is for secure pages only; random bytes are for all. */
function uuid() {
  if (globalThis.crypto.randomUUID !== undefined) return globalThis.crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
