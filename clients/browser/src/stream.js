import { GuestSessionsError } from "./http.js";
import { inTime, uuid } from "./platform.js";

/** Failed WebSockets in a row after which event streams replace them. */
const SOCKET_FAILURES = 2;
/** Time in milliseconds after which a WebSocket is tried again. */
const SOCKET_RETRY = 600_000;
/** Longest time in milliseconds for the gateway to accept a frame. */
const FRAME_TIMEOUT = 20_000;
/** Largest number of frames that wait to be posted. */
const MAX_POSTED_FRAMES = 200;

/** The connections of a page: WebSockets, or event streams where no WebSocket can be opened. */
class Transport {
  #clock;
  #WebSocket;
  #failures = 0;
  #failedAt = -Infinity;

  constructor(clock, WebSocket) {
    this.#clock = clock;
    this.#WebSocket = WebSocket;
  }

  /** Whether the next connection is an event stream. */
  get usesStreams() {
    if (typeof this.#WebSocket !== "function") return true;
    return this.#failures >= SOCKET_FAILURES && this.#clock.now() - this.#failedAt < SOCKET_RETRY;
  }

  openSocket(url, protocols) {
    return new ObservedSocket(
      () => new this.#WebSocket(url, protocols),
      (opened) => {
        this.#failures = opened ? 0 : this.#failures + 1;
        this.#failedAt = this.#clock.now();
      },
    );
  }
}

/** A WebSocket that reports once whether it was opened. */
class ObservedSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  #socket = null;
  #report;

  constructor(create, report) {
    this.#report = report;
    try {
      this.#socket = create();
    } catch {
      queueMicrotask(() => this.#close({ code: 1006 }));
      return;
    }
    this.#socket.onopen = (event) => {
      this.#settle(true);
      this.onopen?.(event);
    };
    this.#socket.onmessage = (event) => this.onmessage?.(event);
    this.#socket.onclose = (event) => this.#close(event);
  }

  get readyState() {
    return this.#socket?.readyState ?? 3;
  }

  send(data) {
    this.#socket?.send(data);
  }

  close(code) {
    this.#settle(false);
    this.#socket?.close(code);
  }

  #close(event) {
    this.#settle(false);
    this.onclose?.(event);
  }

  #settle(opened) {
    this.#report?.(opened);
    this.#report = null;
  }
}

/** The part that connections without a WebSocket have in common: the interface of one. */
class FrameSocket {
  readyState = 0;
  onopen = null;
  onmessage = null;
  onclose = null;

  constructor() {
    queueMicrotask(() => {
      if (this.readyState !== 0) return;
      this.readyState = 1;
      this.onopen?.({});
    });
  }

  /** Passes a frame of the gateway on. */
  receive(data) {
    if (this.readyState === 1) this.onmessage?.({ data });
  }

  /** Ends the connection, which the page did not request. */
  fail(code) {
    if (this.readyState === 3) return;
    this.close();
    this.onclose?.({ code });
  }
}

/** Posts the frames of a guest to the open stream, one after the other. */
class FramePoster {
  /** Id of the stream. */
  stream = null;
  /** Takes an error of the stream, or of one frame. */
  onrefused = null;
  #client;
  #frames = [];
  #posting = null;

  constructor(client) {
    this.#client = client;
  }

  /** Resolves when no frame is being posted. */
  async idle() {
    await this.#posting;
  }

  push(frame) {
    if (this.#frames.length >= MAX_POSTED_FRAMES) return this.onrefused(new Error("too many frames wait"), null);
    this.#frames.push(frame);
    this.#posting ??= this.#post().finally(() => (this.#posting = null));
  }

  clear() {
    this.#frames = [];
  }

  async #post() {
    const { clock } = this.#client;
    while (this.#frames.length > 0) {
      const [frame] = this.#frames;
      let refusal = null;
      try {
        await inTime(clock, this.#client.post(frame, this.stream), FRAME_TIMEOUT);
      } catch (error) {
        refusal = error;
      }
      if (this.#frames[0] !== frame) continue;
      if (refusal !== null && ["retry", "wait"].includes(refusal.action)) {
        await new Promise((resolve) => clock.setTimeout(resolve, (refusal.retryAfter ?? 1) * 1_000));
        continue;
      }
      this.#frames.shift();
      if (refusal !== null) this.onrefused(refusal, frame);
    }
  }
}

/** An event stream of the gateway, with the interface of a WebSocket. The first frame is the handshake. */
class StreamSocket extends FrameSocket {
  id = uuid();
  #client;
  #poster;
  #reading = new AbortController();

  /** `poster` is shared by the streams of all tabs. */
  constructor(client, poster = null) {
    super();
    this.#client = client;
    this.#poster = poster ?? new FramePoster(client);
    if (poster !== null) return;
    this.#poster.stream = this.id;
    this.#poster.onrefused = (error, frame) => this.refuse(error, frame);
  }

  send(data) {
    const frame = JSON.parse(data);
    if (frame.type === "handshake") this.#read(frame);
    else this.#poster.push(frame);
  }

  close() {
    this.readyState = 3;
    this.#reading.abort();
    if (this.#poster.stream === this.id) this.#poster.clear();
  }

  /** Reports an error as the socket of the gateway does. `frame` is the refused one. */
  refuse(error, frame) {
    if (isGone(error)) {
      this.receive(JSON.stringify({ type: "session.ended", reason: error.code }));
      return this.fail(1000);
    }
    const { code, message } = error;
    const isFinal = error.action === "end" || error.action === "fix";
    if (isFinal) this.receive(JSON.stringify({ type: "error", code, message, id: frame?.id }));
    // a bad frame ends no stream
    if (!isFinal || frame === null) this.fail(isFinal ? 1008 : 1006);
  }

  async #read(handshake) {
    try {
      const response = await this.#client.open(handshake, this.id, this.#reading.signal);
      for await (const { name, data } of serverSentEvents(response.body)) {
        if (name === "close") return this.fail(JSON.parse(data).code);
        this.receive(data);
      }
      this.fail(1006);
    } catch (error) {
      if (this.readyState !== 3) this.refuse(error, null);
    }
  }
}

/** The events of a stream. A comment is one too, of a type that no client handles: it shows that the stream is alive. */
async function* serverSentEvents(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (text + decoder.decode(value, { stream: true })).split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const event = { name: "message", data: [] };
        for (const line of part.split("\n")) {
          const [, field, content] = /^([^:]*):? ?(.*)$/.exec(line);
          if (field === "event") event.name = content;
          if (field === "data") event.data.push(content);
        }
        yield event.data.length === 0 ? { name: "comment", data: '{"type":"comment"}' } : { name: event.name, data: event.data.join("\n") };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

export { FramePoster, FrameSocket, StreamSocket, Transport };
