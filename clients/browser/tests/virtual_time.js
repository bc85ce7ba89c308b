// Virtual time, a page and a scripted server for the tests of the client.

/** A clock whose timers run when the test advances it. */
export class VirtualClock {
  #time = 0;
  #timers = new Map();
  #next = 1;

  now() {
    return this.#time;
  }

  setTimeout(run, delay) {
    this.#timers.set(this.#next, { run, at: this.#time + delay });
    return this.#next++;
  }

  clearTimeout(timer) {
    this.#timers.delete(timer);
  }

  /** Runs the timers that are due within `duration`, in order, each with the promises that it settles. */
  async advance(duration) {
    const end = this.#time + duration;
    for (;;) {
      await settle();
      const [due] = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, one], [, other]) => one.at - other.at);
      if (due === undefined) break;
      const [timer, { run, at }] = due;
      this.#timers.delete(timer);
      this.#time = at;
      run();
    }
    this.#time = end;
  }
}

/** Resolves when every settled promise was handled. */
export function settle() {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * A server whose behavior is `script`: a function of a socket, called after its construction. It returns the class of the
 * sockets and a list of them.
 */
export function server(script) {
  const sockets = [];
  class ScriptedSocket {
    readyState = 0;
    sent = [];

    constructor(url, protocols) {
      this.url = url;
      this.protocols = protocols;
      sockets.push(this);
      queueMicrotask(() => script(this));
    }

    /** Opens the socket. The client sends its handshake. */
    open() {
      this.readyState = 1;
      this.onopen?.({});
    }

    accept(epoch = "e-1", sequence = 0) {
      this.open();
      this.receive({ type: "handshake.accepted", guestSessionId: "a", newSession: false, readOnly: false, epoch, sequence });
    }

    receive(frame) {
      this.onmessage?.({ data: JSON.stringify(frame) });
    }

    drop(code = 1006) {
      if (this.readyState === 3) return;
      this.readyState = 3;
      this.onclose?.({ code });
    }

    send(data) {
      this.sent.push(JSON.parse(data));
    }

    close() {
      this.readyState = 3;
    }
  }
  return { WebSocket: ScriptedSocket, sockets };
}

/** A `sessionStorage` with room for `limit` characters. */
export function storage(limit = Infinity) {
  const entries = new Map();
  return {
    entries,
    getItem: (key) => entries.get(key) ?? null,
    removeItem: (key) => entries.delete(key),
    setItem(key, value) {
      if (value.length > limit) throw new Error("QuotaExceededError");
      entries.set(key, value);
    },
  };
}

/** Events of a conversation, in order, as `[name, detail]`. */
export function record(conversation) {
  const events = [];
  for (const name of ["accepted", "conversation", "delivery", "ended", "gap", "message", "refused", "state", "typing"]) {
    conversation.addEventListener(name, ({ detail }) => events.push([name, detail]));
  }
  return events;
}
