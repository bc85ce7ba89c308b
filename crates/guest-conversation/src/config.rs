//! Settings of a session at Genesys Cloud.

use std::time::Duration;

use genesys_api::{DeploymentId, Host};
use secrecy::SecretString;
use time::OffsetDateTime;
use web_messaging::{CustomAttributes, DeploymentRules, JourneyContext};

/// Longest time for which a message waits to be sent, unless another one is set: 10 minutes. Our choice.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(600);

/// A session at Genesys Cloud. [`WebMessaging::new`] has the defaults of all other fields.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "plain settings, made by the application"
)]
pub struct WebMessaging {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The session itself: a random UUID made by the caller. Its holder can read the conversation and resume it.
    pub token: SecretString,
    /// Attributes that are sent with each message until one is accepted, and again to a new session. They can be
    /// replaced: [`Conversation::update_attributes`](crate::Conversation::update_attributes). Default: none.
    pub attributes: CustomAttributes,
    /// Effect of ending the conversation, until
    /// [`Conversation::set_close_mode`](crate::Conversation::set_close_mode) changes it.
    pub close_mode: CloseMode,
    /// Host of the history, `https://api.` and the domain. Without it, a lost connection loses messages to the guest,
    /// and the delivery of unacknowledged messages stays unknown. Default: none.
    pub api: Option<Host>,
    /// [`Message::at`](crate::Message::at) of the last message that an earlier process emitted. Later ones are read in
    /// the history and emitted first, in order. It needs [`Self::api`]. Default: 5 s before the session is configured.
    pub resume_after: Option<OffsetDateTime>,
    /// Id of the message that was delivered last: with it, later messages of the same time are delivered, too.
    pub resume_message: Option<String>,
    /// Result of exchanging the authorization code of a signed-in guest. It is valid for 15 minutes at most, and each
    /// connection needs it: see [`ConnectionEvent::TokenNeeded`](crate::ConnectionEvent::TokenNeeded). Default: none.
    pub jwt: Option<SecretString>,
    /// Longest time from the sending of a message until it is written to a socket. One that waits longer fails. Default:
    /// [`QUEUE_TIMEOUT`].
    pub queue_timeout: Duration,
    /// Whether a refused deployment, origin or request is tried again, each minute, for as long as the conversation is
    /// open: an administrator may correct it. A conversation whose guest's sign-in is refused waits for another one:
    /// [`ConnectionEvent::SignInLost`](crate::ConnectionEvent::SignInLost). Default: no, the conversation ends.
    pub retry_refusals: bool,
    /// Configuration of the deployment. Default: see [`DeploymentRules`].
    pub rules: DeploymentRules,
    /// Pages that led the guest here. They are analytics: only for a guest who has consented. A signed-in guest's journey
    /// is not sent here but with the exchange of the code (`rest::sign_in::Exchange`). Default: none.
    pub journey: Option<JourneyContext>,
}

impl WebMessaging {
    /// A session of `deployment` under `token`.
    #[must_use]
    pub fn new(deployment: DeploymentId, token: SecretString) -> Self {
        Self {
            deployment,
            token,
            attributes: CustomAttributes::default(),
            close_mode: CloseMode::Leave,
            api: None,
            resume_after: None,
            resume_message: None,
            jwt: None,
            queue_timeout: QUEUE_TIMEOUT,
            retry_refusals: false,
            rules: DeploymentRules::default(),
            journey: None,
        }
    }
}

/// The effect of ending a conversation at Genesys Cloud.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloseMode {
    /// Clears the conversation: it ends for the agent, and its history is lost. The deployment must allow it
    /// (`conversationClear`); one that does not answers 403, and the conversation is left.
    Clear,
    /// Closes the socket; the conversation continues and can be resumed with the same token.
    #[default]
    Leave,
}
