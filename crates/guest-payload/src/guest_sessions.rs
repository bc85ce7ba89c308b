//! The `guest-sessions` contract, both ways: what a client writes and the gateway reads, and the other way round.
//!
//! It is the founding tutorial's contract, served by `guest-gateway`; Genesys Cloud does not offer it.

mod body;
mod call;
pub mod consent_record;
mod object;
mod problem;
mod reply;
mod stamp;

use http::HeaderMap;

use crate::Signals;

pub use body::{BodyError, parse_consent_change, parse_new_guest};
pub use call::{AuditTrail, ChangeConsent, Create, End, Fetch, MetricsSnapshot};
pub use consent_record::{ConsentObject, ContradictoryRecord};
pub use reply::{Session, SessionView};

/// Where guest sessions live on the API host.
pub const PATH: &str = "/api/v2/webmessaging/guest-sessions";

/// What the headers of a request say on the guest's behalf: `Sec-GPC: 1`, and only `1`, is a GPC signal.
///
/// Source: the Global Privacy Control specification of the W3C. A backend that calls for a guest passes it on.
#[must_use]
pub fn signals(headers: &HeaderMap) -> Signals {
    Signals {
        gpc: headers.get_all(SEC_GPC).iter().any(|value| value == "1"),
    }
}

const SEC_GPC: &str = "sec-gpc";

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_1_is_a_signal() {
        let mut headers = HeaderMap::new();
        assert!(!signals(&headers).gpc);
        for value in ["0", "true", "", "1 ", "11"] {
            headers.insert("Sec-GPC", HeaderValue::from_static(value));
            assert!(!signals(&headers).gpc, "{value:?}");
        }
        headers.append("Sec-GPC", HeaderValue::from_static("1"));
        assert!(signals(&headers).gpc);
    }
}
