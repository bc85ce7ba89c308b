import { answeredIds, messageContent, settleMessage } from "./content.js";
import { h, icon } from "./dom.js";
import { fill } from "./texts.js";

/** Icon of each delivery status. */
const MARKS = { queued: "clock", sending: "clock", sent: "check", failed: "alert", unknown: "alert" };
/** Messages of one sender within this time in milliseconds are one group. */
const GROUP_TIME = 5 * 60_000;

/** The messages of one conversation, each shown once. */
class Transcript {
  #parts;
  #texts;
  #view;
  #entries = new Map();
  #loading = false;
  // the next page of the history, or null at its end
  #page = 1;
  #isConnected = false;
  // lead of Genesys' clock over this machine's in milliseconds, at least
  #lead = null;

  constructor(parts, texts, view) {
    this.#parts = parts;
    this.#texts = texts;
    this.#view = view;
    this.clear();
  }

  clear() {
    this.#entries.clear();
    this.#parts.list.replaceChildren();
    this.#parts.earlier.hidden = true;
    this.#arrange();
  }

  /** Loads the earlier messages once the conversation is open, for a page that was reloaded. */
  connected({ newSession }) {
    if (newSession) this.#page = null;
    else if (!this.#isConnected) this.loadEarlier();
    this.#isConnected = true;
  }

  /** Adds a message of the agent, or of the guest in another window. */
  add(message) {
    if (!this.#insertByTime(message) || message.from.kind === "guest") return;
    this.#view.announce(fill(this.#texts.saidBy, { name: this.#name(message.from), text: message.text }));
  }

  /** Adds a message of the guest, with its files. `send` sends it again, and returns its new id. */
  addOwn({ id, state, text, files = [], send }) {
    if (this.#entries.has(id)) return;
    const sentAt = new Date();
    const content = files.map((file) => ({ contentType: "Attachment", attachment: { id: file.id, filename: file.name, fileSize: file.size } }));
    const node = this.#node({ id, text, content }, true, state, sentAt);
    this.#entries.set(id, { id, node, at: null, sentAt, status: state, author: "own", text, files, send });
    this.#parts.list.append(node);
    this.#arrange();
  }

  deliver({ id, state, timestamp, message }) {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    if (timestamp !== undefined) {
      entry.at = new Date(timestamp);
      this.#lead = Math.max(this.#lead ?? -Infinity, entry.at - Date.now());
    }
    entry.status = state;
    const again = () => this.#sendAgain(id);
    entry.node.querySelector(".meta").replaceWith(this.#meta(entry.at ?? entry.sentAt, state, again));
    entry.node.classList.remove(...Object.keys(MARKS));
    entry.node.classList.add(state);
    if (state === "failed" || state === "unknown") this.#view.announce(`${this.#texts[state]}. ${message ?? ""}`);
    this.#arrange();
  }

  /** Adds a line between the messages. */
  separate(text) {
    const note = h("li", { class: "separator" }, h("span", {}, text));
    this.#parts.list.append(note);
    this.#view.announce(text);
    this.#arrange();
    return note;
  }

  /** A place where messages were missed: reads them from the history, the newest pages at once. */
  async gap({ readFrom }) {
    const load = h("button", { type: "button", onclick: () => read() });
    const note = this.separate(this.#texts.gap);
    let query = readFrom === undefined ? {} : { from: readFrom };
    const read = async () => {
      load.remove();
      const page = await this.#read(query);
      if (this.#view.signal.aborted) return;
      load.textContent = page === null ? this.#texts.tryAgain : this.#texts.older;
      if (page !== null) this.#insertAll(page.messages);
      const isFilled = page !== null && (page.nextPage === undefined || page.messages.some(({ id }) => id === readFrom));
      if (isFilled) note.remove();
      else note.append(load);
      if (page !== null) query = { page: page.nextPage };
      this.#arrange();
    };
    await read();
  }

  async loadEarlier() {
    if (this.#loading || this.#page === null) return;
    this.#loading = true;
    const { earlier, log } = this.#parts;
    earlier.hidden = false;
    earlier.disabled = true;
    earlier.textContent = this.#texts.loading;
    const page = await this.#read({ page: this.#page });
    if (this.#view.signal.aborted) return;
    if (page === null) earlier.textContent = `${this.#texts.historyFailed} ${this.#texts.tryAgain}`;
    else {
      const fromEnd = log.scrollHeight - log.scrollTop;
      this.#insertAll(page.messages);
      this.#page = page.nextPage ?? null;
      log.scrollTop = log.scrollHeight - fromEnd;
      earlier.textContent = this.#texts.older;
    }
    earlier.hidden = this.#page === null;
    earlier.disabled = false;
    this.#loading = false;
    this.#arrange();
  }

  /** Reads the history, or returns null if that failed. Another conversation may be shown by then. */
  async #read(query) {
    try {
      return await this.#view.conversation.history(query);
    } catch (error) {
      // the history does not have the message any more
      return error.code === "not.found" && query.from !== undefined ? this.#read({}) : null;
    }
  }

  /** Adds a received message before another, or at the end. Returns whether it is new. */
  #insert(message, before) {
    if (this.#entries.has(message.id)) return false;
    const isOwn = message.from.kind === "guest";
    const at = new Date(message.timestamp);
    const status = isOwn ? "sent" : null;
    const node = this.#node(message, isOwn, status, at);
    this.#entries.set(message.id, { id: message.id, node, at, status, author: isOwn ? "own" : (message.from.name ?? message.from.kind), answers: isOwn ? answeredIds(message.content ?? []) : [] });
    this.#parts.list.insertBefore(node, before);
    this.#arrange();
    return true;
  }

  /** Adds a message by Genesys' time: they arrive in another order. */
  #insertByTime(message) {
    const at = new Date(message.timestamp);
    const byNode = this.#byNode();
    const later = [...this.#parts.list.children].find((node) => byNode.has(node) && this.#time(byNode.get(node)) > at);
    return this.#insert(message, later ?? null);
  }

  /** Adds messages of the history. `shown` ones are there, the guest's own by another id. */
  #insertAll(messages) {
    for (const message of messages) if (!message.shown) this.#insertByTime(message);
  }

  /** Genesys' time of a message in milliseconds. That of one without a delivery follows from this machine's clock. */
  #time({ at, sentAt }) {
    return (at ?? sentAt).getTime() + (at === null ? (this.#lead ?? 0) : 0);
  }

  #byNode() {
    return new Map([...this.#entries.values()].map((entry) => [entry.node, entry]));
  }

  #node(message, isOwn, status, at) {
    const view = { id: message.id, texts: this.#texts, lang: this.#view.lang, ...this.#answers(message) };
    // a choice is shown by its text, also if a bot offered it with content
    const content = isOwn ? (message.content ?? []).filter((item) => item?.contentType === "Attachment") : message.content;
    const { text, blocks, replies } = messageContent({ ...message, content }, view);
    const author = h("span", { class: isOwn ? "visually-hidden" : "author" }, isOwn ? this.#texts.you : this.#name(message.from));
    const meta = this.#meta(at, status);
    return h("li", { class: `message ${isOwn ? "own" : "other"} ${status ?? ""}` }, author, text, ...blocks, meta, replies);
  }

  #answers(message) {
    const { conversation, send } = this.#view;
    return {
      linkOf: (id) => conversation.attachmentUrl(id),
      choose: (type, choices) => send(() => conversation.choose(message, type, ...choices), choices.map(({ text }) => text).join(", ")),
      submit: (form, fields, text) => send(() => conversation.submit(message, form, fields), text),
    };
  }

  #name(from) {
    return from.name ?? (from.kind === "bot" ? this.#texts.bot : this.#texts.agent);
  }

  #meta(at, status, again) {
    const time = new Intl.DateTimeFormat(this.#view.lang, { hour: "numeric", minute: "2-digit", ...(isToday(at) ? {} : { day: "numeric", month: "short" }) });
    const mark = status === null ? null : [icon(MARKS[status]), this.#texts[status]];
    const retry = ["failed", "unknown"].includes(status) ? h("button", { type: "button", onclick: again }, this.#texts.retry) : null;
    return h("div", { class: "meta" }, h("time", { datetime: at.toISOString() }, time.format(at)), ...(mark ?? []), retry);
  }

  #sendAgain(id) {
    const { node, text, files, send } = this.#entries.get(id);
    if (!this.#view.send(send, text, files)) return;
    this.#entries.delete(id);
    node.remove();
    this.#arrange();
  }

  /** Groups the messages of one sender. Those of one delivery status share a mark. */
  #arrange() {
    const { list, empty } = this.#parts;
    empty.hidden = list.childElementCount > 0;
    const byNode = this.#byNode();
    let before = null;
    for (const node of list.children) {
      const entry = byNode.get(node) ?? null;
      const sameSender = before !== null && entry !== null && before.author === entry.author;
      const near = sameSender && Math.abs(this.#time(entry) - this.#time(before)) < GROUP_TIME;
      node.classList.toggle("continued", near);
      before?.node.classList.toggle("followed", near && before.status === entry.status);
      entry?.node.classList.remove("followed");
      before = entry;
    }
    const answered = new Set([...this.#entries.values()].flatMap(({ answers }) => answers ?? []));
    for (const { id, node } of this.#entries.values()) if (answered.has(id)) settleMessage(node);
    // removes quick replies before the guest's last message
    const last = [...list.querySelectorAll(".own")].at(-1);
    for (const replies of list.querySelectorAll(".replies:not(.answered)")) {
      if (last !== undefined && replies.compareDocumentPosition(last) & Node.DOCUMENT_POSITION_FOLLOWING) replies.remove();
    }
  }
}

function isToday(at) {
  return at.toDateString() === new Date().toDateString();
}

export { Transcript };
