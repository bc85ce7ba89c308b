//! The measured times, and the outcomes of refreshes.

/// A measured time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Timing {
    /// From the creation of a session to its end.
    Lifetime,
    /// From the guest's first message to the first reply.
    FirstReply,
    /// From the guest's first connection to a configured session.
    Connect,
    /// From the request of a refresh to its answer.
    Refresh,
    /// From the acceptance of a guest's message to its acknowledgement.
    Delivery,
}

impl Timing {
    pub(crate) const ALL: [Self; 5] = [
        Self::Lifetime,
        Self::FirstReply,
        Self::Connect,
        Self::Refresh,
        Self::Delivery,
    ];

    /// The name in a store. Refreshes and deliveries are no steps of a journey, so that no store has them.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lifetime => "duration",
            Self::FirstReply => "reply_time",
            Self::Connect => "connect_time",
            Self::Refresh => "refresh",
            Self::Delivery => "delivery",
        }
    }
}

/// The outcome of a refresh of a session's tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a label has a closed set of values")]
pub enum RefreshOutcome {
    /// New tokens.
    Refreshed,
    /// The same tokens again, after a lost answer.
    Replayed,
    /// Refused: the token is unknown, used, or the session has ended.
    Refused,
    /// A token that is no longer valid was used, which ended the session.
    Reused,
    /// The store failed.
    Failed,
}

impl RefreshOutcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Refreshed,
        Self::Replayed,
        Self::Refused,
        Self::Reused,
        Self::Failed,
    ];

    /// The name in a label, as in `refreshed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refreshed => "refreshed",
            Self::Replayed => "replayed",
            Self::Refused => "refused",
            Self::Reused => "reused",
            Self::Failed => "failed",
        }
    }
}
