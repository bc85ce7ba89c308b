//! `GET …/{id}/socket`: requests that are not upgraded.

use serde_json::Value;

use super::{Fixture, Rejection, path_of, rejection};
use crate::api::Call;
use crate::world::ORIGIN;

pub(super) fn rows(fixture: &Fixture) -> Vec<Rejection> {
    let mut rows = origins(fixture);
    rows.extend(handshakes(fixture));
    rows.extend(tokens(fixture));
    for row in &mut rows {
        row.what.insert_str(0, "socket: ");
    }
    rows
}

fn token(session: &Value) -> &str {
    session["accessToken"].as_str().unwrap()
}

/// An upgrade request of a browser, without an origin.
fn upgrade(session: &Value, query: &str) -> Call {
    Call::get(&path_of(session, &format!("/socket{query}")))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

fn origins(fixture: &Fixture) -> Vec<Rejection> {
    let query = format!("?access_token={}", token(&fixture.live));
    let upgrade = || upgrade(&fixture.live, &query);
    let mut rows = vec![
        rejection("no Origin", upgrade(), 403, "origin.not.allowed"),
        rejection(
            "two Origins",
            upgrade().header("origin", ORIGIN).header("origin", ORIGIN),
            403,
            "origin.not.allowed",
        ),
    ];
    for origin in [
        "",
        "null",
        "*",
        "shop.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example.evil.example",
        "https://evilshop.example",
        "https://evil.example/https://shop.example",
        "https://www.shop.example",
        "https://shop.example.",
        "https://shop.example@evil.example",
        "https://shop.example, https://evil.example",
        "https://shop.exаmple", // a Cyrillic а
    ] {
        let call = match origin.is_ascii() {
            true => upgrade().header("origin", origin),
            false => upgrade().header("origin", "https://shop.xn--exmple-4nf"),
        };
        rows.push(rejection(
            format!("the Origin {origin:?}"),
            call,
            403,
            "origin.not.allowed",
        ));
    }
    rows
}

fn handshakes(fixture: &Fixture) -> Vec<Rejection> {
    let path = path_of(&fixture.live, "/socket");
    let get = || Call::get(&path).header("origin", ORIGIN);
    let asked = || {
        get()
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
    };
    let version = |version: &str| asked().header("sec-websocket-version", version);
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let mut rows: Vec<Rejection> = [
        ("no upgrade", get()),
        ("no Connection header", get().header("upgrade", "websocket")),
        (
            "an upgrade to something else",
            get().header("connection", "Upgrade").header("upgrade", "h2c"),
        ),
        ("no version", asked().header("sec-websocket-key", key)),
        ("an old version", version("8").header("sec-websocket-key", key)),
    ]
    .into_iter()
    .map(|(what, call)| {
        rejection(what, call, 426, "upgrade.required")
            .with("upgrade", "websocket")
            .with("sec-websocket-version", "13")
    })
    .collect();
    rows.extend([
        rejection("no key", version("13"), 400, "bad.request"),
        rejection(
            "an invalid key",
            version("13").header("sec-websocket-key", "short"),
            400,
            "bad.request",
        ),
        rejection(
            "two keys",
            version("13")
                .header("sec-websocket-key", key)
                .header("sec-websocket-key", key),
            400,
            "bad.request",
        ),
    ]);
    rows
}

fn tokens(fixture: &Fixture) -> Vec<Rejection> {
    let query = |session: &Value, token: &str| {
        upgrade(session, &format!("?access_token={token}")).header("origin", ORIGIN)
    };
    let protocol = |session: &Value, token: &str| {
        upgrade(session, "").header("origin", ORIGIN).header(
            "sec-websocket-protocol",
            &format!("guest-sessions.v1, access_token.{token}"),
        )
    };
    let mut rows = Vec::new();
    for (session, token, status, code, what) in [
        (&fixture.live, "let-me-in", 401, "bad.credentials", "a bad token"),
        (&fixture.live, "", 401, "bad.credentials", "an empty token"),
        (
            &fixture.live,
            token(&fixture.with_expired_token),
            401,
            "bad.credentials",
            "another session's token",
        ),
        (
            &fixture.live,
            fixture.live["refreshToken"].as_str().unwrap(),
            401,
            "bad.credentials",
            "the refresh token",
        ),
        (
            &fixture.live,
            &fixture.api.token,
            401,
            "bad.credentials",
            "the API client's token",
        ),
        (
            &fixture.with_expired_token,
            token(&fixture.with_expired_token),
            401,
            "credentials.expired",
            "an expired token",
        ),
        (
            &fixture.ended,
            token(&fixture.ended),
            409,
            "session.ended",
            "the token of an ended session",
        ),
    ] {
        rows.push(rejection(
            format!("{what} in the query"),
            query(session, token),
            status,
            code,
        ));
        rows.push(rejection(
            format!("{what} as a subprotocol"),
            protocol(session, token),
            status,
            code,
        ));
    }
    rows
}
