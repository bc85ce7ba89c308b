const SVG = "http://www.w3.org/2000/svg";

/** Outlines of 24 by 24, drawn by a stroke. */
const ICONS = {
  alert: "M12 8v5M12 16.5v.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Z",
  chat: "M4 5.5h16v11H9.5L5 20v-3.5H4Z",
  check: "m5 12.5 4.5 4.5L19 7.5",
  clip: "m20 11.5-8.2 8.2a5 5 0 0 1-7-7L13 4.5a3.3 3.3 0 0 1 4.7 4.7l-8.2 8.2a1.7 1.7 0 0 1-2.4-2.4l7.5-7.4",
  clock: "M12 7.5V12l3 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Z",
  close: "m6 6 12 12M18 6 6 18",
  file: "M6.5 3h7.5l4.5 4.5V21h-12ZM14 3v4.5h4.5",
  next: "m9.5 6 6 6-6 6",
  previous: "m14.5 6-6 6 6 6",
  send: "M4 12 20 4.5 14 20l-2.5-6.5Z",
  revoke: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM5.6 5.6l12.8 12.8",
  shield: "M12 3.5 5 6v5.5c0 4.2 2.9 7.4 7 9 4.1-1.6 7-4.8 7-9V6Z",
};

/** An element. Text becomes text nodes: nothing is parsed as HTML. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon icon-${name}`);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

function iconButton(name, label, run) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, hidden: true, onclick: run }, icon(name));
}

/** The URL if it is of http or https. Others could run scripts. */
function safeUrl(value) {
  try {
    const url = new URL(value);
    return ["http:", "https:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** A link that opens in a new window, or the label alone if the URL is not safe. */
function link(url, label, texts, attributes = {}) {
  const href = safeUrl(url);
  if (href === null) return h("span", attributes, label);
  const hint = h("span", { class: "visually-hidden" }, ` (${texts.opens})`);
  return h("a", { ...attributes, href, target: "_blank", rel: "noopener noreferrer" }, label, hint);
}

/** An image, or nothing if its URL is not safe. The site of the image does not learn the page. */
function image(url, alt = "") {
  const src = safeUrl(url);
  if (src === null) return null;
  const element = h("img", { src, alt, loading: "lazy", referrerpolicy: "no-referrer" });
  // a picture that is blocked or gone leaves no broken frame
  element.addEventListener("error", () => element.remove());
  return element;
}

/** Text with its http and https addresses as links. */
function linked(text, texts) {
  const nodes = [];
  let from = 0;
  for (const { 0: found, index } of text.matchAll(/https?:\/\/[^\s<>"]+/g)) {
    const address = found.replace(/[.,;:!?)\]'»”]+$/u, "");
    nodes.push(text.slice(from, index), link(address, address, texts));
    from = index + address.length;
  }
  nodes.push(text.slice(from));
  return nodes;
}

export { h, icon, iconButton, safeUrl, link, image, linked };
