/** Options of a REST call. */
export interface CallOptions {
  /** The gateway, such as `https://gateway.example`. */
  baseUrl: string;
  /** The access token of the API client, from `fetchToken`, not the one of a guest. */
  accessToken?: string;
  /**
   * The same in each repetition of one request, such as `crypto.randomUUID()`. A repeated `createSession` or
   * `refreshSession` then brings the same tokens, as long as they are unused.
   */
  idempotencyKey?: string;
  /** `include` for the calls of a page whose credential is the cookie: those of `/spa/session` with `embedding = "same-site"`. */
  credentials?: RequestCredentials;
  /** Whether a page without a backend makes the call: it has the header that the gateway requires then. */
  isPage?: boolean;
  /** Replaces the global `fetch`. */
  fetch?: typeof globalThis.fetch;
  signal?: AbortSignal;
}

/** An error of the gateway. */
export class GuestSessionsError extends Error {
  readonly status: number;
  readonly code: ErrorCode | TokenProblem["error"] | "unknown";
  /** The reaction of a client. */
  readonly action: Action | undefined;
  readonly details: Detail[];
  readonly contextId: string | undefined;
  /** Seconds, at most 300. */
  readonly retryAfter: number | undefined;
}

export interface GuestConversationOptions {
  /**
   * Returns a new access token from the backend of the application, which rotates it by `refreshSession`. `null` ends the
   * conversation. A rejection is retried later. Without this option, an expired token ends the conversation.
   */
  refresh?: (sessionId: string) => Promise<{ accessToken: string } | null>;
  /**
   * Returns a ticket for one socket, in place of the access token. `null` ends the conversation. A rejection is retried later.
   * `SpaClient` sets it.
   */
  ticket?: () => Promise<string | null>;
  /** Makes a request about the session with another credential than the access token. `SpaClient` sets it. */
  authorize?: <T>(run: (options: CallOptions) => Promise<T>) => Promise<T>;
  /** The event to resume after, for a page that was reloaded: `position` of its earlier conversation. */
  position?: Position | null;
  /**
   * Number of failures in a row after which the conversation ends with `unreachable`. Default: without a limit. A
   * connection that lasted 60 s ends the row.
   */
  maxAttempts?: number;
  /**
   * Upper bound of the first backoff, in milliseconds. It doubles with each failure in a row. The lower bound is half of it.
   * Default: 500.
   */
  minDelay?: number;
  /** Upper bound of each backoff, in milliseconds. Default: 30,000. */
  maxDelay?: number;
  /**
   * Keeps the messages without an acknowledgement over a reload, at most 100, by the id of the session. Default:
   * `sessionStorage`. `null` keeps them in memory only.
   */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  /** Replaces the global `fetch`. */
  fetch?: typeof globalThis.fetch;
  /** Replaces the global `WebSocket`. Required where there is none, as in Node 18 and 20. */
  WebSocket?: new (url: string, protocols: string[]) => WebSocketLike;
  /** Replaces `Math.random`. */
  random?: () => number;
  /** Replaces the clock and its timers, in milliseconds. */
  clock?: Clock;
}

/** The last received event: its epoch and number, and the last message of an agent or a bot. It can be stored as JSON. */
export interface Position {
  epoch: string;
  sequence: number;
  messageId?: string;
}

/** The used part of a `WebSocket`. */
export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  send(data: string): void;
  close(code?: number): void;
}

/** A monotonic clock with timers, in milliseconds. */
export interface Clock {
  now(): number;
  setTimeout(run: () => void, delay: number): unknown;
  clearTimeout(timer: unknown): void;
}

/**
 * The delivery status of a message. `queued`: it waits for the connection, or at the gateway for Genesys Cloud. `unknown`: it
 * may have been delivered, and `sent` may follow. `stored`: whether the message survives a reload of the page.
 */
export type Delivery =
  | { id: string; state: "queued" | "sending"; stored: boolean }
  | { id: string; state: "sent"; timestamp: string }
  | { id: string; state: "failed"; code: FailureCode; message: string }
  | { id: string; state: "unknown"; code?: "in.doubt"; message?: string };

/** The end of a conversation. `replaced`: newer sockets of the session took its place. `detail` is the reason of the session's end, or the code of the error. */
export interface Ended {
  cause: "closed" | "misconfigured" | "not-refreshed" | "refused" | "replaced" | "session-ended" | "unreachable";
  detail?: string;
}

export type ConversationState = "idle" | "connecting" | "open" | "reconnecting" | "ended";

/** An event of a conversation. */
export type ConversationUpdate<T> = Event & { readonly detail: T };

export interface GuestConversationEvents {
  accepted: ConversationUpdate<HandshakeAccepted>;
  conversation: ConversationUpdate<Conversation>;
  delivery: ConversationUpdate<Delivery>;
  ended: ConversationUpdate<Ended>;
  /** Messages are missing before the next one. */
  gap: ConversationUpdate<ReplayIncomplete>;
  message: ConversationUpdate<Message>;
  refused: ConversationUpdate<Refused>;
  state: ConversationUpdate<{ state: ConversationState }>;
  typing: ConversationUpdate<Typing>;
}

/**
 * A guest's conversation. It reconnects after a lost connection and ends with the event `ended`. It is an `EventTarget`.
 * Only the listed events are declared, so that the compiler reports a misspelled name.
 */
export class GuestConversation {
  constructor(session: Pick<Session, "id" | "websocketUrl"> & { accessToken?: string }, options?: GuestConversationOptions);
  readonly state: ConversationState;
  readonly position: Position | null;
  /** The messages without an acknowledgement, oldest first, with those from before a reload of the page. */
  readonly unacknowledged: ({ id: string; state: "queued" | "sending" } & ({ text?: string; attachments?: string[] } | { content: GuestAnswer["content"] }))[];
  /** The rules of the session for files, or null if none can be attached now. The event `conversation` reports a change. */
  readonly attachmentRules: AttachmentRules | null;
  connect(): void;
  /** Connects at once: without waiting for the next attempt, or again after an end by `closed`, `replaced` or `unreachable`. */
  reconnect(): void;
  /** Closes the conversation. The session stays: only the backend can end it. */
  close(): void;
  /**
   * Sends a text of at most 4,096 bytes, or the content of an answer as `unacknowledged` lists it. `attachments` are ids of
   * `attach`, at most 10: with them the text may be empty. Returns the id, which `delivery` events name with its status.
   */
  send(message: string | { content: GuestAnswer["content"] }, options?: { attachments?: string[] }): string;
  /**
   * Uploads a file, and returns the id for `send`. `onProgress` gets the number of bytes that were sent: the gateway then passes
   * the file to Genesys. `signal` cancels the upload. A refusal is a `GuestSessionsError`.
   */
  attach(file: File, options?: { onProgress?: (bytes: number) => void; signal?: AbortSignal }): Promise<string>;
  /** Deletes an uploaded file that was not sent. */
  deleteAttachment(id: string): Promise<void>;
  /** Returns a fresh download link of a file of either side. It works for about ten minutes, for anyone who has it. */
  attachmentUrl(id: string): Promise<string>;
  /**
   * Answers a message with one or several of its choices. `payload` is that of a quick reply or of a card's action, the
   * `dateTime` of a time, or the `id` of a list's item. Returns the id of the answer.
   */
  choose(message: Pick<Message, "id">, type: Answer["type"], ...choices: Pick<Answer, "text" | "payload">[]): string;
  /**
   * Answers a form of a message: `fields` has by the id of each field its text, or the choices in it. Returns the id of the
   * answer.
   */
  submit(
    message: Pick<Message, "id">,
    form: Pick<Form, "cannedResponseId">,
    fields: Record<string, string | Pick<Answer, "text" | "payload">[]>,
  ): string;
  /**
   * Reads the conversation: a page of at most 50 messages, newest first, or the messages from one on, oldest first, at most
   * the newest 200. `nextPage` is the next older page, with `from` if older messages belong to the answer. Genesys allows ten
   * pages in a minute: `retryAfter` of the error. `shown`: whether the client emitted or returned the message before.
   */
  history(query?: { page?: number } | { from: string }): Promise<{ messages: (HistoryMessage & { shown: boolean })[]; nextPage?: number }>;
  /**
   * Signs the guest in with the authorization code that the identity provider sent the guest back with. Compare its `state`
   * before. The conversation goes on, and the event `conversation` has `signedIn`. A code works once: a refusal is a
   * `GuestSessionsError`, and the guest has to sign in again. If the sign-in is lost later, the event has the outage
   * `sign.in.lost`, and messages wait for another one.
   */
  signIn(authorization: SignIn): Promise<void>;
  /** Signs the guest out everywhere. The session ends: its conversation cannot go on anonymously. */
  signOut(): Promise<void>;
  /** Starts a new conversation after a read-only one. The event `conversation` offers it as the action `start_new`. */
  startNew(): void;
  /** Clears the conversation: it ends, and its history is deleted. `conversation` offers it as the action `clear`. */
  clear(): void;
  /** Sends a typing indicator. Call it at every key: its rate is limited. */
  typing(): void;
  addEventListener<K extends keyof GuestConversationEvents>(
    type: K,
    listener: (event: GuestConversationEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof GuestConversationEvents>(
    type: K,
    listener: (event: GuestConversationEvents[K]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
}

export interface SpaClientOptions {
  /** Returns an assertion of the app's backend about the guest, for each creation of a session. */
  assertion?: () => Promise<string>;
  /** Keeps the resume handle of a page of another site. Default: `sessionStorage`. `null`: a reload asks for consent again. */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  /**
   * Keeps the id of a session whose cookie this browser has. Default: `localStorage`. `null`, or a browser that refuses it:
   * every page asks the gateway, and a browser without a session shows the refusal in its console.
   */
  marks?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  /** Replaces the global `fetch`. */
  fetch?: typeof globalThis.fetch;
  /** Replaces the global `WebSocket`. */
  WebSocket?: GuestConversationOptions["WebSocket"];
  /** Replaces the clock and its timers, in milliseconds. */
  clock?: Clock;
  /** Decides which tab reads the event stream for all. Default: `navigator.locks`. `null`: each tab reads its own. */
  locks?: LockManager | null;
}

/** The session of this browser at a gateway with `[spa]`, for a page without a backend. */
export class SpaClient {
  constructor(gateway: string, options?: SpaClientOptions);
  /** Returns the session that an earlier page of this browser created, or `null` if there is none. */
  resume(): Promise<BrowserSession | null>;
  /** Creates a session after the guest's choices of consent. Throws a `GuestSessionsError` if the gateway refuses. */
  create(consent: ConsentChoices, guestAttributes?: GuestAttributes): Promise<BrowserSession>;
  /**
   * The conversation of a session. It fetches a ticket for each socket. After two WebSockets in a row that could not be opened
   * it uses event streams, and tries a WebSocket again at a connection ten minutes later. Call `connect()`.
   */
  conversation(session: BrowserSession, options?: GuestConversationOptions): GuestConversation;
  /** Changes the consent of the session. Absent purposes stay unchanged. */
  changeConsent(choices: ChangeConsent): Promise<BrowserSession>;
  /** Withdraws every agreement, in one call. It takes effect at once. */
  withdrawConsent(): Promise<BrowserSession>;
  /** Signs the guest of the session in, as `GuestConversation.signIn`. Call it after `resume` or `create`. */
  signIn(authorization: SignIn): Promise<void>;
  /** Signs the guest out everywhere, which ends the session. */
  signOut(): Promise<void>;
  /** Ends the session. Its conversations end too. */
  end(): Promise<void>;
}
