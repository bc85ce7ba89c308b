import { h, icon, image, link, linked, safeUrl } from "./dom.js";
import { formContent } from "./form.js";
import { fill } from "./texts.js";

const RENDERERS = {
  Attachment: ({ attachment }, view) => attachmentContent(attachment, view),
  Card: ({ card }, view) => cardContent(card, view),
  Carousel: ({ carousel }, view) => carouselContent(carousel.cards, view),
  DatePicker: ({ datePicker }, view) => datePickerContent(datePicker, view),
  Form: ({ form }, view) => (form.response === undefined ? formContent(form, view) : null),
  ListPicker: ({ listPicker }, view) => listPickerContent(listPicker, view),
  Text: ({ text }, { texts }) => h("p", { dir: "auto" }, ...linked(String(text.body), texts)),
};

/** Time in milliseconds for which a download link is used. Genesys' links work for about ten minutes. */
const LINK_TIME = 9 * 60_000;

/** Types whose fallback text repeats what they show. */
const SELF_EXPLAINING = ["Attachment", "Card", "Carousel", "DatePicker", "Form", "ListPicker"];

/**
 * The nodes of a message. `view.choose(type, choices)` and `view.submit(form, fields, text)` send an answer and return whether
 * it was accepted. Content of an unknown type or with missing fields is left to the fallback text.
 */
function messageContent(message, view) {
  const items = Array.isArray(message.content) ? message.content : [];
  const shown = [];
  let repeats = items.length > 0;
  for (const item of items) {
    const node = render(item, view);
    if (node !== null) shown.push(node);
    if (node === null && !["ButtonResponse", "QuickReply"].includes(item?.contentType)) repeats = false;
    if (!SELF_EXPLAINING.includes(item?.contentType)) repeats = false;
  }
  const replies = items.filter((item) => item?.contentType === "QuickReply" && item.quickReply).map((item) => item.quickReply);
  const text = repeats && covers(shown, message.text) ? null : h("p", { class: "text", dir: "auto" }, ...linked(message.text, view.texts));
  return { text, blocks: shown, replies: replies.length > 0 ? quickReplies(replies, view) : null };
}

function render(item, view) {
  try {
    return RENDERERS[item.contentType]?.(item, view) ?? null;
  } catch {
    // a field is missing or has another type
    return null;
  }
}

/** Whether every line of the text is shown by the nodes already. */
function covers(nodes, text) {
  const plain = (value) => value.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
  const words = [];
  for (const node of nodes) {
    const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) words.push(texts.currentNode.data);
    for (const { href } of node.querySelectorAll("a[href]")) words.push(href);
  }
  const shown = ` ${plain(words.join(" "))} `;
  return text.split(/\n|: | · /).every((line) => shown.includes(` ${plain(line)} `) || plain(line) === "");
}

/** The text of an answer that the guest sent. */
function answerText(content) {
  const texts = content.flatMap(({ buttonResponse, form }) => (buttonResponse ? [buttonResponse.text] : form.response.map(({ component }) => component.buttonResponse.text)));
  return texts.join(", ");
}

/** Ids of the messages that an answer answers. */
function answeredIds(content) {
  return content.flatMap((item) => item?.buttonResponse?.originatingMessageId ?? item?.form?.originatingMessageId ?? []);
}

/** Disables what a message offers that was answered. */
function settleMessage(node) {
  for (const offer of node.querySelectorAll(".picker, .card, .carousel, .replies")) {
    if (!offer.classList.contains("answered")) settle(offer);
  }
}

/** Disables the controls of answered content, and marks the chosen one. */
function settle(container, chosen) {
  for (const control of container.querySelectorAll("button, input, select, textarea")) control.disabled = control.closest(".arrows") === null;
  chosen?.classList.add("chosen");
  chosen?.setAttribute("aria-pressed", "true");
  container.classList.add("answered");
}

function choice(type, label, payload, container, view, attributes, ...children) {
  const button = h("button", { type: "button", ...attributes }, ...children);
  button.addEventListener("click", () => {
    if (view.choose(type, [{ text: label, payload }])) settle(container(), button);
  });
  return button;
}

function quickReplies(replies, view) {
  const group = h("div", { class: "replies", role: "group", "aria-label": view.texts.choose });
  for (const { text, payload, image: picture } of replies) {
    const label = String(text);
    group.append(choice("QuickReply", label, String(payload), () => group, view, { class: "chip" }, image(picture), h("span", { dir: "auto" }, label)));
  }
  return group;
}

function cardContent(card, view, root) {
  const article = h("article", { class: "card" });
  const container = () => root ?? article;
  const title = h("h3", { dir: "auto" }, action(card.defaultAction, String(card.title), container, view, "plain") ?? String(card.title));
  const video = safeUrl(card.video);
  article.append(
    ...[
      image(card.image),
      video === null ? null : h("video", { src: video, controls: true, preload: "none" }),
      h(
        "div",
        { class: "card-body" },
        title,
        card.description ? h("p", { dir: "auto" }, ...linked(String(card.description), view.texts)) : null,
      ),
    ].filter((node) => node !== null),
  );
  const actions = (card.actions ?? []).map((item) => action(item, String(item.text), container, view, "action")).filter((node) => node !== null);
  if (actions.length > 0) article.append(h("div", { class: "actions" }, ...actions));
  return article;
}

/** A card's action. One of an unknown type is its label. */
function action(item, label, container, view, className) {
  if (item?.type === "Link") return link(item.url, label, view.texts, { class: className });
  if (item?.type === "Postback") return choice("Button", item.text || label, String(item.payload), container, view, { class: className }, label);
  return item?.text ? h("span", { class: className }, label) : null;
}

function carouselContent(cards, view) {
  const { texts } = view;
  const root = h("div", { class: "carousel", role: "group", "aria-label": texts.cards });
  const list = h("ul", { class: "cards", tabindex: "0", "aria-label": texts.cards });
  list.append(...cards.map((card) => h("li", {}, cardContent(card, view, root))));
  const move = (direction) => {
    const step = list.firstElementChild.offsetWidth + 12;
    const sign = getComputedStyle(list).direction === "rtl" ? -1 : 1;
    list.scrollBy({ left: direction * sign * step, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  };
  const arrow = (name, label, direction) =>
    h("button", { type: "button", class: "icon-button", "aria-label": label, onclick: () => move(direction) }, icon(name));
  root.append(list);
  if (cards.length > 1) root.append(h("div", { class: "arrows" }, arrow("previous", texts.previousCard, -1), arrow("next", texts.nextCard, 1)));
  return root;
}

/** Header of a picker, from its title, subtitle and picture. */
function heading(source, fallback) {
  const title = source?.title ?? source?.header ?? fallback;
  return h(
    "div",
    { class: "picker-head" },
    image(source?.imageUrl),
    title ? h("h3", { dir: "auto" }, String(title)) : null,
    source?.subtitle ? h("p", { dir: "auto" }, String(source.subtitle)) : null,
  );
}

function datePickerContent(picker, view) {
  const { texts, lang } = view;
  const root = h("div", { class: "picker" }, heading(picker, texts.chooseTime));
  const slots = (picker.availableTimes ?? []).map((slot) => ({ ...slot, at: new Date(slot.dateTime) })).filter(({ at }) => !Number.isNaN(at.getTime()));
  if (slots.length === 0) return null;
  const day = new Intl.DateTimeFormat(lang, { weekday: "long", day: "numeric", month: "long" });
  const time = new Intl.DateTimeFormat(lang, { hour: "numeric", minute: "2-digit" });
  const full = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });
  const days = new Map();
  for (const slot of slots) days.set(day.format(slot.at), [...(days.get(day.format(slot.at)) ?? []), slot]);
  const list = h("div", { class: "scroll" });
  for (const [name, times] of days) {
    const group = h("div", { class: "slots", role: "group", "aria-label": name });
    for (const { at, dateTime, duration } of times) {
      const minutes = duration > 0 ? h("small", {}, fill(texts.minutes, { count: Math.round(duration / 60) })) : null;
      group.append(choice("DatePicker", full.format(at), dateTime, () => root, view, { class: "chip" }, time.format(at), minutes));
    }
    list.append(h("h4", {}, name), group);
  }
  root.append(list);
  return root;
}

/** Fields of the items of a list, and a function that returns the chosen ones as `{ id, title }`. */
function listFields(sections, name, texts) {
  const inputs = [];
  const fields = sections.map((section, at) => {
    const items = (section.items ?? []).map((item) => {
      const type = section.multipleSelection === true ? "checkbox" : "radio";
      const input = h("input", { type, name: `${name}-${at}` });
      inputs.push({ input, id: String(item.id), title: String(item.title) });
      return h(
        "label",
        { class: "option" },
        input,
        image(item.imageUrl),
        h("span", { dir: "auto" }, String(item.title), item.subtitle ? h("small", {}, String(item.subtitle)) : null),
      );
    });
    const legend = section.title ? h("legend", { dir: "auto" }, String(section.title)) : h("legend", { class: "visually-hidden" }, texts.chooseItems);
    return h("fieldset", {}, legend, ...items);
  });
  return { fields, chosen: () => inputs.filter(({ input }) => input.checked) };
}

let names = 0;

/** A name that is unique in the document, for groups of inputs. */
function uniqueName() {
  names += 1;
  return `guest-chat-${names}`;
}

function listPickerContent(picker, view) {
  const { texts } = view;
  const { fields, chosen } = listFields(picker.sections, uniqueName(), texts);
  const submit = h("button", { type: "submit", class: "primary", disabled: true }, picker.replyMessage?.buttonLabel ?? texts.submit);
  const form = h("form", { class: "picker" }, heading(picker.receivedMessage, texts.chooseItems), h("div", { class: "scroll" }, ...fields), submit);
  form.addEventListener("change", () => (submit.disabled = chosen().length === 0));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const items = chosen();
    if (items.length > 0 && view.choose("ListPicker", items.map(({ id, title }) => ({ text: title, payload: id })))) settle(form);
  });
  return form;
}

function attachmentContent(attachment, view) {
  const { texts, lang } = view;
  const name = String(attachment.filename ?? attachment.text ?? texts.file);
  const url = safeUrl(attachment.url);
  const size = attachment.fileSize ?? attachment.contentSizeBytes;
  const description = attachment.text ? h("p", { dir: "auto" }, String(attachment.text)) : null;
  if (url !== null && attachment.mediaType === "Image") {
    const picture = image(url, name);
    const caption = h("figcaption", { dir: "auto" }, download(attachment, name, view));
    return h("figure", { class: "attachment" }, picture, caption, description);
  }
  if (url !== null && ["Audio", "Video"].includes(attachment.mediaType)) {
    const player = h(attachment.mediaType.toLowerCase(), { src: url, controls: true, preload: "none", "aria-label": name });
    return h("figure", { class: "attachment" }, player, h("figcaption", { dir: "auto" }, download(attachment, name, view)), description);
  }
  const label = h("span", { class: "file-name", dir: "auto" }, name);
  const about = size > 0 ? h("small", {}, bytes(size, lang)) : null;
  return h("div", { class: "attachment file" }, icon("file"), h("span", {}, download(attachment, label, view), about, description));
}

/** A link to a file. A fresh one is requested at a click if there is none, or it may have expired. */
function download({ id, url }, label, { texts, linkOf }) {
  if (linkOf === undefined || typeof id !== "string") return link(url, label, texts);
  const staleAt = Date.now() + LINK_TIME;
  const failure = h("small", { class: "error", role: "alert" });
  const open = async () => {
    failure.textContent = "";
    try {
      link(await linkOf(id), "", texts).click();
    } catch {
      failure.textContent = texts.downloadFailed;
    }
  };
  if (safeUrl(url) === null) return [h("button", { type: "button", class: "plain", onclick: open }, label), failure];
  const onclick = (event) => {
    if (Date.now() < staleAt) return;
    event.preventDefault();
    open();
  };
  return [link(url, label, texts, { onclick }), failure];
}

function bytes(count, lang) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const at = Math.min(units.length - 1, Math.floor(Math.log(count) / Math.log(1_000)));
  const format = new Intl.NumberFormat(lang, { style: "unit", unit: units[at], unitDisplay: at === 0 ? "long" : "short", maximumFractionDigits: 1 });
  return format.format(count / 1_000 ** at);
}

export { answerText, answeredIds, bytes, heading, listFields, messageContent, settleMessage, uniqueName };
