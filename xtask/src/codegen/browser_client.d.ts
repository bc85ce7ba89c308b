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
  /** Seconds. */
  readonly retryAfter: number | undefined;
}

export interface GuestConversationOptions {
  /**
   * Returns a new access token from the backend of the application, which rotates it by `refreshSession`. `null` ends the
   * conversation. A rejection is retried later. Without this option, an expired token ends the conversation.
   */
  refresh?: (sessionId: string) => Promise<{ accessToken: string } | null>;
  /** The sequence number to resume after, for a page that was reloaded. */
  lastSequence?: number;
  /** Number of failures in a row after which the conversation ends. Default: 10. */
  maxAttempts?: number;
  /** Upper bound of the first backoff, in milliseconds. It doubles with each failure. Default: 500. */
  minDelay?: number;
  /** Upper bound of each backoff, in milliseconds. Default: 30,000. */
  maxDelay?: number;
  /** Replaces `Math.random`. */
  random?: () => number;
  /** Replaces the global `WebSocket`. */
  WebSocket?: typeof globalThis.WebSocket;
}

/** The delivery status of a message. `unknown`: it may have been delivered. */
export type Delivery =
  | { id: string; state: "sending" }
  | { id: string; state: "delivered"; timestamp: string }
  | { id: string; state: "failed"; code: FailureCode; message: string }
  | { id: string; state: "unknown"; code?: "in.doubt"; message?: string };

/** The end of a conversation. `replaced`: newer sockets of the session took its place. `detail` is the reason of the session's end, or the code of the error. */
export interface Ended {
  cause: "closed" | "misconfigured" | "not-refreshed" | "refused" | "replaced" | "session-ended" | "unreachable";
  detail?: string;
}

export type ConversationState = "idle" | "connecting" | "open" | "reconnecting" | "ended";

export interface GuestConversationEvents {
  accepted: CustomEvent<HandshakeAccepted>;
  delivery: CustomEvent<Delivery>;
  ended: CustomEvent<Ended>;
  event: CustomEvent<ConversationEvent>;
  message: CustomEvent<Message>;
  refused: CustomEvent<Refused>;
  state: CustomEvent<{ state: ConversationState }>;
  typing: CustomEvent<Typing>;
}

/**
 * A guest's conversation. It reconnects after a lost connection and ends with the event `ended`. It is an `EventTarget`.
 * Only the listed events are declared, so that the compiler reports a misspelled name.
 */
export class GuestConversation {
  constructor(session: Pick<Session, "id" | "websocketUrl" | "accessToken">, options?: GuestConversationOptions);
  readonly state: ConversationState;
  readonly lastSequence: number | null;
  connect(): void;
  /** Closes the conversation. The session stays: only the backend can end it. */
  close(): void;
  /** Sends a message of at most 4,096 bytes. Returns its id, which `delivery` events name with its status. */
  send(text: string): string;
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
