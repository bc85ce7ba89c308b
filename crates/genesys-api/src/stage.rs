//! Stages of a guest session.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// The furthest point that a session has reached. Later stages are greater.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "the funnel is closed: figures are kept by stage"
)]
pub enum SessionStage {
    /// The session exists.
    Created,
    /// The guest's socket is open and its handshake arrived.
    Connected,
    /// Genesys has configured the session, so that messages can pass.
    Configured,
    /// A message of the guest was acknowledged.
    FirstGuestMessage,
    /// An agent or a bot replied after that. A greeting sent before the guest's first message is not a reply.
    FirstReply,
}

impl SessionStage {
    /// Every stage, in order.
    pub const ALL: [Self; 5] = [
        Self::Created,
        Self::Connected,
        Self::Configured,
        Self::FirstGuestMessage,
        Self::FirstReply,
    ];

    /// The stage's name in JSON, in a label and in a store, as in `first_reply`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Connected => "connected",
            Self::Configured => "configured",
            Self::FirstGuestMessage => "first_guest_message",
            Self::FirstReply => "first_reply",
        }
    }
}

impl fmt::Display for SessionStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The `state` of a session in the `guest-sessions` contract: its stage while it is live.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a session is live or ended")]
pub enum SessionState {
    /// The session is live.
    Live(SessionStage),
    /// The session has ended.
    Ended,
}

impl SessionState {
    /// The contract's word for the state, as in `conversing`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live(SessionStage::FirstGuestMessage) => "conversing",
            Self::Live(SessionStage::FirstReply) => "answered",
            Self::Live(stage) => stage.name(),
            Self::Ended => "ended",
        }
    }
}

impl Serialize for SessionState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SessionState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let live = SessionStage::ALL.into_iter().map(Self::Live);
        live.chain([Self::Ended])
            .find(|state| state.as_str() == word)
            .ok_or_else(|| D::Error::custom("unknown session state"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stage_has_one_name_in_json_and_text() {
        for stage in SessionStage::ALL {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        }
    }

    #[test]
    fn stages_are_indexed_in_order() {
        let mut stages = SessionStage::ALL.iter().enumerate();
        assert!(stages.all(|(at, stage)| *stage as usize == at));
        assert!(SessionStage::ALL.is_sorted());
    }

    #[test]
    fn state_round_trips_and_unknown_word_is_refused() {
        let words = SessionStage::ALL.map(|stage| SessionState::Live(stage).as_str());
        assert_eq!(
            words,
            ["created", "connected", "configured", "conversing", "answered"]
        );
        for state in SessionStage::ALL
            .map(SessionState::Live)
            .into_iter()
            .chain([SessionState::Ended])
        {
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<SessionState>(&json).unwrap(), state);
        }
        assert!(serde_json::from_str::<SessionState>("\"first_reply\"").is_err());
    }
}
