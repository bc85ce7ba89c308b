//! CORS: headers for pages of other origins.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderValue, Method, Request, Response};

use super::response::no_content;
use crate::cloud::{Cloud, admits};

/// Answers a preflight request. Pages of the allowed domains get the method and headers that they request. Other pages
/// get no such header, so their browser stops (inference: Genesys' answers are unknown).
pub(super) fn preflight(request: &Request<Bytes>) -> Option<Response<Bytes>> {
    let headers = request.headers();
    if request.method() != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.clone();
    let requested = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = no_content();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method);
    if let Some(requested) = requested {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested);
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    Some(response)
}

/// Lets a page read the response, if its domain is allowed. Responses of the CDN and the bucket are open to all.
pub(super) fn decorate(cloud: &Cloud, request: &Request<Bytes>, response: &mut Response<Bytes>) {
    let Some(origin) = request.headers().get(ORIGIN) else {
        return;
    };
    // no page may use the simulator's own endpoints, which move its clock
    if request.uri().path().starts_with("/sim/") {
        return;
    }
    let admitted = admits(cloud.rules.allowed_domains.as_deref(), origin.to_str().ok());
    let headers = response.headers_mut();
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) || !admitted {
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.append(VARY, HeaderValue::from_static("origin"));
    let exposed = "inin-correlation-id, inin-ratelimit-allowed, inin-ratelimit-count, inin-ratelimit-reset, \
                   retry-after";
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::tests::{cloud_of, now, rules, send};
    use crate::config::Rules;

    fn ask(method: &str, path: &str, origin: &str) -> Response<Bytes> {
        let mut cloud = cloud_of(Rules {
            allowed_domains: Some(vec!["example.com".to_owned()]),
            ..rules()
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(ORIGIN, origin)
            .header(ACCESS_CONTROL_REQUEST_METHOD, "GET")
            .header(ACCESS_CONTROL_REQUEST_HEADERS, "authorization")
            .body(Bytes::new())
            .unwrap();
        send(&mut cloud, request, now()).0
    }

    #[test]
    fn page_of_allowed_domain_reads_responses() {
        let path = "/api/v2/webmessaging/messages";
        let allowed = ask("OPTIONS", path, "https://app.example.com");
        assert_eq!(allowed.status(), 204);
        assert_eq!(
            allowed.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
            "https://app.example.com"
        );
        assert_eq!(allowed.headers()[ACCESS_CONTROL_ALLOW_METHODS], "GET");
        assert_eq!(allowed.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "authorization");
        let refusal = ask("GET", path, "https://app.example.com");
        assert_eq!(refusal.status(), 401);
        assert!(
            refusal.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN),
            "errors are read as well"
        );
        assert!(refusal.headers().contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
    }

    #[test]
    fn other_pages_read_nothing_and_no_page_reads_control_endpoints() {
        for (path, origin) in [
            ("/api/v2/webmessaging/messages", "https://evil.test"),
            ("/sim/state", "https://app.example.com"),
        ] {
            for method in ["OPTIONS", "GET"] {
                let response = ask(method, path, origin);
                assert!(
                    !response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN),
                    "{method} {path}"
                );
            }
        }
    }
}
