//! Actions: a closed list, so that a report over the log can be complete.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// An action that is logged. Its name in an entry is dotted, as in `consent.withdrawn`.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
        #[non_exhaustive]
        pub enum Action {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Action {
            /// Every action, in the order of the names.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The dotted name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

actions! {
    /// A caller was known, but may not do what they asked for.
    AccessDenied = "access.denied";
    /// The log was closed in good order.
    AuditClosed = "audit.closed";
    /// The log, or a part of it, was written to a file.
    AuditExported = "audit.exported";
    /// The log was opened.
    AuditOpened = "audit.opened";
    /// Entries were read.
    AuditRead = "audit.read";
    /// The log was opened after it had not been closed in good order.
    AuditRecovered = "audit.recovered";
    /// The configuration is another one than at the last start.
    ConfigChanged = "config.changed";
    /// A guest changed what they consent to.
    ConsentChanged = "consent.changed";
    /// Records of what guests consented to were written to a file.
    ConsentExported = "consent.exported";
    /// A guest took a consent back.
    ConsentWithdrawn = "consent.withdrawn";
    /// A guest session was created.
    SessionCreated = "session.created";
    /// A guest session was refused.
    SessionDenied = "session.denied";
    /// A guest session was ended.
    SessionEnded = "session.ended";
    /// A guest session that had ended was erased, and nothing links its entries to it any more.
    SessionErased = "session.erased";
    /// A guest session ran out.
    SessionExpired = "session.expired";
    /// A refresh token was used a second time.
    TokenReuseDetected = "token.reuse_detected";
    /// A session's tokens were replaced.
    TokenRotated = "token.rotated";
    /// A session's tokens could not be replaced.
    TokenRotationFailed = "token.rotation_failed";
    /// Deliveries to a webhook were given up.
    WebhookDead = "webhook.dead";
    /// A webhook was switched off because its receiver kept failing.
    WebhookDisabled = "webhook.disabled";
    /// A webhook was registered.
    WebhookRegistered = "webhook.registered";
    /// A webhook was removed.
    WebhookRemoved = "webhook.removed";
    /// A webhook was changed.
    WebhookUpdated = "webhook.updated";
    /// A WebSocket was opened.
    WsConnected = "ws.connected";
    /// A WebSocket was refused.
    WsRejected = "ws.rejected";
}

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.as_str() == text)
            .ok_or(UnknownAction)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of an action is unknown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown action: see `Action::ALL` for the names")]
pub struct UnknownAction;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dotted_sorted_and_read_back() {
        assert!(Action::ALL.is_sorted_by(|a, b| a.as_str() < b.as_str()));
        for action in Action::ALL {
            assert!(action.as_str().contains('.'), "{action}");
            assert_eq!(action.as_str().parse(), Ok(*action));
            assert_eq!(serde_json::to_string(action).unwrap(), format!("\"{action}\""));
        }
        assert_eq!("session.create".parse::<Action>(), Err(UnknownAction));
    }
}
