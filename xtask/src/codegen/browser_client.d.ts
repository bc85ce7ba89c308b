/** How a REST call is made. */
export interface CallOptions {
  /** The gateway, such as `https://gateway.example`. */
  baseUrl: string;
  /** The API client's token, from `fetchToken`. Not a guest's. */
  accessToken?: string;
  /** In place of the global `fetch`. */
  fetch?: typeof globalThis.fetch;
  signal?: AbortSignal;
}

/** A refusal of the gateway. */
export class GuestSessionsError extends Error {
  readonly status: number;
  readonly code: ErrorCode | TokenProblem["error"] | "unknown";
  /** What to do about it. */
  readonly action: Action | undefined;
  readonly details: Detail[];
  readonly contextId: string | undefined;
  /** Seconds. */
  readonly retryAfter: number | undefined;
}

export interface GuestConversationOptions {
  /**
   * Gets the session's new access token from the application's backend, which rotates it by `refreshSession`. `null`
   * ends the conversation; a rejection is tried again later. Without it, a token that has expired ends it.
   */
  renew?: (sessionId: string) => Promise<{ accessToken: string } | null>;
  /** To hear what came after this event, when a page was reloaded. */
  lastSequence?: number;
  /** Failures in a row after which it ends; 10 if not given. */
  attempts?: number;
  /** The first pause is at most this long, in milliseconds; 500 if not given. It doubles. */
  shortest?: number;
  /** No pause is longer, in milliseconds; 30,000 if not given. */
  longest?: number;
  /** In place of `Math.random`. */
  random?: () => number;
  /** In place of the global `WebSocket`. */
  WebSocket?: typeof globalThis.WebSocket;
}

/** What became of a message. A doubtful one may have arrived. */
export type Delivery =
  | { id: string; state: "sending" }
  | { id: string; state: "delivered"; timestamp: string }
  | { id: string; state: "failed"; code: FailureCode; message: string }
  | { id: string; state: "doubtful"; code?: "in.doubt"; message?: string };

/** Why a conversation ended for good: `replaced` by newer sockets of the same session. `detail` is the reason of the session's end, or the code of the refusal. */
export interface Ended {
  cause: "closed" | "misconfigured" | "not-renewed" | "refused" | "replaced" | "session-ended" | "unreachable";
  detail?: string;
}

export type ConversationState = "idle" | "connecting" | "open" | "waiting" | "ended";

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
 * One guest's conversation. It comes back by itself after a lost connection, and ends for good with `ended`. It is an
 * `EventTarget`; only the events of the list are declared, so that a misspelt name is found.
 */
export class GuestConversation {
  constructor(session: Pick<Session, "id" | "websocketUrl" | "accessToken">, options?: GuestConversationOptions);
  readonly state: ConversationState;
  readonly lastSequence: number | null;
  connect(): void;
  /** Leaves. The session stays: only the backend can end it. */
  close(): void;
  /** Says something, and gives the id under which `delivery` tells what became of it. At most 4,096 bytes. */
  send(text: string): string;
  /** The guest is typing. Call it at every key: it is paced. */
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
