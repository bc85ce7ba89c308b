//! The check of the `Host` header against DNS rebinding.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use genesys_api::Host;
use guest_sessions::ErrorCode;
use http::HeaderValue;
use http::header::HOST;
use http::uri::Authority;

use crate::api::{CROSS_ORIGIN_RESOURCE_POLICY, Refusal};

/// Refuses a request whose `Host` is not that of the listener. A page of another site reaches it by a name that this site
/// resolves to its address, so each IP address and `localhost` pass.
pub(super) async fn check(State(url): State<Host>, request: Request, next: Next) -> Response {
    let mut response = match is_own(request.headers().get(HOST), &url) {
        true => next.run(request).await,
        false => {
            let message = "invalid Host: not a name of this listener, use its IP address, or set `public_url` of [admin]";
            Refusal::new(ErrorCode::OriginNotAllowed, message).into_response()
        }
    };
    let policy = HeaderValue::from_static("same-origin");
    response
        .headers_mut()
        .entry(CROSS_ORIGIN_RESOURCE_POLICY)
        .or_insert(policy);
    response
}

fn is_own(host: Option<&HeaderValue>, url: &Host) -> bool {
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let Some(authority) = authority else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<std::net::IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.eq_ignore_ascii_case(url.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_an_address_or_the_own_name() {
        let url: Host = "https://ops.example".parse().unwrap();
        for (host, expected) in [
            ("127.0.0.1:9090", true),
            ("[::1]:9090", true),
            ("localhost:9090", true),
            ("ops.example", true),
            ("OPS.example:443", true),
            ("evil.example:9090", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("user@ops.example.evil", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(host);
            assert_eq!(is_own(Some(&value), &url), expected, "{host}");
        }
        assert!(!is_own(None, &url));
    }
}
