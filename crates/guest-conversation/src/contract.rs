//! The two contracts that a conversation can be held under. Which one is configuration, never guessed.

use genesys_api::{DeploymentId, Host, SessionId};
use secrecy::SecretString;
use time::OffsetDateTime;

use guest_sessions::TokenPlacement;
use web_messaging::DeploymentRules;
use web_messaging::{CustomAttributes, JourneyContext};

/// Whose frames a conversation speaks.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "made once for each conversation, which keeps it on the heap"
)]
pub enum Contract {
    /// Ours, served by `guest-gateway`.
    GuestSessions(GuestSessions),
    /// Genesys Cloud's own.
    WebMessaging(WebMessaging),
}

/// A session at the gateway.
#[derive(Clone, Debug)]
pub struct GuestSessions {
    pub(crate) session: SessionId,
    pub(crate) access_token: SecretString,
    pub(crate) placement: TokenPlacement,
    pub(crate) last_sequence: Option<u64>,
}

impl GuestSessions {
    /// A session and its access token, which travels in the first frame.
    #[must_use]
    pub fn new(session: SessionId, access_token: SecretString) -> Self {
        Self {
            session,
            access_token,
            placement: TokenPlacement::Frame,
            last_sequence: None,
        }
    }

    /// Puts the token elsewhere.
    #[must_use]
    pub fn with_token_in(mut self, placement: TokenPlacement) -> Self {
        self.placement = placement;
        self
    }

    /// Goes on after the event of this number, which an earlier process read last.
    #[must_use]
    pub fn resuming_after(mut self, last_sequence: u64) -> Self {
        self.last_sequence = Some(last_sequence);
        self
    }
}

/// A session at Genesys Cloud.
#[derive(Clone, Debug)]
pub struct WebMessaging {
    pub(crate) deployment: DeploymentId,
    pub(crate) token: SecretString,
    pub(crate) attributes: CustomAttributes,
    pub(crate) farewell: Farewell,
    pub(crate) api: Option<Host>,
    pub(crate) heard_until: Option<OffsetDateTime>,
    pub(crate) jwt: Option<SecretString>,
    pub(crate) rules: DeploymentRules,
    pub(crate) journey: Option<JourneyContext>,
}

impl WebMessaging {
    /// A session of `deployment`. `token` **is** the session: a random UUID made by the caller. Whoever has it reads
    /// the conversation; the same one resumes it.
    #[must_use]
    pub fn new(deployment: DeploymentId, token: SecretString) -> Self {
        Self {
            deployment,
            token,
            attributes: CustomAttributes::default(),
            farewell: Farewell::Leave,
            api: None,
            heard_until: None,
            jwt: None,
            rules: DeploymentRules::default(),
            journey: None,
        }
    }

    /// Sends these with each message until the first one is accepted, and again to a new session. They can be
    /// replaced later: [`Conversation::update_attributes`](crate::Conversation::update_attributes).
    #[must_use]
    pub fn with_attributes(mut self, attributes: CustomAttributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// Joins as soon as a new session is configured, so that the flow begins before the guest says anything. Only
    /// where the deployment has autostart enabled.
    #[must_use]
    pub fn with_autostart(mut self) -> Self {
        self.rules.autostart = true;
        self
    }

    /// Obeys the deployment's configuration.
    #[must_use]
    pub fn obeying(mut self, rules: DeploymentRules) -> Self {
        self.rules = rules;
        self
    }

    /// Reads the history at this host, `https://api.` and the domain, so that a reconnect loses nothing. Without it,
    /// what was sent and not acknowledged when a connection was lost stays in doubt, and what was said meanwhile is
    /// missed.
    #[must_use]
    pub fn with_history_at(mut self, api: Host) -> Self {
        self.api = Some(api);
        self
    }

    /// Goes on after what an earlier process heard: the [`Message::at`](crate::Message::at) of the last message that it
    /// told, a time of the service's clock and never of one's own. What came later is read in the history and told
    /// first, in order. Default: 5 s before the session is configured. It needs [`Self::with_history_at`], and a new
    /// session has nothing to go on after.
    #[must_use]
    pub fn resuming_after(mut self, last: OffsetDateTime) -> Self {
        self.heard_until = Some(last);
        self
    }

    /// The guest is signed in: `jwt` is what the exchange of the authorization code gave. It lives for 15 minutes at
    /// most and is needed again by each connection: see [`Event::TokenNeeded`](crate::Event::TokenNeeded).
    #[must_use]
    pub fn signed_in(mut self, jwt: SecretString) -> Self {
        self.jwt = Some(jwt);
        self
    }

    /// Tells what led the guest here. It is analytics: only for a guest who has consented.
    #[must_use]
    pub fn with_journey(mut self, journey: JourneyContext) -> Self {
        self.journey = Some(journey);
        self
    }

    /// What ending the conversation means; it can be changed later:
    /// [`Conversation::set_farewell`](crate::Conversation::set_farewell).
    #[must_use]
    pub fn with_farewell(mut self, farewell: Farewell) -> Self {
        self.farewell = farewell;
        self
    }
}

/// What the end of a conversation means at Genesys Cloud.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Farewell {
    /// Clears the conversation: it ends for the agent, and its history is lost. The deployment must allow it
    /// (`conversationClear`); one that does not answers 403, and the conversation is left.
    Clear,
    /// Closes the socket; the conversation lives on and can be resumed with the same token.
    #[default]
    Leave,
}
