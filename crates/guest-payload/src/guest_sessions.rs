//! The `guest-sessions` contract, both ways: what a client writes and the gateway reads, and the other way round.
//!
//! It is the founding tutorial's contract, served by `guest-gateway`; Genesys Cloud does not offer it.

#[cfg(feature = "guest-sessions")]
mod body;
#[cfg(feature = "guest-sessions")]
mod call;
pub mod consent_record;
#[cfg(feature = "guest-sessions")]
mod object;
#[cfg(feature = "guest-sessions")]
mod problem;
#[cfg(feature = "guest-sessions")]
mod reply;
#[cfg(feature = "guest-sessions")]
mod signals;
mod stamp;

#[cfg(feature = "guest-sessions")]
pub use body::{BodyError, parse_consent_change, parse_new_guest};
#[cfg(feature = "guest-sessions")]
pub use call::{AuditTrail, ChangeConsent, Create, End, Fetch, MetricsSnapshot};
pub use consent_record::{ConsentObject, ContradictoryRecord};
#[cfg(feature = "guest-sessions")]
pub use reply::{Session, SessionView};
#[cfg(feature = "guest-sessions")]
pub use signals::signals;

/// Where guest sessions live on the API host.
pub const PATH: &str = "/api/v2/webmessaging/guest-sessions";
