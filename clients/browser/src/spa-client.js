import { changeBrowserConsent, createBrowserSession, createTicket, endBrowserSession, fetchBrowserSession, fetchSpaSettings, resumeBrowserSession } from "./contract.js";
import { GuestConversation } from "./conversation.js";
import { GuestSessionsError, call, request } from "./http.js";
import { CLOCK, pageStorage, uuid } from "./platform.js";
import { SharedStream } from "./shared-stream.js";
import { StreamSocket, Transport } from "./stream.js";

/** Key of the stored handle or mark of a gateway's session. */
const SPA_STORAGE_KEY = "guest-sessions:spa:";

/**
 * The session of this browser at a gateway with `[spa]`, for a page without a backend. A page of the gateway's site has a
 * cookie that no script can read. A page of another site has an access token in memory and a resume handle in
 * `sessionStorage`.
 */
export class SpaClient {
  #gateway;
  #options;
  /** The resume handle of a page of another site. */
  #handle = null;
  #accessToken = null;
  /** Id of the session. */
  #id = null;
  /** The creation whose outcome is unknown. */
  #attempt = null;
  /** Time from which the access token is renewed before a call. */
  #renewAt = -Infinity;
  #transport;
  /** The event stream of all tabs, once this one has used it. */
  #shared = null;

  /** @see SpaClientOptions in guest-sessions.d.ts */
  constructor(gateway, options = {}) {
    this.#gateway = new URL(gateway, globalThis.location?.href).href.replace(/\/$/, "");
    this.#options = {
      storage: pageStorage(),
      marks: browserStorage(),
      clock: CLOCK,
      WebSocket: globalThis.WebSocket,
      locks: globalThis.navigator?.locks ?? null,
      ...options,
    };
    this.#transport = new Transport(this.#options.clock, this.#options.WebSocket);
  }

  /** Returns the session that an earlier page of this browser created, or `null` if there is none. */
  async resume() {
    const { storage, marks } = this.#options;
    this.#handle = this.#stored(storage) ?? null;
    if (this.#handle !== null) {
      try {
        return await this.#renew();
      } catch (error) {
        // a gateway that was switched to `same-site` exchanges no handle
        if (!isGone(error) && error.code !== "not.found") throw error;
        this.#drop(storage);
      }
    }
    // without a session no request is made, whose refusal the console would show; without a storage the gateway is asked
    if (this.#stored(marks) === null) return null;
    try {
      const session = await fetchBrowserSession(this.#call({ credentials: "include" }));
      this.#id = session.id;
      return session;
    } catch (error) {
      if (!isGone(error)) throw error;
      this.#drop(marks);
      return null;
    }
  }

  /**
   * Creates a session after the guest's choices of consent, or throws the gateway's refusal. After a lost answer the next call
   * with the same choices brings the session of the first one.
   */
  async create(consent, guestAttributes) {
    const { storage, marks } = this.#options;
    const settings = await fetchSpaSettings(this.#call());
    const options = this.#call(settings.embedding === "same-site" ? { credentials: "include" } : {});
    const session = await this.#created(options, { guestAttributes, consent });
    // a gateway that was switched to another `embedding` brings a credential of the other kind
    this.#forget();
    this.#handle = session.resumeHandle ?? null;
    this.#id = session.id;
    this.#use(session);
    if (this.#handle === null) this.#keep(marks, session.id);
    else this.#keep(storage, this.#handle);
    return session;
  }

  /** The session of these choices, by the key of an attempt whose outcome is unknown. */
  async #created(options, choices, hasKey = true) {
    const text = JSON.stringify(choices);
    const earlier = this.#attempt?.text === text ? this.#attempt : null;
    this.#attempt = earlier ?? {
      text,
      body: { ...choices, assertion: await this.#options.assertion?.() },
      // a guess of it would bring the session
      idempotencyKey: hasKey && globalThis.crypto !== undefined ? uuid() : undefined,
    };
    const { body, idempotencyKey } = this.#attempt;
    try {
      const session = await createBrowserSession({ ...options, idempotencyKey }, body);
      this.#attempt = null;
      return session;
    } catch (error) {
      if (isUnknown(error)) throw error;
      this.#attempt = null;
      // the gateway keeps no more keys
      if (error.code === "idempotency.limit") return this.#created(options, choices, false);
      // the earlier attempt used its assertion, or its session is gone
      if (earlier !== null) return this.#created(options, choices);
      throw error;
    }
  }

  /** The conversation of a session. It fetches a ticket for each socket, or uses event streams where no socket can be opened. */
  conversation(session, options = {}) {
    const { fetch, clock } = this.#options;
    const transport = this.#transport;
    const openStream = () => this.#openStream(session.id);
    function Connection(url, protocols) {
      return transport.usesStreams ? openStream() : transport.openSocket(url, protocols);
    }
    return new GuestConversation(session, {
      fetch,
      clock,
      ...options,
      WebSocket: Connection,
      ticket: async () => (transport.usesStreams ? "" : this.#ticket()),
      authorize: (run) => this.#authorized(run),
    });
  }

  /** A connection by the stream that all tabs share, or by one of its own where the browser has no locks. */
  #openStream(id) {
    const { locks } = this.#options;
    if (locks === null || globalThis.BroadcastChannel === undefined) return new StreamSocket(this.#streamClient());
    const name = `guest-sessions:${id}`;
    if (this.#shared?.name !== name) {
      this.#shared?.close();
      this.#shared = new SharedStream(name, this.#streamClient(), locks);
    }
    return this.#shared.connect();
  }

  /** The requests of an event stream. */
  #streamClient() {
    const authorized = async (run) => {
      try {
        return await this.#authorized(run);
      } catch (error) {
        if (isGone(error)) this.#forget();
        throw error;
      }
    };
    return {
      clock: this.#options.clock,
      open: (body, stream, signal) => authorized((options) => request("openStream", { ...options, signal }, { body, query: { stream } })),
      post: (frame, stream) => authorized((options) => call("sendFrame", options, { body: frame, query: { stream } })),
    };
  }

  /** Changes the consent of the session. Absent purposes stay unchanged. */
  changeConsent(choices) {
    return this.#authorized((call) => changeBrowserConsent(call, choices));
  }

  /** Withdraws every agreement, in one call. It takes effect at once. */
  withdrawConsent() {
    return this.changeConsent({ withdrawAll: true });
  }

  /**
   * Signs the guest of the session in with the authorization code of the identity provider: `{ code, redirectUri, codeVerifier,
   * nonce }`. Call it after `resume` or `create`.
   */
  async signIn(authorization) {
    await this.#authorized((options) => call("signIn", options, { path: { id: this.#id }, body: authorization }));
  }

  /** Signs the guest out everywhere, which ends the session. */
  async signOut() {
    await this.#authorized((options) => call("signOut", options, { path: { id: this.#id } }));
    this.#forget();
  }

  /** Ends the session. Its conversations end too. */
  async end() {
    try {
      await this.#authorized(endBrowserSession);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    this.#forget();
  }

  /** A ticket, or `null` after the end of the session. */
  async #ticket() {
    try {
      return (await this.#authorized(createTicket)).ticket;
    } catch (error) {
      if (!isGone(error)) throw error;
      this.#forget();
      return null;
    }
  }

  /** Makes a call with the credential of this browser. */
  async #authorized(run) {
    if (this.#handle === null) return run(this.#call({ credentials: "include" }));
    if (this.#options.clock.now() >= this.#renewAt) await this.#renew();
    const token = this.#accessToken;
    try {
      return await run(this.#call({ accessToken: token }));
    } catch (error) {
      if (error.action !== "refresh") throw error;
      // another call may have renewed it meanwhile
      if (this.#accessToken === token) await this.#renew();
      return run(this.#call({ accessToken: this.#accessToken }));
    }
  }

  async #renew() {
    const session = await resumeBrowserSession(this.#call(), { resumeHandle: this.#handle });
    this.#id = session.id;
    this.#use(session);
    return session;
  }

  /** Uses the access token of a reply for nine tenths of its lifetime. */
  #use({ accessToken = null, expiresIn = 0 }) {
    this.#accessToken = accessToken;
    this.#renewAt = this.#options.clock.now() + expiresIn * 900;
  }

  #call(options = {}) {
    return { baseUrl: this.#gateway, fetch: this.#options.fetch, isPage: true, ...options };
  }

  /** The handle or the mark of a session, null if there is none, or undefined where the browser stores none. */
  #stored(storage) {
    try {
      return storage?.getItem(SPA_STORAGE_KEY + this.#gateway);
    } catch {
      return undefined;
    }
  }

  #keep(storage, value) {
    try {
      storage?.setItem(SPA_STORAGE_KEY + this.#gateway, value);
    } catch {
      // full, or refused by the browser's settings: a reloaded page of another site asks for consent again
    }
  }

  #forget() {
    this.#drop(this.#options.storage);
    this.#drop(this.#options.marks);
  }

  /** Removes the handle or the mark of a session. */
  #drop(storage) {
    this.#handle = null;
    this.#use({});
    try {
      storage?.removeItem(SPA_STORAGE_KEY + this.#gateway);
    } catch {
      // refused by the browser's settings
    }
  }
}

/** Whether a refusal shows that this browser has no live session any more. */
function isGone({ action, code }) {
  // unlike an API client, a browser cannot fetch another credential of a session
  return action === "create" || code === "bad.credentials";
}

/** Whether an error leaves open what the gateway did: no answer, one of a proxy, or a fault that passes. */
function isUnknown({ action }) {
  return action === undefined || ["check", "retry", "wait"].includes(action);
}

/** The storage of all pages of this origin, or null where there is none or the browser refuses it. */
function browserStorage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
