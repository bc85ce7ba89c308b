export * from "./guest-sessions.js";
import type { ConversationState, Ended, GuestConversation, Message, SignIn } from "./guest-sessions.js";

/** A purpose of consent. */
export type Purpose = "analytics" | "marketing" | "personalization";

/** The choice of the guest for each purpose that was asked for. */
export type Choices = Partial<Record<Purpose, boolean>>;

/** Data of a session, from the backend of the page. */
export interface ChatSession {
  guestSessionId: string;
  accessToken: string;
  /** The gateway, such as `https://gateway.example`. Not needed with `websocketUrl`. */
  gateway?: string;
  /** Default: the socket of the session at `gateway`. */
  websocketUrl?: string;
  /** As the option `refresh` of `GuestConversation`. */
  refresh?: (sessionId: string) => Promise<{ accessToken: string } | null>;
}

/**
 * Returns the session of the guest. It is called with `null` first, and returns `null` if there is no session to resume. The
 * guest then chooses, and it is called with the choices.
 */
export type OpenSession = (choices: Choices | null) => Promise<ChatSession | GuestConversation | null>;

export interface ChatOptions {
  /** Ends the session. Without it the guest has no such button. */
  end?: () => Promise<void> | void;
  /** Stores changed choices. Without it the guest has no such button. */
  changeConsent?: (choices: Choices) => Promise<void> | void;
  /** Withdraws every agreement, for the button that does so in one step. Default: `changeConsent` with `false` for each purpose. */
  withdrawConsent?: () => Promise<void> | void;
}

/** The texts. `TEXTS` in guest-chat.js is the list. `{name}` and other words in braces are replaced. */
export interface ChatTexts {
  purposes?: Partial<Record<Purpose, { name: string; detail?: string }>>;
  [name: string]: string | ChatTexts["purposes"];
}

export interface GuestChatEvents {
  "guest-chat-ended": CustomEvent<Ended>;
  "guest-chat-error": CustomEvent<{ error: unknown }>;
  "guest-chat-message": CustomEvent<{ message: Message }>;
  /** `lost`: Genesys no longer accepts the sign-in of the guest, who can sign in again. */
  "guest-chat-sign-in": CustomEvent<{ state: "lost" | "signed_in" | "signed_out" }>;
  "guest-chat-state": CustomEvent<{ state: ConversationState }>;
}

/**
 * The element `<guest-chat>`. Attributes: `gateway` (a gateway that serves pages without a backend: the chat starts by itself),
 * `region` (jurisdiction of the guest, with `gateway`), `heading`, `theme` (`light` or `dark`; default: the system's), `privacy-url`,
 * `purposes` (names separated by spaces; default: all three), `lang`, `dir`.
 */
export class GuestChat extends HTMLElement {
  /** The texts in use. Assigned ones replace those of the same name. */
  get texts(): Readonly<ChatTexts>;
  set texts(texts: ChatTexts);
  readonly conversation: GuestConversation | null;
  /** Returns an assertion of the app's backend about the guest, for each session that is created at `gateway`. */
  assertion?: () => Promise<string>;
  /**
   * Signs the guest in with the authorization code that the identity provider sent the guest back with, once there is a
   * session. Compare its `state` before. The event `guest-chat-sign-in` reports it. A refusal is a `GuestSessionsError`.
   */
  signIn(authorization: SignIn): Promise<void>;
  /** Signs the guest out everywhere, which ends the session. */
  signOut(): Promise<void>;
  /** Starts the chat, in place of one that runs. */
  start(source: ChatSession | GuestConversation | OpenSession, options?: ChatOptions): Promise<void>;
  addEventListener<K extends keyof GuestChatEvents>(
    type: K,
    listener: (this: GuestChat, event: GuestChatEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "guest-chat": GuestChat;
  }
}
