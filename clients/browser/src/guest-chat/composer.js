import { TEXT_LIMIT } from "../message.js";
import { h, icon, iconButton } from "./dom.js";
import { fill } from "./texts.js";
import { Uploads } from "./uploads.js";

/** The message that the guest writes: its text and its files. */
class Composer {
  form;
  /** Covers the chat while files are dragged over it. */
  drop;
  /** The field of the text. */
  field;
  #texts;
  #send;
  #conversation = null;
  #uploads = null;
  #list;
  #picker;
  #attach;
  #error;
  #button;

  /** `send(run, text, files)` sends a message by `run`, and returns whether the client took it. */
  constructor(texts, send) {
    this.#texts = texts;
    this.#send = send;
    this.field = h("textarea", { class: "compose", rows: "1", dir: "auto", placeholder: texts.placeholder, "aria-label": texts.compose, "aria-describedby": "error" });
    this.#error = h("p", { class: "error", id: "error", role: "alert" });
    this.#button = h("button", { type: "submit", class: "primary", "aria-label": texts.send, disabled: true }, icon("send"));
    this.#list = h("ul", { class: "uploads", "aria-label": texts.files });
    this.#picker = h("input", { type: "file", multiple: true, hidden: true, onchange: () => this.#pickFiles() });
    this.#attach = iconButton("clip", texts.attach, () => this.#picker.click());
    const row = h("div", { class: "composer-row" }, this.#attach, this.#picker, this.field, this.#button);
    this.form = h("form", { class: "composer" }, this.#list, row, this.#error);
    this.drop = h("div", { class: "drop", "aria-hidden": "true", hidden: true }, icon("clip"), texts.drop);

    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.form.requestSubmit();
    });
    this.field.addEventListener("paste", (event) => {
      const { files } = event.clipboardData;
      if (this.#attach.hidden || files.length === 0) return;
      event.preventDefault();
      this.#addFiles(files);
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** Writes to a conversation until `view.signal` is aborted. */
  attach(conversation, view) {
    this.#conversation = conversation;
    this.#uploads = new Uploads(this.#list, this.#texts, { ...view, conversation, changed: () => this.#check(), focus: () => this.field.focus() });
    this.offerFiles();
    view.signal.addEventListener("abort", () => {
      this.#conversation = this.#uploads = null;
      this.#attach.hidden = true;
    });
  }

  /** Offers files if the session takes some. */
  offerFiles() {
    const rules = this.#conversation.attachmentRules;
    this.#attach.hidden = rules === null;
    this.#picker.accept = rules?.mediaTypes.filter((type) => type.includes("/") && !type.startsWith("*")).join(",") ?? "";
  }

  /** Takes files that are dropped on the chat. */
  takeDropped(chat) {
    const hasFiles = ({ dataTransfer }) => !this.#attach.hidden && dataTransfer.types.includes("Files");
    const onDrag = (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.drop.hidden = false;
    };
    chat.addEventListener("dragenter", onDrag);
    chat.addEventListener("dragover", onDrag);
    chat.addEventListener("dragleave", ({ relatedTarget }) => {
      if (!chat.contains(relatedTarget)) this.drop.hidden = true;
    });
    chat.addEventListener("drop", (event) => {
      this.drop.hidden = true;
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.#addFiles(event.dataTransfer.files);
    });
  }

  /** Shows why a message was not sent. An empty text removes that. */
  report(text) {
    this.#error.textContent = text;
  }

  #pickFiles() {
    this.#addFiles(this.#picker.files);
    // the same file can be chosen again
    this.#picker.value = "";
    this.field.focus();
  }

  #addFiles(files) {
    this.report(this.#uploads?.add(files) ?? "");
  }

  #typed() {
    const { field } = this;
    const count = bytesOf(field.value);
    this.report(count > TEXT_LIMIT ? fill(this.#texts.tooLong, { count, limit: TEXT_LIMIT }) : "");
    field.setAttribute("aria-invalid", String(count > TEXT_LIMIT));
    this.#check();
    field.style.blockSize = "auto";
    field.style.blockSize = `${field.scrollHeight + 2}px`;
    if (field.value !== "") this.#conversation?.typing();
  }

  /** Offers to send what can be sent: a text or files, once these are uploaded. */
  #check() {
    const text = this.field.value;
    const uploads = this.#uploads;
    const isEmpty = text.trim() === "" && (uploads?.ready.length ?? 0) === 0;
    this.#button.disabled = isEmpty || bytesOf(text) > TEXT_LIMIT || (uploads?.isBusy ?? false);
  }

  #submit() {
    const conversation = this.#conversation;
    if (this.#button.disabled || conversation === null) return;
    const text = this.field.value.trim();
    const files = this.#uploads.ready;
    const attachments = files.map(({ id }) => id);
    if (!this.#send(() => conversation.send(text, { attachments }), text, files)) return;
    this.#uploads.sent();
    this.field.value = "";
    this.#typed();
    this.field.focus();
  }
}

/** The length of a text in UTF-8. */
function bytesOf(text) {
  return new TextEncoder().encode(text).length;
}

export { Composer };
