import { inTime } from "./platform.js";

/** Longest time in milliseconds for an answer of the page's backend. */
const REFRESH_TIMEOUT = 20_000;

/** A session, and the access token of its requests and sockets. */
class SessionAccess {
  id;
  websocketUrl;
  accessToken;
  #options;
  #refreshing = null;

  constructor({ id, websocketUrl, accessToken }, options) {
    Object.assign(this, { id, websocketUrl, accessToken });
    this.#options = options;
  }

  /** Makes a request with the access token, and again with a new one if it is refused. */
  async authorized(request) {
    const { authorize, fetch, refresh } = this.#options;
    if (authorize !== undefined) return authorize((options) => request(options, this.id));
    const url = this.websocketUrl.replace(/^ws/, "http");
    const baseUrl = url.slice(0, url.indexOf("/api/v2/webmessaging/"));
    const run = () => request({ baseUrl, accessToken: this.accessToken, fetch }, this.id);
    try {
      return await run();
    } catch (error) {
      if (error.status !== 401 || refresh === undefined || !(await this.refresh())) throw error;
      return run();
    }
  }

  /**
   * Returns new tokens, `null` after the end of the session, or `undefined` if the backend fails or does not answer: the
   * current token is tried again. A late answer is used by a later attempt.
   */
  refresh() {
    const { clock, refresh } = this.#options;
    this.#refreshing ??= (async () => {
      try {
        const tokens = await refresh(this.id);
        if (tokens !== null) this.accessToken = tokens.accessToken;
        return tokens;
      } catch {
        return undefined;
      } finally {
        this.#refreshing = null;
      }
    })();
    return inTime(clock, this.#refreshing, REFRESH_TIMEOUT).catch(() => undefined);
  }
}

export { SessionAccess };
