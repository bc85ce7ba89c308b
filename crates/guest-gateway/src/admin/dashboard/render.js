// Elements and texts that the parts of the dashboard share.

export const CSRF = { "x-guest-sessions-csrf": "1" };
export const element = (id) => document.getElementById(id);
export const number = new Intl.NumberFormat("en");
export const clockTime = (time) => `${time.slice(0, 10)} ${time.slice(11, 19)} UTC`;

/** Makes an element with a text or children. */
export function make(name, content = [], className = "") {
  const made = document.createElement(name);
  made.append(...[content].flat());
  if (className) made.className = className;
  return made;
}

/** Changes a text only if it differs, so that a screen reader announces changes alone. */
export function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export function writeState(target, text, kind) {
  write(target, text);
  target.className = `state ${kind}`;
}

/** Writes pairs into a list of terms, whose elements stay. */
export function writePairs(list, pairs) {
  while (list.children.length > pairs.length) list.lastChild.remove();
  pairs.forEach(([term, value], at) => {
    const row = list.children[at] ?? list.appendChild(make("div", [make("dt"), make("dd")]));
    write(row.firstChild, term);
    write(row.lastChild, value);
  });
}

/** Writes cells into a table, whose rows stay. The first cell of a row is its header. */
export function writeRows(body, rows) {
  while (body.children.length > rows.length) body.lastChild.remove();
  rows.forEach((cells, at) => {
    const row = body.children[at] ?? body.appendChild(make("tr"));
    cells.forEach(({ text, className = "" }, column) => {
      let cell = row.children[column];
      if (!cell) {
        cell = row.appendChild(make(column === 0 ? "th" : "td"));
        if (column === 0) cell.scope = "row";
      }
      cell.className = className;
      if (text !== undefined) write(cell, text);
    });
  });
}
