import { heading, listFields, uniqueName } from "./content.js";
import { h } from "./dom.js";
import { fill } from "./texts.js";

/** Keyboards of Genesys by their `inputmode`. */
const KEYBOARDS = { Decimal: "decimal", Email: "email", Number: "numeric", NumberPunctuation: "text", Phone: "tel", URL: "url", Websearch: "search" };

/** Meanings of Genesys by their `autocomplete`. */
const AUTOCOMPLETE = {
  Addressline1: "address-line1", Addressline2: "address-line2", Birthdate: "bday", BirthdateDay: "bday-day",
  BirthdateMonth: "bday-month", BirthdateYear: "bday-year", City: "address-level2", Country: "country-name", Email: "email",
  FamilyName: "family-name", GivenName: "given-name", MiddleName: "additional-name", Name: "name", Nickname: "nickname",
  OneTimeCode: "one-time-code", Organization: "organization", Phone: "tel", PostalCode: "postal-code", Prefix: "honorific-prefix",
  State: "address-level1", StreetAddress: "street-address", Suffix: "honorific-suffix", Title: "organization-title", Url: "url",
  UserName: "username",
};

/** A form: an introduction, pages of fields, and a summary if it asks for one. */
function formContent(form, view) {
  const { texts } = view;
  const pages = (form.formPages ?? []).map((page) => formPage(page, view));
  const root = h("form", { class: "picker form", novalidate: true });
  const introduction = form.introduction ?? form.receivedMessage;
  const error = h("p", { class: "error", role: "alert" });
  if (pages.length === 0 || pages.every(({ fields }) => fields.length === 0)) return null;

  const steps = [...pages];
  if (form.showSummary === true) steps.push({ fields: [], ...summary(pages, texts.summary) });
  let at = introduction?.buttonText ? -1 : 0;
  const show = () => {
    const last = at === steps.length - 1;
    const step = steps[at];
    step?.refresh?.();
    const progress = at >= 0 && steps.length > 1 ? h("p", { class: "progress" }, fill(texts.page, { page: at + 1, pages: steps.length })) : null;
    const back = at > 0 ? h("button", { type: "button", onclick: () => move(-1) }, texts.back) : null;
    const label = at < 0 ? introduction.buttonText : last ? texts.submit : texts.next;
    const next = h("button", { type: "submit", class: "primary" }, label);
    error.textContent = "";
    const head = at < 0 || (at === 0 && !introduction?.buttonText) ? heading(introduction, null) : null;
    root.replaceChildren(...[head, progress, step?.node, error, h("div", { class: "steps" }, back, next)].filter((node) => node));
  };
  const move = (by) => {
    at += by;
    show();
    root.querySelector("input, textarea, select, button.primary")?.focus();
  };
  root.addEventListener("submit", (event) => {
    event.preventDefault();
    const missing = steps[at]?.fields.find(({ required, values }) => required && values().length === 0);
    if (missing !== undefined) {
      error.textContent = fill(texts.missing, { name: missing.name });
      missing.focus();
      return;
    }
    if (at < steps.length - 1) return move(1);
    const answered = pages.flatMap(({ fields }) => fields.filter(({ values }) => values().length > 0));
    const values = Object.fromEntries(answered.map(({ id, values }) => [id, values()]));
    if (!view.submit(form, values, answered.map(line).join("\n"))) return;
    root.replaceChildren(heading(form.replyMessage, introduction?.title ?? texts.sent), summary(pages, null).node);
    root.classList.add("answered");
  });
  show();
  return root;
}

const line = ({ name, values }) => `${name}: ${values().map(({ text }) => text).join(", ")}`;

function formPage(page, view) {
  const fields = (page.pageComponents ?? []).map((component) => field(component, page.title || view.texts.chooseItems, view)).filter((item) => item !== null);
  const head = page.title || page.subtitle ? heading(page, null) : null;
  return { fields, node: h("div", { class: "form-page" }, head, ...fields.map(({ node }) => node)) };
}

/** A list of the answers, and a function that brings it up to date. */
function summary(pages, title) {
  const list = h("dl");
  const refresh = () => {
    const answered = pages.flatMap(({ fields }) => fields.filter(({ values }) => values().length > 0));
    const rows = answered.map(({ name, values }) => [h("dt", {}, name), h("dd", { dir: "auto" }, values().map(({ text }) => text).join(", "))]);
    list.replaceChildren(...rows.map((row) => h("div", {}, ...row)));
  };
  refresh();
  return { refresh, node: h("div", { class: "form-page" }, title ? h("h3", {}, title) : null, list) };
}

/** A field: its node, its `required`, and its `values()` as `{ text, payload }`. `title` names one without its own. */
function field(component, title, view) {
  const { input, listPicker, wheelPicker, datePicker } = component;
  if (input) return inputField(input, view.texts);
  if (listPicker) {
    const name = String(listPicker.receivedMessage?.title ?? listPicker.sections?.[0]?.title ?? title);
    const { fields, chosen } = listFields(listPicker.sections ?? [], uniqueName(), view.texts);
    const values = () => chosen().map(({ id, title }) => ({ text: title, payload: id }));
    return { id: listPicker.id, name, required: false, values, node: h("div", {}, ...fields), focus() {} };
  }
  if (wheelPicker) return selectField(wheelPicker.id, title, (wheelPicker.items ?? []).map(({ id, title }) => ({ payload: String(id), text: String(title) })));
  if (datePicker?.availableTimes?.length > 0) {
    const format = new Intl.DateTimeFormat(view.lang, { dateStyle: "medium", timeStyle: "short" });
    const times = datePicker.availableTimes.map(({ dateTime }) => ({ payload: dateTime, text: format.format(new Date(dateTime)) }));
    return selectField(datePicker.id, datePicker.title ?? view.texts.chooseTime, times);
  }
  if (datePicker) return dateField(datePicker, view);
  return null;
}

function labeled(name, control, detail, required, texts) {
  const mark = required ? h("span", { class: "required" }, ` (${texts.required})`) : null;
  return h("label", { class: "field" }, h("span", { class: "label", dir: "auto" }, name, mark), detail ? h("small", {}, String(detail)) : null, control);
}

function inputField(input, texts) {
  const name = String(input.title ?? input.placeholderText ?? texts.compose);
  const attributes = {
    placeholder: input.placeholderText,
    inputmode: KEYBOARDS[input.keyboardType],
    autocomplete: AUTOCOMPLETE[input.autoCompleteType],
    "aria-required": input.isRequired === true ? "true" : undefined,
    dir: "auto",
  };
  const control = input.isMultipleLine === true ? h("textarea", { ...attributes, rows: "3" }) : h("input", { ...attributes, type: "text" });
  const values = () => (control.value.trim() === "" ? [] : [{ text: control.value.trim(), payload: control.value.trim() }]);
  const required = input.isRequired === true;
  return { id: input.id, name, required, values, node: labeled(name, control, input.subtitle, required, texts), focus: () => control.focus() };
}

function selectField(id, title, options) {
  const name = String(title);
  const control = h("select", {}, h("option", { value: "" }), ...options.map(({ text }, at) => h("option", { value: String(at) }, text)));
  const values = () => (control.value === "" ? [] : [options[Number(control.value)]]);
  return { id, name, required: false, values, node: labeled(name, control, null, false, {}), focus: () => control.focus() };
}

/** A date of a calendar. Its payload is the date in ISO 8601. */
function dateField(picker, view) {
  const name = String(picker.title ?? view.texts.chooseDate);
  const control = h("input", { type: "date", min: picker.dateMinimum?.slice(0, 10), max: picker.dateMaximum?.slice(0, 10) });
  const format = new Intl.DateTimeFormat(view.lang, { dateStyle: "medium", timeZone: "UTC" });
  const values = () => (control.value === "" ? [] : [{ text: format.format(new Date(control.value)), payload: control.value }]);
  return { id: picker.id, name, required: false, values, node: labeled(name, control, picker.subtitle, false, {}), focus: () => control.focus() };
}

export { formContent };
