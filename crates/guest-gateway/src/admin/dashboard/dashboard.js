// Renders the snapshots of the gateway, and the timeline of a session.

import { CSRF, clockTime, element, make, number, write, writePairs, writeRows, writeState } from "./render.js";
import { openWebhook, updateWebhook } from "./webhook.js";

const CONNECTIONS = {
  live: "Live",
  connecting: "Connecting",
  throttled: "Throttled by Genesys",
  unreachable: "Genesys unreachable",
  refused: "Refused by Genesys",
  signInLost: "Sign-in lost",
};
/** Whether a webhook has dead deliveries. The gateway reads those of a few webhooks at a time. */
const DEAD = new Map([
  [true, "Some"],
  [false, "None"],
  [null, "–"],
]);
const STAGES = {
  created: "Created",
  connected: "Connected",
  configured: "Configured",
  first_guest_message: "First message of the guest",
  first_reply: "First reply",
};
const rate = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const share = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });

/** Writes a bar into a cell of a table, in place of the earlier one, and a text below it. */
function writeBar(cell, part, whole, text) {
  const track = cell.firstChild ?? cell.appendChild(make("div", [make("div")], "track"));
  // the policy allows no style attribute
  track.firstChild.style.width = `${whole === 0 ? 0 : (100 * part) / whole}%`;
  if (text) write(cell.children[1] ?? cell.appendChild(make("small")), text);
}

const numeric = (value) => ({ text: typeof value === "number" ? number.format(value) : value, className: "number" });
const percent = (value) => (value === null ? "–" : share.format(value));
/** A duration for people. */
function span(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}

const quantiles = (durations) =>
  durations ? `median ${span(durations.p50Ms)}, 95 % ${span(durations.p95Ms)}` : "none yet";

function reasons(endedBy) {
  const counted = Object.entries(endedBy).filter(([, count]) => count > 0);
  counted.sort(([, one], [, other]) => other - one);
  return counted.map(([reason, count]) => `${reason.replaceAll("_", " ")} ${number.format(count)}`).join(", ") || "–";
}

function renderReadiness({ ok, notReady = [], warnings = [] }) {
  writeState(element("readiness"), ok ? "Ready for guests" : "Not ready", ok ? "good" : "bad");
  const faults = notReady.map(
    ({ part, organization = "", since, detail }) =>
      `${part} ${organization}`.trim() + `: ${detail}, since ${clockTime(since)}`,
  );
  element("not-ready").replaceChildren(...[...faults, ...warnings].map((text) => make("li", text, "problem")));
}

let counted;

function renderNow({ at, conversations, funnel }) {
  write(element("open"), number.format(funnel.open));
  const connections = Object.entries(CONNECTIONS).map(([name, label]) => [label, conversations[name]]);
  write(element("conversations"), number.format(connections.reduce((sum, [, count]) => sum + count, 0)));
  writePairs(element("connections"), connections.map(([label, count]) => [label, number.format(count)]));
  const now = { at: Date.parse(at), from: conversations.messagesFromGuests, to: conversations.messagesToGuests };
  if (counted && now.at > counted.at) {
    const perSecond = (name) => rate.format((now[name] - counted[name]) / ((now.at - counted.at) / 1_000));
    write(element("from-guests"), perSecond("from"));
    write(element("to-guests"), perSecond("to"));
  }
  counted = now;
}

function renderFunnel({ sessions, ended, dropOff, stages }) {
  const summary = `${number.format(sessions)} created, ${number.format(ended)} ended. `;
  const without =
    ended === 0 ? "No session has ended yet." : `Ended without a message of the guest: ${percent(dropOff)}.`;
  write(element("funnel-summary"), sessions === 0 ? "No session has been created yet." : summary + without);
  const body = element("funnel");
  writeRows(
    body,
    stages.map((stage) => [
      { text: STAGES[stage.stage] ?? stage.stage },
      { className: "bars" },
      numeric(stage.reached),
      numeric(stage.open),
      numeric(stage.ended),
      numeric(percent(stage.dropOff)),
      { text: reasons(stage.endedBy), className: "details" },
    ]),
  );
  stages.forEach(({ reached }, at) => writeBar(body.children[at].children[1], reached, sessions));
}

const drawn = new Map();

/** Loads a chart anew if its figures have changed. */
function renderChart(name, durations) {
  if (!durations || drawn.get(name) === JSON.stringify(durations)) return;
  drawn.set(name, JSON.stringify(durations));
  const request = new XMLHttpRequest();
  request.open("GET", `/dashboard/charts/${name}.svg`);
  request.responseType = "document";
  request.addEventListener("load", () => {
    const svg = request.responseXML?.documentElement;
    if (!svg) return;
    const sessions = durations.count === 1 ? "1 session" : `${number.format(durations.count)} sessions`;
    const figures = `${sessions}: ${quantiles(durations)}, 99 % ${span(durations.p99Ms)}`;
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", figures);
    element(name).replaceChildren(document.importNode(svg, true), make("p", figures, "quiet"));
  });
  request.send();
}

function renderLimits({ waitingConnections, conversations, funnel }) {
  const rows = [
    ["New connections that wait for the limit", number.format(waitingConnections)],
    ["Conversations throttled by Genesys", number.format(conversations.throttled)],
    ["Sessions ended by reuse of a token", number.format(funnel.endedBy.token_reuse)],
  ];
  if ("refreshLatency" in funnel) rows.push(["Refresh of tokens", quantiles(funnel.refreshLatency)]);
  if ("connectTime" in funnel) rows.push(["Time to connect", quantiles(funnel.connectTime)]);
  if ("deliveryLatency" in funnel) rows.push(["Delivery of a message", quantiles(funnel.deliveryLatency)]);
  writePairs(element("limits"), rows);
}

function renderJurisdictions({ groups }) {
  if (!groups) return;
  element("jurisdictions").closest("section").hidden = false;
  const sums = new Map();
  for (const { jurisdiction, sessions, open, endedBy } of groups.filter((group) => group.sessions > 0)) {
    const sum = sums.get(jurisdiction) ?? [0, 0, 0];
    sums.set(jurisdiction, [sum[0] + sessions, sum[1] + open, sum[2] + endedBy.consent_withdrawn]);
  }
  const rows = [...sums].sort(([, one], [, other]) => other[0] - one[0]);
  const cells = rows.map(([jurisdiction, figures]) => [{ text: jurisdiction }, ...figures.map(numeric)]);
  const none = [{ text: "No session yet" }, numeric("–"), numeric("–"), numeric("–")];
  writeRows(element("jurisdictions"), cells.length === 0 ? [none] : cells);
}

function renderConsent(consent) {
  const rows = consent.map(({ jurisdiction, purposes }) => ({ jurisdiction, purposes, sessions: purposes[0].on + purposes[0].off }));
  const known = rows.filter(({ sessions }) => sessions > 0).sort((one, other) => other.sessions - one.sessions);
  const isEmpty = known.length === 0;
  element("consent-table").hidden = isEmpty;
  const axis = "A bar is the share of the sessions whose data may be used for the purpose, from 0 to 100 %.";
  write(element("consent-summary"), isEmpty ? "No session has been created yet." : axis);
  const body = element("consent");
  const bar = { className: "bars" };
  writeRows(body, known.map(({ jurisdiction, sessions }) => [{ text: jurisdiction }, numeric(sessions), bar, bar, bar]));
  known.forEach(({ purposes, sessions }, at) =>
    purposes.forEach(({ on, off, asked }, column) => {
      const text = `${number.format(on)} on, ${number.format(off)} off, ${number.format(asked)} asked`;
      writeBar(body.children[at].children[column + 2], on, sessions, text);
    }),
  );
}

function renderWebhooks({ webhooks, oldestEventAt, at }) {
  const lag = oldestEventAt ? Math.max(0, Date.parse(at) - Date.parse(oldestEventAt)) : 0;
  const delivered = lag === 0 ? "All events are delivered." : `The oldest undelivered event is ${span(lag)} old.`;
  write(element("webhooks-summary"), webhooks.length === 0 ? "No webhook is registered." : delivered);
  element("webhooks-table").hidden = webhooks.length === 0;
  const age = (time) => (time ? span(Math.max(0, Date.parse(at) - Date.parse(time))) : "–");
  const state = ({ enabled, failingSince }) => {
    if (!enabled) return "Paused or disabled";
    return failingSince ? `Failing since ${clockTime(failingSince)}` : "Working";
  };
  writeRows(
    element("webhooks"),
    webhooks.map((webhook) => [
      { text: webhook.name },
      { text: webhook.owner },
      { text: state(webhook), className: webhook.enabled && !webhook.failingSince ? "" : "problem" },
      numeric(age(webhook.oldestAt)),
      numeric(webhook.pending),
      numeric(webhook.snapshots),
      numeric(DEAD.get(webhook.hasDead)),
      numeric(webhook.failures),
      { text: webhook.lastError ?? "–", className: "details" },
      { text: webhook.restUntil && webhook.failingSince ? clockTime(webhook.restUntil) : "–" },
      {},
    ]),
  );
  webhooks.forEach((webhook, at) => {
    const cell = element("webhooks").children[at].lastChild;
    const button = cell.firstChild ?? cell.appendChild(make("button", "Open", "plain"));
    button.setAttribute("aria-label", `Open ${webhook.name}`);
    button.onclick = () => openWebhook(webhook);
  });
  updateWebhook(webhooks);
}

function renderAudit({ entries, checkpoint, state, verified }) {
  const signed = checkpoint === null ? "none yet" : `${number.format(checkpoint)} entries`;
  writePairs(element("audit"), [
    ["Entries", number.format(entries)],
    ["Last checkpoint", signed],
  ]);
  const texts = {
    verified: [`Verified: ${number.format(verified)} entries`, "good"],
    verifying: [`Verifying: ${number.format(verified)} of ${number.format(entries)} entries`, ""],
    altered: [`Altered: ${verified}`, "bad"],
  };
  writeState(element("audit-state"), ...(texts[state] ?? ["Unknown", ""]));
  const progress = element("audit-progress");
  progress.max = Math.max(1, entries);
  progress.value = state === "altered" ? 0 : verified;
  element("verify").disabled = state === "altered";
}

function render(snapshot) {
  if (snapshot.problem) {
    write(element("stream"), `The figures cannot be read: ${snapshot.problem}`);
    return;
  }
  write(element("stream"), "Live");
  const { funnel } = snapshot;
  renderReadiness(snapshot.readiness);
  renderNow(snapshot);
  renderFunnel(funnel);
  renderChart("first-reply", funnel.timeToFirstReply);
  renderChart("session", funnel.durations);
  renderLimits(snapshot);
  renderJurisdictions(funnel);
  renderConsent(snapshot.consent);
  renderWebhooks(snapshot);
  renderAudit(snapshot.audit);
}

const events = new EventSource("/dashboard/events");
events.addEventListener("message", ({ data }) => render(JSON.parse(data)));
events.addEventListener("error", () => {
  const gone = events.readyState === EventSource.CLOSED;
  write(element("stream"), gone ? "Stopped: reload the page, or log in again." : "Connection lost: trying again …");
});

element("verify").addEventListener("click", async () => {
  const answer = await fetch("/dashboard/verify", { method: "POST", headers: CSRF }).catch(() => null);
  const refused = "The verification was not requested. Reload the page, and try again.";
  const text = answer?.ok ? "Requested. It starts a minute after the last verification at the earliest." : refused;
  writeState(element("audit-state"), text, "");
});

function showSession(session) {
  write(element("why"), session.why);
  const facts = [
    ["Session", session.id],
    ["State", session.state],
    ["Created", clockTime(session.createdAt)],
  ];
  if (session.endedAt) facts.push(["Ended", clockTime(session.endedAt)]);
  if (session.hasOlder) facts.push(["Audit entries", "older ones are not shown, see `audit show`"]);
  writePairs(element("session-facts"), facts);
  const details = (entry) =>
    Object.entries(entry.detail ?? {})
      .map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`)
      .join(", ");
  const audited = session.audit.map((entry) => ({
    time: entry.time,
    cells: ["Audit log", entry.action, [entry.outcome === "ok" ? "" : entry.outcome, details(entry)].filter(Boolean).join(": ")],
  }));
  const connection = session.connection.map(({ time, text }) => ({ time, cells: ["Connection", text, ""] }));
  // entries are newest first: the sort is stable
  const rows = [...audited.reverse(), ...connection];
  rows.sort((one, other) => Date.parse(one.time) - Date.parse(other.time));
  const body = element("timeline");
  body.replaceChildren(
    ...rows.map(({ time, cells: [source, event, detail] }) =>
      make("tr", [
        make("td", `${time.slice(0, 10)} ${time.slice(11, 22)}`.replace("Z", ""), "time"),
        make("td", source),
        make("td", event),
        make("td", detail, "details"),
      ]),
    ),
  );
  element("found").hidden = false;
  element("timeline-title").focus();
}

element("search").addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = element("search-problem");
  write(problem, "");
  try {
    const id = encodeURIComponent(element("session-id").value.trim());
    const request = await fetch(`/dashboard/sessions/${id}`);
    const answer = await request.json();
    if (request.ok) return showSession(answer);
    write(problem, answer.message);
  } catch {
    write(problem, "The gateway does not answer. Check that it runs.");
  }
  element("found").hidden = true;
});
