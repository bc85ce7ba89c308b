// The webhook that an operator opened: its deliveries, and what the operator can do with it.

import { CSRF, clockTime, element, make, number, write } from "./render.js";

const state = element("webhook-state");
const rows = element("deliveries");
const dialog = element("rotation");

/** What an action did, by its answer. */
const OUTCOMES = {
  pause: () => "Paused. What its receiver misses is kept.",
  replay: ({ replayed, remaining }) => `${number.format(replayed)} sent again, ${number.format(remaining)} remain.`,
  resume: () => "Resumed.",
  rotate: ({ secret, publicKey }) =>
    (secret ? `The new secret is ${secret}, which is shown only once. ` : `The new public key is ${publicKey}. `) +
    "Deliveries are also signed with the replaced one for 24 hours.",
  test: (attempt) => `Test event: ${outcome(attempt)}.`,
};

let opened;
let next;

/** The outcome of an attempt, in words. */
function outcome({ status, error, milliseconds }) {
  return `${status ? `status ${status}` : error} after ${number.format(milliseconds)} ms`;
}

/** Sends a request about the opened webhook, and returns the body of the answer. */
async function ask(rest, request) {
  const answer = await fetch(`/dashboard/webhooks/${encodeURIComponent(opened.id)}/${rest}`, request).catch(() => null);
  if (!answer) throw new Error("The gateway does not answer. Check that it runs.");
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  throw new Error(body.message ?? `The gateway answered ${answer.status}. Reload the page.`);
}

async function act(action) {
  const { name } = opened;
  write(state, "");
  const text = await ask(action, { method: "POST", headers: CSRF }).then(OUTCOMES[action], ({ message }) => message);
  write(state, `${name}: ${text}`);
}

function deliveryRow({ timestamp, event, sessionId = "–", first, last, attempts, nextAttemptAt }) {
  const tried = attempts.map((attempt) => make("div", `${clockTime(attempt.at)}: ${outcome(attempt)}`));
  return make("tr", [
    make("td", clockTime(timestamp), "time"),
    make("td", event),
    make("td", first === last ? number.format(first) : `${number.format(first)} to ${number.format(last)}`, "number"),
    make("td", sessionId),
    make("td", tried.length === 0 ? "–" : tried, "details"),
    make("td", nextAttemptAt ? clockTime(nextAttemptAt) : "–", "time"),
  ]);
}

/** Loads the first page of the deliveries of the chosen state, or the next one. */
async function load(after) {
  const wanted = element("delivery-state").value;
  const { id } = opened;
  const place = after ? `&after=${encodeURIComponent(after)}` : "";
  try {
    const page = await ask(`deliveries?state=${wanted}${place}`);
    // another choice was made meanwhile
    if (opened?.id !== id || element("delivery-state").value !== wanted) return;
    if (!after) rows.replaceChildren();
    rows.append(...page.deliveries.map(deliveryRow));
    next = page.next;
    write(element("delivery-summary"), rows.children.length === 0 ? "None." : `${number.format(rows.children.length)} shown.`);
  } catch ({ message }) {
    next = undefined;
    write(element("delivery-summary"), message);
  }
  element("deliveries-table").hidden = rows.children.length === 0;
  element("more-deliveries").hidden = !next;
}

/** Shows a webhook, and moves the focus to it. */
export function openWebhook(webhook) {
  opened = webhook;
  update(webhook);
  write(state, "");
  write(element("webhook-title"), `Webhook ${webhook.name}`);
  rows.replaceChildren();
  element("webhook").hidden = false;
  element("webhook-title").focus();
  load();
}

function update({ enabled, hasDead }) {
  const toggle = element("toggle");
  toggle.dataset.action = enabled ? "pause" : "resume";
  write(toggle, enabled ? "Pause" : "Resume");
  element("replay").disabled = hasDead === false;
}

/** Follows the state of the opened webhook. */
export function updateWebhook(webhooks) {
  if (!opened) return;
  const found = webhooks.find(({ id }) => id === opened.id);
  if (found) return update(found);
  opened = undefined;
  dialog.close();
  element("webhook").hidden = true;
}

for (const button of document.querySelectorAll("#webhook [data-action]")) {
  button.addEventListener("click", () => act(button.dataset.action));
}
element("delivery-state").addEventListener("change", () => load());
element("reload-deliveries").addEventListener("click", () => load());
element("more-deliveries").addEventListener("click", () => load(next));
element("rotate").addEventListener("click", () => dialog.showModal());
element("keep").addEventListener("click", () => dialog.close());
element("confirm").addEventListener("click", () => {
  dialog.close();
  act("rotate");
});
