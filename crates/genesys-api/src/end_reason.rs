//! Reasons for the end of a session.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Reasons for the end of a session.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "figures are kept by reason")]
pub enum EndReason {
    /// The agent, a bot or a flow ended the conversation.
    Agent,
    /// Consent was withdrawn, and the policy requires it.
    ConsentWithdrawn,
    /// A permanent error of the service.
    Error,
    /// The lifetime or the idle timeout passed.
    Expired,
    /// The guest, or the application on the guest's behalf, ended it.
    Guest,
    /// Genesys closed it permanently.
    ServerClosed,
    /// The guest signed out.
    SignedOut,
    /// An invalid token of the session was used, so that it may be stolen.
    TokenReuse,
}

impl EndReason {
    /// Every reason, in alphabetical order.
    pub const ALL: [Self; 8] = [
        Self::Agent,
        Self::ConsentWithdrawn,
        Self::Error,
        Self::Expired,
        Self::Guest,
        Self::ServerClosed,
        Self::SignedOut,
        Self::TokenReuse,
    ];

    /// The reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// The name in JSON, in a label and in a store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::ConsentWithdrawn => "consent_withdrawn",
            Self::Error => "error",
            Self::Expired => "expired",
            Self::Guest => "guest",
            Self::ServerClosed => "server_closed",
            Self::SignedOut => "signed_out",
            Self::TokenReuse => "token_reuse",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_reason_name_equals_json() {
        for reason in EndReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
            assert_eq!(EndReason::from_name(reason.name()), Some(reason));
            assert_eq!(
                serde_json::from_value::<EndReason>(reason.name().into()).unwrap(),
                reason
            );
        }
    }

    #[test]
    fn end_reasons_are_indexed_in_order() {
        let mut reasons = EndReason::ALL.iter().enumerate();
        assert!(reasons.all(|(i, reason)| *reason as usize == i));
    }
}
