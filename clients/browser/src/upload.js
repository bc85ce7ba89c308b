import { OPERATIONS } from "./contract.js";
import { GuestSessionsError, parse, urlOf } from "./http.js";
import { wellFormed } from "./platform.js";

/** The reason for which the rules refuse a file, as the gateway would give it, or null. */
function refusalOf(file, rules) {
  const refuse = (status, code, message) => new GuestSessionsError(status, { code, message });
  if (rules === null) return refuse(409, "action.unavailable", "cannot attach a file now: wait until `attachmentRules` are set");
  const { 1: extension } = /[^.].*\.([^.]+)$/.exec(file.name ?? "") ?? [];
  if (extension === undefined) return refuse(400, "invalid.value", "invalid file: its name has no extension");
  const [kind] = mediaType(file).split("/");
  const accepted = rules.mediaTypes.some((range) => ["*", "*/*", `${kind}/*`, mediaType(file)].includes(range));
  if (!accepted || rules.blockedExtensions.includes(extension.toLowerCase())) {
    return refuse(415, "attachment.not.allowed", "invalid file: the session does not take this type of file");
  }
  if (file.size === 0) return refuse(400, "invalid.value", "invalid file: it is empty");
  if (file.size > rules.maxBytes) return refuse(413, "attachment.too.large", `invalid file: more than ${rules.maxBytes} bytes`);
  return null;
}

/** The media type of a file, without parameters. */
function mediaType(file) {
  const [essence] = file.type.split(";");
  return essence.trim().toLowerCase() || "application/octet-stream";
}

/** Uploads a file. Only `XMLHttpRequest` reports the progress. It is not used with a `fetch` of the caller. */
async function upload(path, file, { baseUrl, accessToken, credentials, isPage = false, fetch, onProgress, signal }) {
  const [method, template] = OPERATIONS.uploadAttachment;
  const url = urlOf(baseUrl, template, path);
  const name = encodeURIComponent(wellFormed(file.name)).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
  const headers = {
    "content-type": mediaType(file),
    "content-disposition": `attachment; filename*=UTF-8''${name}`,
  };
  if (accessToken !== undefined) headers.authorization = `Bearer ${accessToken}`;
  if (isPage) headers["x-guest-sessions-csrf"] = "1";
  if (fetch === undefined && globalThis.XMLHttpRequest !== undefined) {
    return uploadWithProgress({ method, url, headers, credentials }, file, onProgress, signal);
  }
  const response = await (fetch ?? globalThis.fetch)(url, { method, headers, credentials, body: file, signal, redirect: "error" });
  return parse(response.status, await response.text(), response.headers.get("retry-after"));
}

function uploadWithProgress({ method, url, headers, credentials }, file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    // the token may have been renewed before, and the upload canceled meanwhile
    signal?.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open(method, url);
    request.withCredentials = credentials === "include";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded }) => onProgress(loaded);
    request.onload = () => {
      try {
        resolve(parse(request.status, request.responseText, request.getResponseHeader("retry-after")));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(new TypeError("cannot upload the file: no answer of the gateway"));
    request.onabort = () => reject(signal.reason);
    request.onloadend = () => signal?.removeEventListener("abort", abort);
    signal?.addEventListener("abort", abort);
    request.send(file);
  });
}

export { refusalOf, upload };
