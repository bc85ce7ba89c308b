import { GuestConversation } from "../conversation.js";
import { SpaClient } from "../spa-client.js";
import { Composer } from "./composer.js";
import { consentForm } from "./consent.js";
import { answerText } from "./content.js";
import { h, icon, iconButton } from "./dom.js";
import { Scroller } from "./scroller.js";
import { TEXTS, fill } from "./texts.js";
import { Transcript } from "./transcript.js";

const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLES);

/** `<guest-chat>`: see README.md. */
export class GuestChat extends HTMLElement {
  static observedAttributes = ["gateway", "heading"];

  #texts = TEXTS;
  #source = null;
  #options = {};
  #conversation = null;
  // whether this element made the client, and closes it
  #isOwn = false;
  // shows the session that `source` returned while the element was not in the document
  #deferred = null;
  #listening = null;
  #start = 0;
  #consent = null;
  #transcript = null;
  #typingTimer;
  /** Status of the conversation, as the gateway reported it last. */
  #status;
  #cause = null;
  // the state of the last event, and that of the sign-in
  #reported = null;
  #signIn = null;
  /** Removes the panel that covers the chat, if there is one. */
  #uncover = () => {};
  #parts = {};
  #composer;
  #scroller;

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
    this.#build();
  }

  connectedCallback() {
    const deferred = this.#deferred;
    this.#deferred = null;
    if (deferred !== null) return deferred();
    if (!this.#isOwn || this.#conversation?.state !== "ended" || this.#cause !== "closed") return;
    this.#reopen();
    this.#conversation.reconnect();
  }

  disconnectedCallback() {
    // an element that is moved is connected again at once
    queueMicrotask(() => {
      if (!this.isConnected && this.#isOwn) this.#conversation?.close();
    });
  }

  attributeChangedCallback(name, before, value) {
    if (name === "heading") this.#parts.heading.textContent = value ?? this.#texts.heading;
    else if (value !== null && value !== before) this.#startAtGateway(value);
  }

  /** The texts. Assign some to replace them. */
  get texts() {
    return this.#texts;
  }

  set texts(texts) {
    const purposes = { ...TEXTS.purposes, ...texts.purposes };
    this.#texts = { ...TEXTS, ...texts, purposes };
    this.#build();
    if (this.#source !== null) this.start(this.#source, this.#options);
  }

  /** The client of the current conversation, or null. */
  get conversation() {
    return this.#conversation;
  }

  /**
   * Starts the chat. `source` is a `GuestConversation`, the data of a session, or a function of the guest's choices that
   * returns one of the two. The function is called with `null` first: it returns `null` if there is no session to resume,
   * and the guest is asked for consent.
   */
  async start(source, options = {}) {
    this.#source = source;
    this.#options = options;
    await this.#open(null);
  }

  /** Starts the chat at a gateway that serves pages without a backend. */
  #startAtGateway(gateway) {
    const client = new SpaClient(gateway, { assertion: async () => this.assertion?.() });
    const source = async (choices) => {
      const region = this.getAttribute("region");
      const session = choices === null ? await client.resume() : await client.create(choices, region === null ? undefined : { region });
      return session && { client, session };
    };
    this.start(source, {
      end: () => client.end(),
      changeConsent: (choices) => client.changeConsent(choices),
      withdrawConsent: () => client.withdrawConsent(),
    });
  }

  /** Signs the guest in with an authorization code, once a session is there. */
  async signIn(authorization) {
    const started = (resolve) => this.addEventListener("guest-chat-state", resolve, { once: true });
    if (this.#conversation === null) await new Promise(started);
    await this.#conversation.signIn(authorization);
  }

  /** Signs the guest out, which ends the session. */
  async signOut() {
    await this.#conversation?.signOut();
  }

  focus(options) {
    const { log, body } = this.#parts;
    const target = [this.#composer.field, log, body.querySelector("input, button")].find((part) => part !== null && body.contains(part) && part.checkVisibility());
    target?.focus(options);
  }

  async #open(choices) {
    const start = ++this.#start;
    const { banner } = this.#parts;
    const hadFocus = this.shadowRoot.activeElement !== null;
    this.#detach();
    this.#showChat();
    this.#notice(this.#texts.connecting);
    let opened;
    try {
      opened = typeof this.#source === "function" ? await this.#source(choices) : this.#source;
    } catch (error) {
      if (start !== this.#start) return;
      if (error.code === "consent.required" && choices !== null) return this.#askConsent(choices, error);
      this.#notice(this.#texts.startFailed, this.#texts.tryAgain, () => this.#open(choices));
      this.#dispatch("error", { error });
      return;
    }
    if (start !== this.#start) return;
    if (opened === null) return this.#askConsent();
    const attach = () => {
      banner.replaceChildren();
      this.#consent = choices ?? choicesOf(opened.session);
      this.#isOwn = typeof opened.connect !== "function";
      this.#attach(this.#isOwn ? conversationOf(opened) : opened);
      if (hadFocus) this.focus();
    };
    if (this.isConnected) attach();
    else this.#deferred = attach;
  }

  /** Asks for consent, again with the purposes that the gateway requires. */
  #askConsent(chosen = this.#consent, refusal = null) {
    this.#parts.banner.replaceChildren();
    const form = this.#showConsent({ chosen, submit: (choices) => this.#open(choices) });
    if (refusal === null) return;
    const fields = (refusal.details ?? []).map(({ fieldName }) => fieldName.replace("consent.", ""));
    const names = this.#purposes.filter((purpose) => fields.includes(purpose)).map((purpose) => this.#texts.purposes[purpose]?.name ?? purpose);
    form.querySelector(".error").textContent = fill(this.#texts.consentRequired, { names: names.join(", ") });
    form.querySelector("input").focus();
  }

  #changeConsent() {
    const close = this.#cover(this.#parts.privacy);
    const submit = async (choices) => {
      try {
        await this.#options.changeConsent(choices);
      } catch (error) {
        this.#dispatch("error", { error });
        throw error;
      }
      this.#consent = choices;
      this.#offerWithdrawal();
      close();
    };
    this.#showConsent({ chosen: this.#consent, submit, cancel: close }).querySelector("h3").focus();
  }

  /** Asks before the session is ended. */
  #askToEnd() {
    const texts = this.#texts;
    const close = this.#cover(this.#parts.end);
    const leave = h("button", { type: "button", class: "secondary", onclick: close }, texts.cancel);
    const end = h("button", { type: "submit", class: "primary" }, texts.end);
    const question = h("h3", { id: "end-question", tabindex: "-1" }, texts.endQuestion);
    const form = h("form", { "aria-labelledby": "end-question" }, question, h("p", {}, texts.endDetail), h("div", { class: "panel-actions" }, leave, end));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      close();
      this.#endSession();
    });
    this.#parts.body.replaceChildren(h("div", { class: "panel" }, form));
    question.focus();
  }

  /** Prepares to cover the chat with a panel. Returns a function that shows the chat again, with the focus on the opener. */
  #cover(opener) {
    const { body } = this.#parts;
    this.#uncover();
    const covered = [...body.childNodes];
    this.#uncover = () => {
      this.#uncover = () => {};
      body.replaceChildren(...covered);
    };
    return () => {
      this.#uncover();
      opener.focus();
    };
  }

  /** Withdraws every agreement in one step, which is as easy as "Allow all". */
  async #withdrawConsent() {
    const { changeConsent, withdrawConsent } = this.#options;
    const { announcer, banner, privacy, withdraw } = this.#parts;
    const none = Object.fromEntries(this.#purposes.map((purpose) => [purpose, false]));
    const hadFocus = this.shadowRoot.activeElement === withdraw;
    try {
      await (withdrawConsent === undefined ? changeConsent(none) : withdrawConsent());
    } catch (error) {
      this.#dispatch("error", { error });
      this.#notice(this.#texts.consentFailed, this.#texts.tryAgain, () => this.#withdrawConsent());
      return;
    }
    this.#consent = none;
    banner.replaceChildren();
    // an open panel shows the choices of before
    this.#uncover();
    this.#offerWithdrawal();
    if (hadFocus) privacy.focus();
    announcer.textContent = this.#texts.withdrawn;
  }

  /** Shows the button unless there is nothing to withdraw. */
  #offerWithdrawal() {
    const { changeConsent, withdrawConsent } = this.#options;
    const isDenied = this.#consent !== null && this.#purposes.every((purpose) => this.#consent[purpose] === false);
    this.#parts.withdraw.hidden = isDenied || (changeConsent ?? withdrawConsent) === undefined;
  }

  #showConsent({ chosen, ...actions }) {
    const form = consentForm(this.#purposes, this.#texts, { chosen: chosen ?? {}, link: this.getAttribute("privacy-url"), ...actions });
    this.#parts.body.replaceChildren(form);
    return form;
  }

  get #purposes() {
    return (this.getAttribute("purposes") ?? Object.keys(TEXTS.purposes).join(" ")).split(/\s+/).filter((purpose) => purpose !== "");
  }

  #build() {
    const texts = this.#texts;
    const parts = this.#parts;
    parts.heading = h("h2", { id: "heading" }, this.getAttribute("heading") ?? texts.heading);
    parts.privacy = iconButton("shield", texts.privacy, () => this.#changeConsent());
    parts.withdraw = iconButton("revoke", texts.withdraw, () => this.#withdrawConsent());
    parts.end = iconButton("close", texts.end, () => this.#askToEnd());
    parts.banner = h("div", { class: "banner", role: "status" });
    parts.announcer = h("div", { class: "visually-hidden", role: "status" });
    parts.list = h("ol", { class: "messages" });
    parts.earlier = h("button", { type: "button", class: "secondary earlier", hidden: true, onclick: () => this.#transcript.loadEarlier() }, texts.older);
    const hint = [icon("chat"), h("strong", {}, texts.empty), texts.emptyHint];
    parts.empty = h("div", { class: "empty" }, ...hint);
    parts.log = h("div", { class: "log", role: "log", "aria-live": "off", tabindex: "0", "aria-label": texts.messages }, parts.earlier, parts.empty, parts.list);
    parts.typing = h("div", { class: "typing" });
    this.#scroller = new Scroller(parts.log, parts.list, texts.newMessages, () => this.#transcript?.loadEarlier());
    this.#composer = new Composer(texts, (run, text, files) => this.#send(run, text, files));
    parts.closed = h("div", { class: "closed", hidden: true });
    parts.body = h("div", { class: "body" });
    const head = h("header", {}, parts.heading, parts.privacy, parts.withdraw, parts.end);
    const chat = h("section", { class: "chat", "aria-labelledby": "heading" }, head, parts.banner, parts.body, parts.announcer, this.#composer.drop);
    this.shadowRoot.replaceChildren(chat);
    this.#composer.takeDropped(chat);
    this.#showChat();
  }

  #showChat() {
    this.#uncover = () => {};
    const { body, log, typing, closed } = this.#parts;
    body.replaceChildren(log, typing, this.#scroller.jump, this.#composer.form, closed);
  }

  #attach(conversation) {
    const parts = this.#parts;
    this.#conversation = conversation;
    this.#cause = null;
    this.#status = undefined;
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    const lang = this.lang || document.documentElement.lang || undefined;
    const announce = (text) => (parts.announcer.textContent = text);
    this.#transcript = new Transcript(parts, this.#texts, {
      conversation,
      signal,
      lang,
      send: (run, text, files) => this.#send(run, text, files),
      announce,
    });
    this.#composer.attach(conversation, { signal, lang, announce });
    parts.privacy.hidden = this.#options.changeConsent === undefined;
    this.#offerWithdrawal();
    parts.end.hidden = this.#options.end === undefined;
    this.#reopen();
    const on = (name, handle) => conversation.addEventListener(name, ({ detail }) => handle(detail), { signal });
    on("state", ({ state }) => this.#showState(state));
    on("accepted", (frame) => this.#transcript.connected(frame));
    on("message", (message) => {
      this.#showTyping(null);
      this.#scroller.keep(() => this.#transcript.add(message));
      this.#dispatch("message", { message });
    });
    on("typing", (frame) => this.#showTyping(frame));
    on("delivery", (delivery) => this.#transcript.deliver(delivery));
    on("gap", (gap) => this.#scroller.keep(() => this.#transcript.gap(gap)));
    on("conversation", (status) => this.#showStatus(status));
    on("ended", (ended) => this.#ended(ended));
    addEventListener("offline", () => this.#showState(conversation.state), { signal });
    addEventListener("online", () => this.#showState(conversation.state), { signal });
    for (const { id, state, text, attachments = [], content } of conversation.unacknowledged) {
      const send = () => conversation.send(content === undefined ? (text ?? "") : { content }, { attachments });
      const files = attachments.map((attachment) => ({ id: attachment }));
      this.#transcript.addOwn({ id, state, text: content === undefined ? (text ?? "") : answerText(content), files, send });
    }
    if (conversation.state === "ended") conversation.reconnect();
    else conversation.connect();
    this.#showState(conversation.state);
    this.#scroller.toEnd();
  }

  #detach() {
    this.#listening?.abort();
    this.#listening = null;
    this.#deferred = null;
    if (this.#isOwn) this.#conversation?.close();
    this.#conversation = null;
    this.#reported = this.#signIn = null;
    this.#transcript?.clear();
    this.#transcript = null;
    this.#showTyping(null);
  }

  #showState(state) {
    const texts = this.#texts;
    if (state !== this.#reported) this.#dispatch("state", { state });
    this.#reported = state;
    if (state === "ended") return;
    if (!navigator.onLine && state !== "open") return this.#notice(texts.offline);
    if (state === "reconnecting" || (state === "connecting" && this.#parts.banner.childElementCount > 1)) {
      this.#notice(texts.reconnecting, texts.tryNow, () => this.#conversation.reconnect());
    } else if (state === "connecting") this.#notice(texts.connecting);
    else this.#parts.banner.replaceChildren();
  }

  #showStatus(status) {
    const texts = this.#texts;
    const { state, actions, expiresAt, signedIn, outage } = status;
    const isLost = outage?.reason === "sign.in.lost";
    const before = this.#status;
    this.#status = status;
    this.#composer.offerFiles();
    if (isLost || signedIn) this.#reportSignIn(isLost ? "lost" : "signed_in");
    if (isLost) this.#notice(texts.signInLost);
    else if (expiresAt !== undefined) this.#notice(texts.expiring);
    else if (outage !== undefined) this.#notice(texts.reconnecting);
    else if (before?.expiresAt !== undefined || before?.outage !== undefined) this.#parts.banner.replaceChildren();
    const offersNew = actions.includes("start_new");
    if (state === before?.state && offersNew === before.actions.includes("start_new")) return;
    if (state === "read_only") this.#close(texts.readOnly, offersNew ? [texts.startNew, () => this.#conversation.startNew()] : []);
    else if (state === "ended") this.#scroller.keep(() => this.#transcript.separate(texts.left));
    else if (state === "cleared") this.#transcript.clear();
    else if (before?.state === "read_only") this.#reopen();
  }

  #reportSignIn(state) {
    if (state !== this.#signIn) this.#dispatch("sign-in", { state });
    this.#signIn = state;
  }

  #ended({ cause, detail }) {
    const texts = this.#texts;
    const conversation = this.#conversation;
    this.#cause = cause;
    const isSignedOut = detail === "signed_out";
    if (isSignedOut) {
      // the next guest of the browser must not read it
      this.#transcript.clear();
      this.#reportSignIn("signed_out");
    }
    const ended = isSignedOut ? texts.signedOut : texts.ended;
    const text = { replaced: texts.replaced, unreachable: texts.unreachable, "session-ended": ended, closed: texts.ended }[cause] ?? texts.refused;
    if (cause === "replaced" || cause === "unreachable") {
      const resume = () => {
        this.#reopen();
        conversation.reconnect();
      };
      this.#close(text, [cause === "replaced" ? texts.useHere : texts.tryAgain, resume]);
    } else {
      this.#close(text, typeof this.#source === "function" ? [texts.startNew, () => this.#open(this.#consent)] : []);
      const { privacy, withdraw, end, closed } = this.#parts;
      const hadFocus = [privacy, withdraw, end].includes(this.shadowRoot.activeElement);
      privacy.hidden = withdraw.hidden = end.hidden = true;
      if (hadFocus) closed.querySelector("button")?.focus();
    }
    this.#dispatch("ended", { cause, detail });
  }

  #reopen() {
    const { body, closed } = this.#parts;
    const { field, form } = this.#composer;
    const hadFocus = closed.contains(this.shadowRoot.activeElement);
    body.classList.remove("over");
    closed.hidden = true;
    form.hidden = false;
    if (hadFocus) field.focus();
  }

  /** Shows why no message can be sent, and what the guest can do: the label of a button and its effect. */
  #close(text, [label, run]) {
    const { body, closed, banner } = this.#parts;
    const button = label === undefined ? [] : [h("button", { type: "button", class: "primary", onclick: run }, label)];
    closed.replaceChildren(h("p", { role: "status" }, text), ...button);
    body.classList.add("over");
    closed.hidden = false;
    this.#composer.form.hidden = true;
    banner.replaceChildren();
    this.#showTyping(null);
  }

  #notice(text, label, run) {
    const button = label === undefined ? [] : [h("button", { type: "button", onclick: run }, label)];
    this.#parts.banner.replaceChildren(h("span", {}, text), ...button);
  }

  #showTyping(frame) {
    clearTimeout(this.#typingTimer);
    const { typing } = this.#parts;
    if (frame === null) return typing.replaceChildren();
    const name = frame.from?.name ?? (frame.from?.kind === "bot" ? this.#texts.bot : this.#texts.agent);
    const dots = h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
    this.#scroller.keep(() => typing.replaceChildren(dots, fill(this.#texts.typing, { name })));
    this.#typingTimer = setTimeout(() => typing.replaceChildren(), frame.duration);
  }

  async #endSession() {
    try {
      await this.#options.end();
    } catch (error) {
      this.#dispatch("error", { error });
    }
  }

  /** Sends a message by `run`, which returns its id. Returns whether the client took it. */
  #send(run, text, files) {
    try {
      const id = run();
      const { state } = this.#conversation.unacknowledged.at(-1);
      this.#transcript.addOwn({ id, state, text, files, send: run });
      this.#composer.report("");
      this.#scroller.toEnd();
      return true;
    } catch (error) {
      const full = error instanceof RangeError;
      this.#composer.report(full ? this.#texts.tooMany : error.message);
      return false;
    }
  }

  #dispatch(name, detail) {
    this.dispatchEvent(new CustomEvent(`guest-chat-${name}`, { detail, bubbles: true, composed: true }));
  }
}

/** The choices of the guest in a session of a page without a backend. A purpose without a choice is left out. */
function choicesOf(session) {
  if (session === undefined) return null;
  const chosen = Object.keys(TEXTS.purposes).filter((name) => ["granted", "denied"].includes(session.consent[name]));
  return Object.fromEntries(chosen.map((name) => [name, session.consent[name] === "granted"]));
}

/** The client of a session whose data the page has. */
function conversationOf({ client, session, gateway, guestSessionId, accessToken, websocketUrl, refresh }) {
  if (client !== undefined) return client.conversation(session);
  const path = `/api/v2/webmessaging/guest-sessions/${encodeURIComponent(guestSessionId)}/socket`;
  const url = websocketUrl ?? new URL(path, gateway).href.replace(/^http/, "ws");
  return new GuestConversation({ id: guestSessionId, websocketUrl: url, accessToken }, { refresh });
}

if (customElements.get("guest-chat") === undefined) customElements.define("guest-chat", GuestChat);
