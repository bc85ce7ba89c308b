//! Reasons for the end of a session.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Reasons for the end of a session.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "labels are a closed set: figures are kept by reason"
)]
pub enum EndReason {
    /// The agent, a bot or a flow ended the conversation.
    Agent,
    /// Consent was withdrawn, and the policy does not let the session go on without it.
    ConsentWithdrawn,
    /// Something failed for good on our side.
    Error,
    /// Its time was over, or nobody used it any more.
    Expired,
    /// The guest, or the application on the guest's behalf, ended it.
    Guest,
    /// Genesys closed it for good.
    ServerClosed,
}

impl EndReason {
    /// Every reason, in alphabetical order.
    pub const ALL: [Self; 6] = [
        Self::Agent,
        Self::ConsentWithdrawn,
        Self::Error,
        Self::Expired,
        Self::Guest,
        Self::ServerClosed,
    ];

    /// Its name in JSON, in a label and in a store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::ConsentWithdrawn => "consent_withdrawn",
            Self::Error => "error",
            Self::Expired => "expired",
            Self::Guest => "guest",
            Self::ServerClosed => "server_closed",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EndReason {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.name() == text)
            .ok_or(UnknownName { what: "end reason" })
    }
}

/// The text names no member of a closed set. It is not repeated: it may be anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownName {
    what: &'static str,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not the name of any {}: see its constant ALL for those there are",
            self.what
        )
    }
}

impl std::error::Error for UnknownName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_in_json_in_text_and_back() {
        for reason in EndReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
            assert_eq!(reason.name().parse(), Ok(reason));
        }
        assert_eq!(
            "Guest".parse::<EndReason>().unwrap_err().to_string(),
            "not the name of any end reason: see its constant ALL for those there are"
        );
    }

    #[test]
    fn the_sets_are_indexed_in_order() {
        assert!(
            EndReason::ALL
                .iter()
                .enumerate()
                .all(|(i, reason)| *reason as usize == i)
        );
    }
}
