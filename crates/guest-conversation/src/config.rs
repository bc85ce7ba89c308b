//! Settings of a session at Genesys Cloud.

use genesys_api::{DeploymentId, Host};
use secrecy::SecretString;
use time::OffsetDateTime;
use web_messaging::{CustomAttributes, DeploymentRules, JourneyContext};

/// A session at Genesys Cloud: its identity, and what a conversation does with it.
#[derive(Clone, Debug)]
pub struct WebMessaging {
    pub(crate) deployment: DeploymentId,
    pub(crate) token: SecretString,
    pub(crate) attributes: CustomAttributes,
    pub(crate) close_mode: CloseMode,
    pub(crate) api: Option<Host>,
    pub(crate) resume_after: Option<OffsetDateTime>,
    pub(crate) jwt: Option<SecretString>,
    pub(crate) rules: DeploymentRules,
    pub(crate) journey: Option<JourneyContext>,
}

impl WebMessaging {
    /// A session of `deployment`. `token` **is** the session: a random UUID made by the caller. Anyone who has it can
    /// read the conversation; the same one resumes it.
    #[must_use]
    pub fn new(deployment: DeploymentId, token: SecretString) -> Self {
        Self {
            deployment,
            token,
            attributes: CustomAttributes::default(),
            close_mode: CloseMode::Leave,
            api: None,
            resume_after: None,
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

    /// Joins as soon as a new session is configured, so that the flow begins before the guest's first message. Only
    /// where the deployment has autostart enabled.
    #[must_use]
    pub fn with_autostart(mut self) -> Self {
        self.rules.autostart = true;
        self
    }

    /// Applies the deployment's configuration.
    #[must_use]
    pub fn with_rules(mut self, rules: DeploymentRules) -> Self {
        self.rules = rules;
        self
    }

    /// Reads the history at this host, `https://api.` and the domain, so that a reconnect loses nothing. Without it,
    /// the delivery of messages that were not acknowledged when a connection was lost stays unknown, and messages to
    /// the guest are missed meanwhile.
    #[must_use]
    pub fn with_history_at(mut self, api: Host) -> Self {
        self.api = Some(api);
        self
    }

    /// Resumes after the last message that an earlier process emitted: its [`Message::at`](crate::Message::at), a time
    /// of the service's clock. Later messages are read in the history and emitted first, in order. Default: 5 s before
    /// the session is configured. It needs [`Self::with_history_at`]; a new session has nothing to resume.
    #[must_use]
    pub fn resume_after(mut self, last: OffsetDateTime) -> Self {
        self.resume_after = Some(last);
        self
    }

    /// Signs the guest in: `jwt` is the result of exchanging the authorization code. It lives for 15 minutes at most
    /// and is needed again by each connection: see
    /// [`ConnectionEvent::TokenNeeded`](crate::ConnectionEvent::TokenNeeded).
    #[must_use]
    pub fn with_jwt(mut self, jwt: SecretString) -> Self {
        self.jwt = Some(jwt);
        self
    }

    /// Sends the pages that led the guest here. It is analytics: only for a guest who has consented.
    #[must_use]
    pub fn with_journey(mut self, journey: JourneyContext) -> Self {
        self.journey = Some(journey);
        self
    }

    /// Sets the effect of ending the conversation; it can be changed later:
    /// [`Conversation::set_close_mode`](crate::Conversation::set_close_mode).
    #[must_use]
    pub fn with_close_mode(mut self, mode: CloseMode) -> Self {
        self.close_mode = mode;
        self
    }
}

/// The effect of ending a conversation at Genesys Cloud.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloseMode {
    /// Clears the conversation: it ends for the agent, and its history is lost. The deployment must allow it
    /// (`conversationClear`); one that does not answers 403, and the conversation is left.
    Clear,
    /// Closes the socket; the conversation lives on and can be resumed with the same token.
    #[default]
    Leave,
}
