import { h, link } from "./dom.js";

/** The dialogue that asks for each purpose. Nothing is chosen in advance but what the guest chose before. */
function consentForm(purposes, texts, { chosen, link: address, submit, cancel }) {
  const inputs = purposes.map((purpose) => {
    const { name, detail } = texts.purposes[purpose] ?? { name: purpose, detail: "" };
    const input = h("input", { type: "checkbox", name: purpose });
    input.checked = chosen[purpose] === true;
    return { purpose, input, node: h("label", { class: "option" }, input, h("span", {}, h("strong", {}, name), detail ? h("small", {}, detail) : null)) };
  });
  const error = h("p", { class: "error", role: "alert" });
  const all = h("button", { type: "button", class: "primary" }, texts.consentAll);
  const save = h("button", { type: "submit", class: "primary" }, cancel === undefined ? texts.consentChosen : texts.consentSave);
  const leave = cancel === undefined ? null : h("button", { type: "button", class: "secondary", onclick: cancel }, texts.cancel);
  const notice = address ? h("p", {}, link(new URL(address, document.baseURI).href, texts.consentLink, texts)) : null;
  const form = h(
    "form",
    {},
    h("h3", { id: "consent", tabindex: "-1" }, texts.consentHeading),
    h("p", {}, texts.consentIntro),
    h("fieldset", {}, h("legend", { class: "visually-hidden" }, texts.consentHeading), ...inputs.map(({ node }) => node)),
    notice,
    error,
    h("div", { class: "panel-actions" }, leave, save, all),
  );
  const root = h("div", { class: "panel consent" }, form);
  let busy = false;
  const send = async () => {
    // not by `disabled`: a button that is disabled loses the focus
    if (busy) return;
    busy = true;
    try {
      await submit(Object.fromEntries(inputs.map(({ purpose, input }) => [purpose, input.checked])));
    } catch {
      error.textContent = texts.consentFailed;
    }
    busy = false;
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  all.addEventListener("click", () => {
    for (const { input } of inputs) input.checked = true;
    send();
  });
  return root;
}

export { consentForm };
