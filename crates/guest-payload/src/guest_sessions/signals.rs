//! Opt-out signals in request headers.

use http::HeaderMap;

use crate::Signals;

/// What the headers of a request say on the guest's behalf: `Sec-GPC: 1`, and only `1`, is a GPC signal.
///
/// Source: the Global Privacy Control specification of the W3C. A backend that calls for a guest passes it on.
#[must_use]
pub fn signals(headers: &HeaderMap) -> Signals {
    Signals {
        gpc: headers.get_all(SEC_GPC).iter().any(|value| value == "1"),
    }
}

pub(super) const SEC_GPC: &str = "sec-gpc";

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
