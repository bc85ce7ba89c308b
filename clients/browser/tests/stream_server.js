// A scripted gateway of pages without a backend, for the tests of event streams.

import { settle } from "./virtual_time.js";

const encoder = new TextEncoder();

/** A gateway: its `fetch`, the open streams, and the posted frames. `script` may answer a frame: a response, or nothing. */
export class StreamServer {
  streams = [];
  frames = [];
  tickets = 0;
  /** An answer to the next streams, or `null`. */
  refusal = null;

  constructor(script = () => undefined) {
    this.fetch = async (url, { method, body, signal }) => {
      const { pathname, searchParams } = new URL(url);
      if (method === "POST" && pathname === "/spa/session/ticket") {
        this.tickets += 1;
        return Response.json({ ticket: "t", expiresIn: 30 });
      }
      const parsed = JSON.parse(body);
      if (pathname === "/spa/session/stream") return this.refusal ?? this.#open(searchParams.get("stream"), parsed, signal);
      const answer = await script(parsed, this);
      if (answer !== undefined) return answer;
      this.frames.push({ stream: searchParams.get("stream"), ...parsed });
      return new Response(null, { status: 202 });
    };
  }

  /** The latest stream. */
  get stream() {
    return this.streams.at(-1);
  }

  #open(id, handshake, signal) {
    let controller;
    const body = new ReadableStream({ start: (started) => void (controller = started) });
    const stream = {
      id,
      handshake,
      isClosed: false,
      write: (text) => controller.enqueue(encoder.encode(text)),
      receive: (frame) => stream.write(`data: ${JSON.stringify(frame)}\n\n`),
      accept: (epoch = "e-1", sequence = 0) =>
        stream.receive({ type: "handshake.accepted", guestSessionId: "a", newSession: false, readOnly: false, epoch, sequence }),
      message: (sequence, text = `m-${sequence}`) =>
        stream.receive({ type: "message", id: `m-${sequence}`, sequence, timestamp: "2026-01-01T00:00:00Z", from: { kind: "agent" }, text }),
      close(code) {
        stream.write(`event: close\ndata: {"code":${code},"reason":"test"}\n\n`);
        stream.end();
      },
      end() {
        if (!stream.isClosed) controller.close();
        stream.isClosed = true;
      },
    };
    signal?.addEventListener("abort", () => {
      if (!stream.isClosed) controller.error(signal.reason);
      stream.isClosed = true;
    });
    this.streams.push(stream);
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }
}

/** An error of the gateway. */
export function refusal(status, code, headers = {}) {
  return Response.json({ status, code, message: "test" }, { status, headers });
}

/** Settles the promises of requests and of their bodies. */
export async function settleAll() {
  for (let round = 0; round < 10; round += 1) await settle();
}
