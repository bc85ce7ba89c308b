//! `/spa`: forged requests of pages, and stolen, replayed and expired credentials.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{Fixture, Rejection, malformed, path_of, rejection};
use crate::api::{Api, Call};
use crate::event_stream::stream_handshake;
use crate::spa::assertion::Claims;
use crate::spa::{CREATE, Visit, consent, of_page, with_ticket};
use crate::world::{ORIGIN, World};

/// An origin of the same host that is not allowed.
const OTHER_ORIGIN: &str = "https://shop.example:8443";

/// The id of a stream that is not open.
const STREAM: &str = "c0ffee00-0000-4000-8000-000000000001";

/// Browsers with sessions, and tickets of the first one.
pub(super) struct Pages {
    visit: Visit,
    other: Visit,
    ended: Visit,
    expired: String,
    tickets: [String; 2],
}

impl Pages {
    pub(super) async fn visit(world: &World, api: &Api) -> Self {
        let (visit, ended) = (Visit::create(api).await, Visit::create(api).await);
        let end = Call::new(Method::DELETE, "/spa/session");
        api.send(ended.call(end)).await;
        let expired = visit.ticket(api).await;
        world.clock.advance(Duration::from_secs(30));
        Self {
            tickets: [visit.ticket(api).await, visit.ticket(api).await],
            other: Visit::create(api).await,
            visit,
            ended,
            expired,
        }
    }

    /// Checks that the session is as it was.
    pub(super) async fn still_work(&self, api: &Api) {
        let answer = api.send(self.visit.call(Call::get("/spa/session"))).await;
        assert_eq!(answer.json()["consent"], self.visit.session["consent"]);
    }

    /// Every operation, without the headers of a page.
    fn operations(&self) -> [(&'static str, Call); 8] {
        let patch = Call::new(Method::PATCH, "/spa/session/consent");
        let of_browser = |call: Call| call.header("cookie", &self.visit.cookie);
        [
            ("create", Call::post(CREATE).json(&consent())),
            ("consent", of_browser(patch.json(&json!({ "analytics": false })))),
            ("stream", of_browser(stream(&self.visit.session))),
            ("frame", of_browser(frame())),
            ("end", of_browser(Call::new(Method::DELETE, "/spa/session"))),
            ("ticket", of_browser(Call::post("/spa/session/ticket"))),
            ("fetch", of_browser(Call::get("/spa/session"))),
            (
                "messages",
                of_browser(Call::get(&path_of(&self.visit.session, "/messages"))),
            ),
        ]
    }

    fn changes(&self) -> impl Iterator<Item = (&'static str, Call)> {
        self.operations().into_iter().take(6)
    }
}

pub(super) fn rows(fixture: &Fixture) -> Vec<Rejection> {
    let pages = &fixture.pages;
    let mut rows = origins(pages);
    rows.extend(forgeries(pages));
    rows.extend(media_types(pages));
    rows.extend(cookies(fixture));
    rows.extend(tickets(pages));
    rows.extend(streams(pages));
    rows.extend(assertions(fixture));
    for row in &mut rows {
        row.what.insert_str(0, "page: ");
    }
    rows
}

fn origins(pages: &Pages) -> Vec<Rejection> {
    let mut rows = Vec::new();
    let refused = |what: String, call: Call| rejection(what, call, 403, "origin.not.allowed");
    for (name, call) in pages.operations() {
        let call = call.header("x-guest-sessions-csrf", "1");
        for origin in [
            "",
            "null",
            "*",
            "http://shop.example",
            OTHER_ORIGIN,
            "https://shop.example.evil.example",
            "https://evilshop.example",
            "https://shop.example@evil.example",
            "https://shop.example, https://evil.example",
        ] {
            let call = call.clone().header("origin", origin);
            rows.push(refused(format!("{name} of the origin {origin:?}"), call));
        }
        let twice = call.clone().header("origin", ORIGIN).header("origin", ORIGIN);
        rows.push(refused(format!("{name} with two origins"), twice));
        if !["fetch", "messages"].contains(&name) {
            let spoofed = call
                .header("referer", ORIGIN)
                .header("x-forwarded-host", "shop.example")
                .header("sec-fetch-site", "same-origin");
            rows.push(refused(format!("{name} without an origin"), spoofed));
        }
    }
    rows
}

fn forgeries(pages: &Pages) -> Vec<Rejection> {
    let mut rows = Vec::new();
    let refused = |what: String, call: Call| rejection(what, call, 403, "csrf.refused");
    for (name, call) in pages.changes() {
        let call = call.header("origin", ORIGIN);
        rows.push(refused(format!("{name} without the header"), call.clone()));
        for value in ["", "0", "true", "1, 1"] {
            let call = call.clone().header("x-guest-sessions-csrf", value);
            rows.push(refused(format!("{name} with the header {value:?}"), call));
        }
        let twice = call
            .header("x-guest-sessions-csrf", "1")
            .header("x-guest-sessions-csrf", "1");
        rows.push(refused(format!("{name} with the header twice"), twice));
    }
    for (name, call) in pages.operations() {
        let call = of_page(call);
        for site in ["cross-site", "none", "", "same-origin, same-site", "Same-Origin"] {
            let call = call.clone().header("sec-fetch-site", site);
            rows.push(refused(format!("{name} with Sec-Fetch-Site {site:?}"), call));
        }
        let twice = call
            .header("sec-fetch-site", "same-origin")
            .header("sec-fetch-site", "cross-site");
        rows.push(refused(format!("{name} with Sec-Fetch-Site twice"), twice));
    }
    rows
}

fn media_types(pages: &Pages) -> Vec<Rejection> {
    let mut rows = Vec::new();
    for (name, call) in pages.changes().take(4) {
        for media in [
            "",
            "text/plain",
            "text/plain; application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ] {
            let body = call.request().body().clone();
            let call = of_page(call.clone().with_body(media, body));
            rows.push(rejection(
                format!("{name} as {media:?}"),
                call,
                415,
                "unsupported.media.type",
            ));
        }
    }
    rows
}

fn cookies(fixture: &Fixture) -> Vec<Rejection> {
    let pages = &fixture.pages;
    let (name, value) = pages.visit.cookie.split_once('=').unwrap();
    let (id, secret) = value.rsplit_once('.').unwrap();
    let (other_id, other_secret) = pages
        .other
        .cookie
        .split_once('=')
        .unwrap()
        .1
        .rsplit_once('.')
        .unwrap();
    let mut rows = Vec::new();
    let values = [
        ("no secret", id.to_owned()),
        ("an empty secret", format!("{id}.")),
        ("a shorter secret", format!("{id}.{}", &secret[..42])),
        ("a longer secret", format!("{value}AAAA")),
        ("a secret in another alphabet", format!("{id}.{secret}=")),
        ("the secret of another session", format!("{id}.{other_secret}")),
        ("the id of another session", format!("{other_id}.{secret}")),
        ("an unknown session", format!("s-1.{secret}")),
        ("a path as the id", format!("../{id}.{secret}")),
        (
            "a session of the API client",
            format!("{}.{secret}", fixture.live["id"].as_str().unwrap()),
        ),
        (
            "the access token",
            format!(
                "{}.{}",
                fixture.live["id"].as_str().unwrap(),
                fixture.live["accessToken"].as_str().unwrap()
            ),
        ),
    ];
    let browser = |call: Call, cookie: &str| of_page(call).header("cookie", cookie);
    let calls = || {
        [
            ("ticket", Call::post("/spa/session/ticket")),
            ("stream", stream(&pages.visit.session)),
            ("frame", frame()),
            ("fetch", Call::get("/spa/session")),
            ("end", Call::new(Method::DELETE, "/spa/session")),
        ]
    };
    for (operation, call) in calls() {
        for (what, value) in &values {
            let call = browser(call.clone(), &format!("{name}={value}"));
            let what = format!("{operation} with {what}");
            rows.push(rejection(what, call, 401, "bad.credentials"));
        }
        for (what, cookie) in [
            ("no cookie", String::new()),
            ("a cookie without its prefix", format!("guest-session={value}")),
            (
                "a cookie in other letters",
                format!("__host-Guest-Session={value}"),
            ),
            ("the credential in another cookie", format!("a={name}={value}")),
        ] {
            let call = browser(call.clone(), &cookie);
            let what = format!("{operation} with {what}");
            rows.push(rejection(what, call, 401, "session.required"));
        }
        let bearer = of_page(call.clone()).bearer(value);
        let what = format!("{operation} with the credential as a bearer token");
        rows.push(rejection(what, bearer, 401, "session.required"));
        let ended = browser(call.clone(), &pages.ended.cookie);
        let what = format!("{operation} of an ended session");
        rows.push(rejection(what, ended, 410, "session.gone"));
        for tossed in [
            browser(call.clone(), &format!("{0}; {0}", pages.visit.cookie)),
            browser(
                call.clone(),
                &format!("{}; {}", pages.other.cookie, pages.visit.cookie),
            ),
            browser(call, &pages.visit.cookie).header("cookie", &pages.other.cookie),
        ] {
            let what = format!("{operation} with a tossed cookie");
            rows.push(rejection(what, tossed, 400, "bad.request").at(name));
        }
    }
    rows
}

fn tickets(pages: &Pages) -> Vec<Rejection> {
    let socket = |session: &Value, origin: &str, ticket: &str| {
        with_ticket(Call::get(&path_of(session, "/socket")), ticket).header("origin", origin)
    };
    let (own, other) = (&pages.visit.session, &pages.other.session);
    let [first, second] = &pages.tickets;
    let refused = |what: &str, call: Call| rejection(what, call, 401, "ticket.invalid");
    vec![
        rejection(
            "the ticket of a page at another origin",
            socket(own, OTHER_ORIGIN, first),
            403,
            "origin.not.allowed",
        ),
        refused("the ticket of another session", socket(other, ORIGIN, first)),
        refused("the same ticket at its session", socket(own, ORIGIN, first)),
        refused("an expired ticket", socket(own, ORIGIN, &pages.expired)),
        refused("no ticket", socket(own, ORIGIN, "")),
        refused("an unknown ticket", socket(own, ORIGIN, &"A".repeat(43))),
        refused(
            "the cookie as a ticket",
            socket(own, ORIGIN, pages.visit.cookie.rsplit_once('.').unwrap().1),
        ),
        rejection(
            "a ticket as an access token",
            Call::get(&path_of(own, "/socket"))
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header("origin", ORIGIN)
                .header(
                    "sec-websocket-protocol",
                    &format!("guest-sessions.v1, access_token.{second}"),
                ),
            401,
            "bad.credentials",
        ),
        rejection(
            "a ticket in the query",
            socket(own, ORIGIN, "").with_path(&path_of(own, &format!("/socket?ticket={second}"))),
            400,
            "bad.request",
        )
        .at("ticket"),
    ]
}

/// A request for a stream of the session, without the headers of a page.
fn stream(session: &Value) -> Call {
    Call::post(&format!("/spa/session/stream?stream={STREAM}")).json(&stream_handshake(session))
}

/// A frame for a stream that is not open, without the headers of a page.
fn frame() -> Call {
    Call::post(&format!("/spa/session/frames?stream={STREAM}")).json(&json!({ "type": "typing" }))
}

fn streams(pages: &Pages) -> Vec<Rejection> {
    let (own, other) = (&pages.visit.session, &pages.other.session);
    let open = |call: Call| pages.visit.call(call);
    let bad = |what: &str, call: Call| rejection(what, open(call), 400, "bad.frame");
    let with = |name: &str, value: Value| {
        let mut handshake = stream_handshake(own);
        handshake[name] = value;
        stream(own).with_body("application/json", handshake.to_string())
    };
    let mut rows = vec![
        rejection(
            "a stream of another session",
            open(stream(other)),
            404,
            "not.found",
        ),
        bad("a stream with an access token", with("accessToken", "x".into())),
        bad("a stream with an unknown field", with("ticket", "x".into())),
        bad("a stream that begins with a ping", with("type", "ping".into())),
        rejection("a frame without a stream", open(frame()), 409, "stream.required"),
    ];
    for path in ["/spa/session/stream", "/spa/session/frames"] {
        let call = open(stream(own));
        let missing = malformed(
            format!("{path} without a stream"),
            call.clone().with_path(path),
            "stream",
            "field.missing",
        );
        let invalid = malformed(
            format!("{path} of an invalid stream"),
            call.with_path(&format!("{path}?stream=1")),
            "stream",
            "field.value",
        );
        rows.extend([missing, invalid]);
    }
    rows
}

fn assertions(fixture: &Fixture) -> Vec<Rejection> {
    let create = |what: &str, assertion: String| {
        let mut body = consent();
        body["assertion"] = assertion.into();
        let call = of_page(Call::post(CREATE).json(&body));
        rejection(format!("the assertion {what}"), call, 401, "assertion.invalid")
    };
    let valid = || Claims::of(&fixture.world, "guest-8");
    let now = fixture.world.clock.now().utc.unix_timestamp();
    let with =
        |name: &str, value: Value| create(&format!("with {name} {value}"), valid().with(name, value).sign());
    let header = |header: Value| {
        let what = format!("with the header {header}");
        create(&what, Claims { header, ..valid() }.sign())
    };
    let signed = valid().sign();
    let (unsigned, signature) = signed.rsplit_once('.').unwrap();
    let other = valid().with("sub", "guest-9".into()).sign();
    let other_signature = other.rsplit_once('.').unwrap().1;
    vec![
        create("of no text", String::new()),
        create("of two dots", "..".to_owned()),
        create("without a signature", format!("{unsigned}.")),
        create(
            "without claims",
            format!("{}..{signature}", unsigned.split_once('.').unwrap().0),
        ),
        create(
            "with the signature of another",
            format!("{unsigned}.{other_signature}"),
        ),
        create("with a fourth part", format!("{signed}.AAAA")),
        header(json!({ "alg": "none", "kid": "tests" })),
        header(json!({ "alg": "EdDSA", "kid": "tests" })),
        header(json!({ "alg": "HS512", "kid": "tests" })),
        header(json!({ "alg": "HS256", "kid": "other" })),
        header(json!({ "alg": "HS256", "crit": ["exp"] })),
        with("exp", (now - 10).into()),
        with("exp", (now + 86_400).into()),
        with("exp", Value::Null),
        with("aud", "https://other.example".into()),
        with("aud", json!([])),
        with("aud", Value::Null),
        with("jti", Value::Null),
        with("jti", "".into()),
        with("nbf", (now + 3_600).into()),
        with("sub", "".into()),
        with("sub", "a guest".into()),
        with("sub", Value::Null),
    ]
}
