import { wellFormed } from "./platform.js";

/** Largest number of unacknowledged messages. */
const MAX_UNACKNOWLEDGED = 100;
/** Largest number of messages whose delivery is unknown, and for which an acknowledgement is still awaited. */
const MAX_UNRESOLVED = 100;

/**
 * The messages of a session without an acknowledgement, oldest first. They are kept in the storage, so that a reloaded page
 * sends them.
 */
class Outbox {
  #storage;
  #key;
  /** By id. `epoch` is that of the socket which sent the message first, or null. */
  #messages = new Map();
  /** Ids of messages that were reported `unknown`. */
  #unresolved = new Set();

  constructor(storage, sessionId) {
    this.#storage = storage;
    this.#key = `guest-sessions:${sessionId}`;
    this.#restore();
  }

  get ids() {
    return [...this.#messages.keys()];
  }

  get list() {
    return Array.from(this.#messages, ([id, { epoch: _, ...message }]) => ({ id, ...message }));
  }

  /** Whether the message was sent and has no acknowledgement. */
  awaits(id) {
    return this.#messages.has(id) || this.#unresolved.has(id);
  }

  /** Adds a message. Returns whether it survives a reload. */
  add(id, message) {
    if (this.#messages.size >= MAX_UNACKNOWLEDGED) throw new RangeError("too many unacknowledged messages: wait for deliveries");
    this.#messages.set(id, { ...wellFormed(message), epoch: null, state: "queued" });
    return this.#store();
  }

  /** The frame of a message. */
  frame(id) {
    const { epoch: _, state: __, ...body } = this.#messages.get(id);
    return { type: "message", id, ...body };
  }

  state(id) {
    return this.#messages.get(id).state;
  }

  /** The epoch of the socket that sent the message first, or null. */
  epoch(id) {
    return this.#messages.get(id).epoch;
  }

  /** Records that a socket of the epoch sent the message. */
  markSent(id, epoch) {
    const message = this.#messages.get(id);
    if (message.epoch !== null) return;
    message.epoch = epoch;
    this.#store();
  }

  /** Changes the state of a message. Returns the change as the event `delivery` has it, or null if there is none. */
  advance(id, state) {
    const message = this.#messages.get(id);
    if (message === undefined || message.state === state) return null;
    message.state = state;
    return { id, state, stored: this.#store() };
  }

  /** Records that the message did not leave the gateway, so that it is sent again. Returns the change as `advance` does. */
  requeue(id) {
    if (!this.#messages.has(id)) return null;
    this.#messages.get(id).epoch = null;
    return this.advance(id, "queued");
  }

  /** Removes an acknowledged message. Returns whether the acknowledgement was awaited. */
  acknowledge(id, state) {
    const isLate = state === "sent" && this.#unresolved.delete(id);
    if (this.#messages.delete(id)) this.#store();
    else if (!isLate) return false;
    if (state === "unknown") addLatest(this.#unresolved, id, MAX_UNRESOLVED);
    return true;
  }

  clear() {
    this.#messages.clear();
    this.#store();
  }

  /** Returns whether the messages survive a reload. */
  #store() {
    if (this.#storage === null) return false;
    try {
      if (this.#messages.size === 0) this.#storage.removeItem(this.#key);
      else this.#storage.setItem(this.#key, JSON.stringify(Array.from(this.#messages, ([id, message]) => ({ id, ...message }))));
      return true;
    } catch {
      // full, or refused by the browser's settings
      return false;
    }
  }

  #restore() {
    let stored = [];
    try {
      stored = JSON.parse(this.#storage?.getItem(this.#key) ?? "[]");
    } catch {
      // another script wrote it, or the browser refuses
    }
    if (!Array.isArray(stored)) return;
    const valid = stored.filter((entry) => typeof entry?.id === "string" && ["text", "content", "attachments"].some((name) => isPart(name, entry[name])));
    for (const { id, epoch, ...entry } of valid.slice(0, MAX_UNACKNOWLEDGED)) {
      const parts = Object.entries(entry).filter(([name, value]) => isPart(name, value));
      const message = wellFormed(Object.fromEntries(parts));
      this.#messages.set(id, { ...message, epoch: typeof epoch === "string" ? epoch : null, state: "queued" });
    }
  }
}

/** Adds an id to a set of the latest ones. */
function addLatest(ids, id, limit) {
  ids.add(id);
  if (ids.size > limit) ids.delete(ids.values().next().value);
}

/** Whether a stored value is a part of a message. */
function isPart(name, value) {
  return name === "text" ? typeof value === "string" : ["attachments", "content"].includes(name) && Array.isArray(value);
}

export { Outbox, addLatest };
