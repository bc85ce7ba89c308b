/** The monotonic clock of the machine, in milliseconds, with its timers. */
const CLOCK = {
  now: () => performance.now(),
  setTimeout: (run, delay) => globalThis.setTimeout(run, delay),
  clearTimeout: (timer) => globalThis.clearTimeout(timer),
};

/** The page's session storage, or null where there is none or the browser refuses it. */
function pageStorage() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null;
  }
}

/** The value with U+FFFD for each lone surrogate of its strings: such a text is no valid JSON for the gateway. */
function wellFormed(value) {
  if (typeof value === "string") return value.toWellFormed?.() ?? value.replace(/\p{Surrogate}/gu, "\uFFFD");
  if (Array.isArray(value)) return value.map(wellFormed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, wellFormed(field)]));
}

/** `randomUUID` is available on secure pages only, random bytes on all. Node 18 has neither. An id is no secret. */
function uuid() {
  const { crypto } = globalThis;
  if (crypto?.randomUUID !== undefined) return crypto.randomUUID();
  const bytes = new Uint8Array(16);
  if (crypto !== undefined) crypto.getRandomValues(bytes);
  else bytes.forEach((_, at) => (bytes[at] = Math.random() * 256));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The result of a promise, or an error after so many milliseconds. */
function inTime(clock, promise, timeout) {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(new Error("no answer in time")), timeout);
    promise.then(resolve, reject).finally(() => clock.clearTimeout(timer));
  });
}

/** An event with details. Node has a global `CustomEvent` from version 19 on only. */
class DetailEvent extends Event {
  constructor(name, detail) {
    super(name);
    this.detail = detail;
  }
}

export { CLOCK, DetailEvent, inTime, pageStorage, uuid, wellFormed };
