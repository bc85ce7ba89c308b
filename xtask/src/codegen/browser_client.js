/** The WebSocket subprotocol of the contract. */
const PROTOCOL = "guest-sessions.v1";
/** Largest number of unacknowledged messages. */
const MAX_UNACKNOWLEDGED = 100;
/** Interval in milliseconds in which the gateway forwards one typing indicator. */
const TYPING_INTERVAL = 5_000;
/** Longest time to connect and complete the handshake, in milliseconds. */
const HANDSHAKE_TIMEOUT = 20_000;
/** Silence in milliseconds after which a ping is sent. After a second one the socket is closed. */
const HEARTBEAT_INTERVAL = 30_000;

/** An error of the gateway. `action` names the reaction of a client. */
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
async function call(operation, { baseUrl, accessToken, idempotencyKey, fetch = globalThis.fetch, signal }, { path = {}, query = {}, body } = {}) {
  const [method, template, media] = OPERATIONS[operation];
  const parameters = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined)).toString();
  const url =
    baseUrl.replace(/\/$/, "") +
    template.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(path[name])) +
    (parameters === "" ? "" : `?${parameters}`);
  const headers = {};
  if (accessToken !== undefined) headers.authorization = `Bearer ${accessToken}`;
  if (idempotencyKey !== undefined) headers["idempotency-key"] = `"${idempotencyKey}"`;
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
 * A guest's conversation. It reconnects after a lost connection and receives the missed events. It ends with the event
 * `ended`.
 */
export class GuestConversation extends EventTarget {
  #options;
  #session;
  #socket = null;
  #state = "idle";
  #sequence = null;
  #failures = 0;
  #refreshes = 0;
  #timer;
  #watch;
  #unacknowledged = new Map();
  #typedAt = -Infinity;
  #generation = 0;

  /** @see GuestConversationOptions in guest-sessions.d.ts */
  constructor(session, options = {}) {
    super();
    const { id, websocketUrl, accessToken } = session;
    this.#session = { id, websocketUrl, accessToken };
    this.#options = { maxAttempts: 10, minDelay: 500, maxDelay: 30_000, random: Math.random, WebSocket: globalThis.WebSocket, ...options };
    this.#sequence = options.lastSequence ?? null;
  }

  get state() {
    return this.#state;
  }

  /** The sequence number of the last event. As `lastSequence` it lets a reloaded page resume after it. */
  get lastSequence() {
    return this.#sequence;
  }

  connect() {
    if (this.#state === "ended") throw new Error("the conversation has ended: start a new one");
    if (this.#state === "idle") this.#open();
  }

  /** Closes the conversation. The session stays: only the backend can end it. */
  close() {
    this.#end("closed");
  }

  /** Sends a message. Returns its id, which `delivery` events name with its status. */
  send(text) {
    if (this.#state === "ended") throw new Error("the conversation has ended: start a new one");
    if (typeof text !== "string" || text === "") throw new TypeError("invalid message: empty or not a string");
    if (new TextEncoder().encode(text).length > 4_096) throw new RangeError("invalid message: more than 4,096 bytes");
    if (this.#unacknowledged.size >= MAX_UNACKNOWLEDGED) throw new RangeError("too many unacknowledged messages: wait for deliveries");
    const id = uuid();
    this.#unacknowledged.set(id, text);
    this.#emit("delivery", { id, state: "sending" });
    if (this.#state === "open") this.#sendFrame({ type: "message", id, text });
    return id;
  }

  /** Sends a typing indicator. Call it at every key: its rate is limited. */
  typing() {
    const now = Date.now();
    if (this.#state !== "open" || now - this.#typedAt < TYPING_INTERVAL) return;
    this.#typedAt = now;
    this.#sendFrame({ type: "typing" });
  }

  #open() {
    const generation = ++this.#generation;
    this.#setState("connecting");
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
    const current = (handle) => (event) => generation === this.#generation && handle(event);
    this.#timer = setTimeout(current(() => this.#onDisconnect(opened, null)), HANDSHAKE_TIMEOUT);
    socket.onopen = current(() => {
      opened = true;
      const frame = { type: "handshake", guestSessionId: id, timestamp: new Date().toISOString() };
      if (this.#sequence !== null) frame.lastSequence = this.#sequence;
      this.#sendFrame(frame);
    });
    socket.onmessage = current(({ data }) => {
      let frame;
      try {
        frame = JSON.parse(data);
      } catch {
        return;
      }
      if (this.#state === "open") this.#watchHeartbeat(generation);
      if (frame.type === "error") refusal = frame;
      this.#handle(frame, generation);
    });
    socket.onclose = current(({ code }) => {
      // 1008 and 1011 follow an error that is final for this socket; without one, newer sockets replaced it
      if (code === 1008 && refusal === null) return this.#end("replaced");
      this.#onDisconnect(opened, code === 1008 || code === 1011 ? refusal : null);
    });
  }

  #handle(frame, generation) {
    // a frame that was received before the connection was lost is dropped
    if (typeof frame.sequence === "number" && frame.type !== "handshake.accepted") {
      const known = this.#sequence !== null && frame.sequence <= this.#sequence;
      if (known && frame.type !== "message.accepted") return;
      if (!known) this.#sequence = frame.sequence;
    }
    switch (frame.type) {
      case "handshake.accepted":
        clearTimeout(this.#timer);
        this.#failures = 0;
        this.#refreshes = 0;
        this.#sequence ??= frame.sequence;
        this.#setState("open");
        this.#watchHeartbeat(generation);
        this.#emit("accepted", frame);
        // the gateway deduplicates messages by id
        for (const [id, text] of this.#unacknowledged) this.#sendFrame({ type: "message", id, text });
        break;
      case "message.accepted":
        this.#acknowledge(frame.id, { id: frame.id, state: "delivered", timestamp: frame.timestamp });
        break;
      case "message.failed":
        this.#acknowledge(frame.id, {
          id: frame.id,
          state: frame.code === "in.doubt" ? "unknown" : "failed",
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
        this.#emit(frame.type === "error" ? "refused" : frame.type, frame);
        break;
    }
  }

  #onDisconnect(opened, refusal) {
    this.#release();
    const action = refusal === null ? undefined : ACTIONS[refusal.code];
    if (action === "end" || action === "fix") return this.#end("refused", refusal.code);
    // a browser does not expose the reason of a failed upgrade: it may be the token
    const mayBeToken = !opened || action === "authenticate" || action === "refresh";
    this.#failures += 1;
    if (this.#failures > this.#options.maxAttempts) return this.#end("unreachable");
    this.#setState("reconnecting");
    // full jitter: the pages of a gateway do not reconnect at once
    const ceiling = Math.min(this.#options.maxDelay, this.#options.minDelay * 2 ** (this.#failures - 1));
    const next = ++this.#generation;
    this.#timer = setTimeout(async () => {
      if (next !== this.#generation) return;
      if (mayBeToken && this.#options.refresh !== undefined) {
        let tokens;
        try {
          tokens = await this.#options.refresh(this.#session.id);
        } catch {
          // the backend is unreachable: the current token is tried again
          tokens = undefined;
        }
        if (next !== this.#generation) return;
        if (tokens === null) return this.#end("not-refreshed");
        if (tokens !== undefined) this.#session.accessToken = tokens.accessToken;
      } else if (mayBeToken && action !== undefined) {
        return this.#end("refused", refusal.code);
      }
      if (action !== undefined && mayBeToken && ++this.#refreshes > 3) return this.#end("refused", refusal.code);
      this.#open();
    }, this.#options.random() * ceiling);
  }

  #watchHeartbeat(generation, pinged = false) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      if (generation !== this.#generation) return;
      if (pinged) return this.#onDisconnect(true, null);
      this.#sendFrame({ type: "ping" });
      this.#watchHeartbeat(generation, true);
    }, HEARTBEAT_INTERVAL);
  }

  #acknowledge(id, delivery) {
    if (this.#unacknowledged.delete(id)) this.#emit("delivery", delivery);
  }

  #sendFrame(frame) {
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
    this.#setState("ended");
    for (const id of this.#unacknowledged.keys()) this.#emit("delivery", { id, state: "unknown" });
    this.#unacknowledged.clear();
    this.#emit("ended", { cause, detail });
  }

  #setState(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#emit("state", { state });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** `randomUUID` is available on secure pages only, random bytes on all. */
function uuid() {
  if (globalThis.crypto.randomUUID !== undefined) return globalThis.crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
