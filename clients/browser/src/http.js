import { ACTIONS, OPERATIONS } from "./contract.js";

/** Longest wait in seconds that an answer can ask for. Longer ones are cut. */
const MAX_RETRY_AFTER = 300;

/** An error of the gateway. `action` names the reaction of a client. */
export class GuestSessionsError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.message ?? problem.error_description ?? `the gateway answered ${status}`);
    this.name = "GuestSessionsError";
    this.status = status;
    this.code = problem.code ?? problem.error ?? "unknown";
    this.action = ACTIONS[this.code];
    this.details = problem.details ?? [];
    this.contextId = problem.contextId;
    this.retryAfter = retryAfter;
  }
}

/** The URL of an operation. */
function urlOf(baseUrl, template, path, query = {}) {
  const parameters = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined)).toString();
  return (
    baseUrl.replace(/\/$/, "") +
    template.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(path[name])) +
    (parameters === "" ? "" : `?${parameters}`)
  );
}

/** The body of a response, which is an error unless its status is a success. */
function parse(status, text, wait) {
  let answer;
  try {
    answer = text === "" ? undefined : JSON.parse(text);
  } catch {
    answer = {};
  }
  if (status >= 200 && status < 300) return answer;
  // a date, which the gateway does not send, counts as none
  const retryAfter = /^\d+$/.test(wait) ? Math.min(Number(wait), MAX_RETRY_AFTER) : undefined;
  throw new GuestSessionsError(status, answer ?? {}, retryAfter);
}

/** Makes a REST call of the contract. For backends: pages hold no API client's token. */
async function call(operation, options, parameters) {
  const response = await request(operation, options, parameters);
  return parse(response.status, await response.text(), response.headers.get("retry-after"));
}

/** Sends a request of the contract. Returns its response if that is a success. */
async function request(operation, { baseUrl, accessToken, idempotencyKey, credentials, isPage = false, fetch = globalThis.fetch, signal }, { path = {}, query = {}, body } = {}) {
  const [method, template, media] = OPERATIONS[operation];
  const url = urlOf(baseUrl, template, path, query);
  const headers = {};
  if (accessToken !== undefined) headers.authorization = `Bearer ${accessToken}`;
  if (idempotencyKey !== undefined) headers["idempotency-key"] = `"${idempotencyKey}"`;
  if (body !== undefined) headers["content-type"] = media;
  // a page of another origin can send it only if the gateway allows that origin
  if ((isPage || template.startsWith("/spa/")) && method !== "GET") headers["x-guest-sessions-csrf"] = "1";
  const sent = body === undefined ? undefined : media === "application/json" ? JSON.stringify(body) : new URLSearchParams(body).toString();
  const response = await fetch(url, { method, headers, credentials, body: sent, signal, redirect: "error" });
  if (!response.ok) parse(response.status, await response.text(), response.headers.get("retry-after"));
  return response;
}

export { call, parse, request, urlOf };
