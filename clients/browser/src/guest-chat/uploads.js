import { FILES_PER_MESSAGE } from "../message.js";
import { bytes } from "./content.js";
import { h, icon } from "./dom.js";
import { fill } from "./texts.js";

/** Most uploads at once. The gateway takes as many of a session. */
const UPLOADS = 2;
/** The text of each state but `failed`. */
function stateText(state, texts) {
  return { waiting: texts.fileWaiting, uploading: texts.fileUploading, checking: texts.fileChecking, ready: texts.fileReady }[state];
}

/** The text of a refusal that a repetition does not change, or undefined. */
function refusalText(code, texts) {
  return {
    "attachment.not.allowed": texts.fileType,
    "attachment.refused": texts.fileRefused,
    "attachment.too.large": texts.fileTooLarge,
    "invalid.value": texts.fileInvalid,
  }[code];
}

/** The files of the next message, each with its upload. */
class Uploads {
  #list;
  #texts;
  #view;
  #entries = [];
  /** Whether the gateway asked to wait. */
  #isPaused = false;

  /** `view.changed()` is called after each change, and `view.focus()` when the last file with the focus is removed. */
  constructor(list, texts, view) {
    this.#list = list;
    this.#texts = texts;
    this.#view = view;
    list.replaceChildren();
    view.signal.addEventListener("abort", () => this.clear());
  }

  /** Whether a file is not uploaded yet. */
  get isBusy() {
    return this.#entries.some(({ state }) => ["waiting", "uploading", "checking"].includes(state));
  }

  /** The files that are uploaded. */
  get ready() {
    const ready = this.#entries.filter(({ state }) => state === "ready");
    return ready.map(({ id, file }) => ({ id, name: file.name, size: file.size }));
  }

  /** Adds files. Returns the text of an error, which may be empty. */
  add(files) {
    const room = FILES_PER_MESSAGE - this.#entries.length;
    for (const file of [...files].slice(0, room)) {
      const entry = { file, state: "waiting", cancel: null, id: null };
      this.#entries.push(entry);
      this.#build(entry);
    }
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#advance();
    return files.length > room ? fill(this.#texts.tooManyFiles, { count: FILES_PER_MESSAGE }) : "";
  }

  /** Removes the files that were sent. Those that failed stay. */
  sent() {
    for (const entry of this.#entries.filter(({ state }) => state === "ready")) this.#drop(entry);
  }

  /** Cancels all uploads. */
  clear() {
    for (const entry of [...this.#entries]) {
      entry.cancel?.abort();
      this.#drop(entry);
    }
  }

  #build(entry) {
    const { name } = entry.file;
    const about = h("small", {});
    const progress = h("progress", { max: entry.file.size || 1, "aria-label": fill(this.#texts.uploading, { name }) });
    const again = h("button", { type: "button", class: "again", "aria-label": `${this.#texts.tryAgain}: ${name}`, onclick: () => this.#retry(entry) }, this.#texts.tryAgain);
    const label = fill(this.#texts.removeFile, { name });
    const remove = h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick: () => this.#remove(entry) }, icon("close"));
    const text = h("span", {}, h("span", { class: "file-name", dir: "auto" }, name), about, progress);
    entry.row = h("li", { class: "upload" }, icon("file"), text, again, remove);
    Object.assign(entry, { about, progress, again, remove });
    this.#list.append(entry.row);
    this.#show(entry);
  }

  #show(entry, failure = "") {
    const { state } = entry;
    const isFailed = state === "failed";
    const size = entry.file.size > 0 ? `${bytes(entry.file.size, this.#view.lang)} · ` : "";
    entry.about.textContent = isFailed ? failure : `${size}${stateText(state, this.#texts)}`;
    entry.about.classList.toggle("error", isFailed);
    entry.progress.hidden = state !== "uploading" && state !== "checking";
    entry.again.hidden = !isFailed || entry.isFinal;
    this.#view.changed();
  }

  /** Uploads a file again after so many seconds. The others wait too. */
  #pause(entry, seconds) {
    entry.state = "waiting";
    this.#show(entry);
    this.#isPaused = true;
    const resume = () => {
      this.#isPaused = false;
      this.#advance();
    };
    setTimeout(resume, seconds * 1_000);
  }

  /** Starts uploads while there is room. */
  #advance() {
    if (this.#isPaused) return;
    const running = this.#entries.filter(({ state }) => state === "uploading" || state === "checking").length;
    const waiting = this.#entries.filter(({ state }) => state === "waiting");
    for (const entry of waiting.slice(0, Math.max(0, UPLOADS - running))) this.#upload(entry);
  }

  async #upload(entry) {
    const { conversation, announce } = this.#view;
    const { file } = entry;
    const cancel = new AbortController();
    Object.assign(entry, { state: "uploading", cancel });
    entry.progress.value = 0;
    this.#show(entry);
    const onProgress = (sent) => {
      // the end of the upload from the gateway to Genesys is not known
      entry.state = sent < file.size ? "uploading" : "checking";
      if (entry.state === "uploading") entry.progress.value = sent;
      else entry.progress.removeAttribute("value");
      this.#show(entry);
    };
    try {
      entry.id = await conversation.attach(file, { onProgress, signal: cancel.signal });
      if (cancel.signal.aborted) return;
      entry.state = "ready";
      this.#show(entry);
      announce(fill(this.#texts.fileUploaded, { name: file.name }));
    } catch (error) {
      if (cancel.signal.aborted) return;
      if (error.status === 429 && error.retryAfter > 0) return this.#pause(entry, error.retryAfter);
      const refusal = refusalText(error.code, this.#texts);
      Object.assign(entry, { state: "failed", isFinal: refusal !== undefined });
      const limit = bytes(conversation.attachmentRules?.maxBytes ?? 1, this.#view.lang);
      const text = fill(refusal ?? this.#texts.fileFailed, { limit });
      this.#show(entry, text);
      announce(`${file.name}: ${text}`);
    }
    this.#advance();
  }

  #retry(entry) {
    entry.state = "waiting";
    this.#show(entry);
    entry.remove.focus();
    this.#advance();
  }

  #remove(entry) {
    entry.cancel?.abort();
    // Genesys deletes a file that is never sent
    if (entry.state === "ready") this.#view.conversation.deleteAttachment(entry.id).catch(() => {});
    const at = this.#entries.indexOf(entry);
    this.#drop(entry);
    const next = this.#entries[Math.min(at, this.#entries.length - 1)];
    if (next === undefined) this.#view.focus();
    else next.remove.focus();
    this.#advance();
  }

  #drop(entry) {
    this.#entries.splice(this.#entries.indexOf(entry), 1);
    entry.row.remove();
    this.#view.changed();
  }
}

export { Uploads };
