//! The kinds of losses and endings, without their texts.

use crate::conversation::event::{Ending, Loss};

/// The kind of an [`Ending`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndingCause {
    /// We ended it.
    ByUs,
    /// The service closed the connection for good.
    ClosedByServer,
    /// The guest was logged out.
    LoggedOut,
    /// The service refused the session, by this code if it was a number.
    Rejected(Option<u16>),
    /// The upgrade was refused, with this HTTP status.
    Refused(u16),
    /// The session was ended elsewhere.
    SessionEnded,
    /// The session's lifetime has passed.
    SessionExpired,
    /// The guest must sign in: the token was refused, and no other was given.
    SignInNeeded,
}

impl From<&Ending> for EndingCause {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::AuthorizationRequired(_) => Self::SignInNeeded,
            Ending::ByUs => Self::ByUs,
            Ending::ClosedByServer { .. } => Self::ClosedByServer,
            Ending::LoggedOut => Self::LoggedOut,
            Ending::Rejected(refusal) => Self::Rejected(refusal.code.parse().ok()),
            Ending::Refused { status } => Self::Refused(*status),
            Ending::SessionEnded { .. } => Self::SessionEnded,
            Ending::SessionExpired => Self::SessionExpired,
        }
    }
}

/// The kind of a [`Loss`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LossCause {
    /// The application asked for a new connection.
    Asked,
    /// It closed, with this code, or could not be made.
    Closed(Option<u16>),
    /// No answer came in time.
    NoAnswer,
    /// Events were not read.
    Overrun,
    /// The upgrade was refused, with this HTTP status.
    Refused(u16),
    /// The session could not be configured, by this code if it was a number.
    Rejected(Option<u16>),
    /// Two pings were not answered.
    Silent,
}

impl From<&Loss> for LossCause {
    fn from(loss: &Loss) -> Self {
        match loss {
            Loss::Asked => Self::Asked,
            Loss::Closed(close) => Self::Closed(close.code()),
            Loss::NoAnswer => Self::NoAnswer,
            Loss::Overrun => Self::Overrun,
            Loss::Refused { status } => Self::Refused(*status),
            Loss::Rejected(refusal) => Self::Rejected(refusal.code.parse().ok()),
            Loss::Silent => Self::Silent,
        }
    }
}
