import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import test from "node:test";

import { TEXTS } from "../src/guest-chat/texts.js";

const folder = new URL("../src/guest-chat/", import.meta.url);

test("every text of <guest-chat> is shown", () => {
  const modules = readdirSync(folder).filter((name) => name.endsWith(".js"));
  const code = modules.map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n");
  // a delivery shows the text that its status names
  const [marks] = code.match(/const MARKS = .*/);
  const isShown = (name) => new RegExp(`\\btexts\\.${name}\\b`).test(code) || marks.includes(` ${name}: `);
  assert.deepEqual(Object.keys(TEXTS).filter((name) => !isShown(name)), []);
});
