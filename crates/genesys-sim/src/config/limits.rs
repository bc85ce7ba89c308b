//! Rate limits, with the numbers of Genesys (Developer Center, "Limits").

use genesys_api::limits;

/// Rate limits. `None` switches a limit off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// `messages.per.session.rate.per.second`: messages and presence events; typing is not counted (inference).
    pub messages_per_second: Option<u32>,
    /// `requests.per.connection.rate.per.minute`: frames of any kind on one socket.
    pub requests_per_minute: Option<u32>,
    /// `configure.per.session.rate.per.minute`.
    pub configures_per_minute: Option<u32>,
    /// `health.check.per.connection.rate.per.minute`: the action `echo`.
    pub echoes_per_minute: Option<u32>,
    /// `get.history.rate.per.minute`, for each session.
    pub histories_per_minute: Option<u32>,
    /// `connections.rate.per.minute`: new sockets of the deployment. The answer, HTTP 429, is an inference.
    pub connections_per_minute: Option<u32>,
    /// `client.credentials.token.rate.per.minute`, for each client.
    pub tokens_per_minute: Option<u32>,
    /// `token.rate.per.minute` and the like: calls of the platform API, for each access token and each client.
    pub api_requests_per_minute: Option<u32>,
    /// `exchange.token.rate.per.minute`, and those for `refresh` and `revoke`: each of the three. The number is a
    /// user's, not Genesys'.
    pub sign_ins_per_minute: Option<u32>,
}

impl Limits {
    /// No limit at all, for load tests.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            messages_per_second: None,
            requests_per_minute: None,
            configures_per_minute: None,
            echoes_per_minute: None,
            histories_per_minute: None,
            connections_per_minute: None,
            tokens_per_minute: None,
            api_requests_per_minute: None,
            sign_ins_per_minute: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages_per_second: Some(limits::MESSAGES_PER_SECOND),
            requests_per_minute: Some(limits::REQUESTS_PER_MINUTE),
            configures_per_minute: Some(limits::CONFIGURES_PER_MINUTE),
            echoes_per_minute: Some(limits::ECHOES_PER_MINUTE),
            histories_per_minute: Some(limits::HISTORIES_PER_MINUTE),
            connections_per_minute: Some(limits::CONNECTIONS_PER_MINUTE),
            tokens_per_minute: Some(limits::TOKENS_PER_MINUTE),
            api_requests_per_minute: Some(limits::CALLS_PER_MINUTE),
            sign_ins_per_minute: Some(limits::SIGN_INS_PER_MINUTE),
        }
    }
}
