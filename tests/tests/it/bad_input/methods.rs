//! Wrong methods on every path, and unknown paths.

use http::Method;

use super::{Fixture, Rejection, path_of, rejection};
use crate::api::{Call, SESSIONS, WEBHOOKS};

pub(super) fn rows(fixture: &Fixture) -> Vec<Rejection> {
    let live = |rest: &str| path_of(&fixture.live, rest);
    let one_webhook = format!("{WEBHOOKS}/{}", fixture.webhook["id"].as_str().unwrap());
    let mut rows = Vec::new();
    for (path, allow) in [
        ("/oauth/token", "POST"),
        ("/health", "GET"),
        ("/api/v2/audit/entries", "GET"),
        ("/api/v2/audit/proof", "GET"),
        (SESSIONS, "POST"),
        (&format!("{SESSIONS}/metrics"), "GET"),
        (&live(""), "GET, DELETE"),
        (&live("/refresh"), "POST"),
        (&live("/consent"), "PATCH"),
        (&live("/audit"), "GET"),
        (&live("/socket"), "GET"),
        (&live("/attachments/one"), "GET, PUT, DELETE"),
        (WEBHOOKS, "GET, POST"),
        (&one_webhook, "GET, PUT, DELETE"),
    ] {
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
        ] {
            if !allow.split(", ").any(|allowed| allowed == method) {
                let call = Call::new(Method::from_bytes(method.as_bytes()).unwrap(), path);
                rows.push(
                    rejection(
                        format!("{method} {path}"),
                        call.bearer(&fixture.api.token),
                        405,
                        "method.not.allowed",
                    )
                    .with("allow", allow),
                );
            }
        }
    }
    for path in [
        "/",
        "/api",
        "/api/v2",
        &format!("{SESSIONS}/"),
        &live("/"),
        &live("/everything"),
        &live("/socket/more"),
        "//oauth/token",
        "/oauth/token/",
        "/api/v3/webhooks",
        &format!("{WEBHOOKS}/"),
    ] {
        rows.push(rejection(
            format!("GET {path}"),
            Call::get(path).bearer(&fixture.api.token),
            404,
            "not.found",
        ));
    }
    rows
}
