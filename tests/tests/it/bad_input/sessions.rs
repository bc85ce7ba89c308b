//! `/api/v2/webmessaging/guest-sessions`: bodies outside the contract.

use genesys_api::rfc3339;
use http::Method;
use serde_json::{Map, Value, json};

use super::{Bad, Scene, bad, changed, path_of};
use crate::api::{Call, SESSIONS, guest};

/// One byte more than any body may have.
const TOO_LARGE: usize = 64 * 1024 + 1;

pub(super) fn rows(scene: &Scene) -> Vec<Bad> {
    let mut rows = bodies(scene);
    rows.extend(creation(scene));
    rows.extend(attributes(scene));
    rows.extend(refused(scene));
    rows.extend(refresh(scene));
    rows.extend(consent(scene));
    rows
}

/// Bodies that no JSON route accepts.
fn bodies(scene: &Scene) -> Vec<Bad> {
    let mut rows = Vec::new();
    for (method, path) in [
        (Method::POST, SESSIONS.to_owned()),
        (Method::POST, path_of(&scene.live, "/refresh")),
        (Method::PATCH, path_of(&scene.live, "/consent")),
    ] {
        let call = || Call::new(method.clone(), &path).bearer(&scene.api.token);
        let json = |bytes: &[u8]| call().body("application/json", bytes);
        for (what, call, status, code) in [
            ("no body", json(b""), 400, "bad.request"),
            ("half a body", json(br#"{"consent":{"#), 400, "bad.request"),
            ("two bodies", json(b"{}{}"), 400, "bad.request"),
            (
                "text that is not UTF-8",
                json(b"{\"guestId\":\"\xff\"}"),
                400,
                "bad.request",
            ),
            ("a comment", json(b"{} // none"), 400, "bad.request"),
            ("a deep nest", json(&b"[".repeat(10_000)), 400, "bad.request"),
            (
                "as much as is read, but no JSON",
                json(&vec![b' '; TOO_LARGE - 1]),
                400,
                "bad.request",
            ),
            ("a huge body", json(&vec![b' '; TOO_LARGE]), 413, "body.too.large"),
            (
                "a very huge body",
                json(&vec![b' '; 1 << 20]),
                413,
                "body.too.large",
            ),
            ("no media type", call(), 415, "unsupported.media.type"),
            (
                "a form",
                call().form("consent=all"),
                415,
                "unsupported.media.type",
            ),
            (
                "text",
                call().body("text/plain", guest().to_string()),
                415,
                "unsupported.media.type",
            ),
            (
                "something like JSON",
                call().body("application/jsonp", guest().to_string()),
                415,
                "unsupported.media.type",
            ),
        ] {
            rows.push(bad(format!("{what} to {method} {path}"), call, status, code));
        }
    }
    rows
}

fn creation(scene: &Scene) -> Vec<Bad> {
    let now = scene.world.clock.now().utc;
    let at = |offset: time::Duration| Value::from(rfc3339(now + offset));
    let mut rows: Vec<Bad> = [
        ("/channelConfigurationId", Value::Null),
        ("/channelConfigurationId", json!(7)),
        ("/channelConfigurationId", json!("")),
        ("/channelConfigurationId", json!("a b")),
        ("/channelConfigurationId", json!("nobodys-channel")),
        ("/guestId", json!(7)),
        ("/guestId", json!("")),
        ("/guestId", json!("a/b")),
        ("/guestId", json!("x".repeat(129))),
        ("/guestId", json!(["guest-1"])),
        ("/guestAttributes", Value::Null),
        ("/guestAttributes", json!([])),
        ("/guestAttributes", json!("region=EU")),
        ("/guestAttributes/region", json!(7)),
        ("/guestAttributes/region", json!("Atlantis")),
        ("/guestAttributes/region", json!("")),
        ("/consent", Value::Null),
        ("/consent", json!(true)),
        ("/consent", json!([true, true, true])),
        ("/consent/marketing", json!("yes")),
        ("/consent/marketing", json!(1)),
        ("/consent/personalization", json!("true")),
        ("/consent/analytics", json!({})),
        ("/consent/everything", json!(true)),
        ("/consent/consentTimestamp", json!(1_700_000_000)),
        ("/consent/consentTimestamp", json!("yesterday")),
        ("/consent/consentTimestamp", json!("2026-11-22")),
        ("/consent/consentTimestamp", json!("2026-11-22T12:30:00")),
        ("/consent/consentTimestamp", json!("1969-12-31T23:59:59Z")),
        ("/consent/consentTimestamp", at(time::Duration::minutes(6))),
        ("/extra", json!("unknown")),
        ("/consents", json!({})),
    ]
    .into_iter()
    .map(|(pointer, value)| {
        let call = Call::post(SESSIONS).json(&changed(&guest(), pointer, value.clone()));
        let field = pointer[1..].replace('/', ".");
        bad(
            format!("{field} is {value}"),
            call.bearer(&scene.api.token),
            400,
            "invalid.value",
        )
        .at(&field)
    })
    .collect();
    let twice = guest()
        .to_string()
        .replacen('{', r#"{"guestId":"a","guestId":"b","#, 1);
    rows.push(
        bad(
            "a field twice",
            Call::post(SESSIONS)
                .body("application/json", twice)
                .bearer(&scene.api.token),
            400,
            "invalid.value",
        )
        .at("guestId"),
    );
    for body in [json!([]), json!("text"), json!(7), json!(null), json!(true)] {
        let call = Call::post(SESSIONS).json(&body).bearer(&scene.api.token);
        rows.push(bad(format!("the body is {body}"), call, 400, "invalid.value").at("the body"));
    }
    rows
}

fn attributes(scene: &Scene) -> Vec<Bad> {
    let many: Map<String, Value> = (0..65).map(|n| (format!("k{n}"), json!("v"))).collect();
    [
        (json!({ "age": 7 }), "guestAttributes.age"),
        (json!({ "age": null }), "guestAttributes.age"),
        (json!({ "tags": ["a"] }), "guestAttributes.tags"),
        (json!({ "note": "x".repeat(1_025) }), "guestAttributes.note"),
        (json!({ "": "x" }), "guestAttributes"),
        (json!({ "k\u{7}": "x" }), "guestAttributes"),
        (json!({ "k".repeat(65): "x" }), "guestAttributes"),
        (Value::Object(many), "guestAttributes"),
        (
            json!({ "a": "x".repeat(1_000), "b": "x".repeat(1_000), "c": "x".repeat(1_000) }),
            "guestAttributes",
        ),
    ]
    .into_iter()
    .map(|(attributes, field)| {
        let what = format!("attributes {:.60}", attributes.to_string());
        let body = changed(&guest(), "/guestAttributes", attributes);
        let call = Call::post(SESSIONS).json(&body).bearer(&scene.api.token);
        bad(what, call, 400, "invalid.value").at(field)
    })
    .collect()
}

/// Requests that are well formed, and refused all the same.
fn refused(scene: &Scene) -> Vec<Bad> {
    let create = |body: &Value| Call::post(SESSIONS).json(body).bearer(&scene.api.token);
    let without = |purposes: [(&str, Value); 2]| {
        let mut body = guest();
        for (purpose, choice) in purposes {
            body["consent"][purpose] = choice;
        }
        create(&body)
    };
    let nowhere = changed(&guest(), "/guestAttributes/region", Value::Null);
    vec![
        bad(
            "no marketing consent in the EU",
            without([("marketing", json!(false)), ("personalization", json!(true))]),
            422,
            "consent.required",
        )
        .at("consent.marketing")
        .rule("tutorial-strict/EU/marketing"),
        bad(
            "no word on personalization in the EU",
            without([("marketing", json!(true)), ("personalization", json!(null))]),
            422,
            "consent.required",
        )
        .at("consent.personalization")
        .rule("tutorial-strict/EU/personalization"),
        bad(
            "neither in the EU",
            without([("marketing", json!(false)), ("personalization", json!(false))]),
            422,
            "consent.required",
        )
        .at("consent.marketing")
        .at("consent.personalization"),
        bad(
            "no consent and no place",
            create(&changed(&nowhere, "/consent", json!({}))),
            422,
            "consent.required",
        )
        .at("consent.marketing")
        .at("consent.personalization"),
        bad(
            "a guest who has a live session",
            create(&changed(&guest(), "/guestId", json!("guest-1"))),
            409,
            "guest.id.in.use",
        )
        .at("guestId"),
    ]
}

fn refresh(scene: &Scene) -> Vec<Bad> {
    let refresh = |session: &Value, body: &Value| {
        Call::post(&path_of(session, "/refresh"))
            .json(body)
            .bearer(&scene.api.token)
    };
    let token = |session: &Value| json!({ "refreshToken": session["refreshToken"] });
    let live = |body: Value| refresh(&scene.live, &body);
    vec![
        bad("no refresh token", live(json!({})), 400, "bad.request").at("refreshToken"),
        bad(
            "a number for a refresh token",
            live(json!({ "refreshToken": 7 })),
            400,
            "bad.request",
        )
        .at("refreshToken"),
        bad(
            "nothing for a refresh token",
            live(json!({ "refreshToken": null })),
            400,
            "bad.request",
        )
        .at("refreshToken"),
        bad(
            "a refresh token and more",
            live(json!({ "refreshToken": "x", "force": true })),
            400,
            "bad.request",
        )
        .at("force"),
        bad("a list for a refresh", live(json!(["x"])), 400, "bad.request"),
        bad(
            "an unknown refresh token",
            live(json!({ "refreshToken": "let-me-in" })),
            400,
            "invalid.value",
        )
        .at("refreshToken"),
        bad(
            "the access token for a refresh token",
            live(json!({ "refreshToken": scene.live["accessToken"] })),
            400,
            "invalid.value",
        )
        .at("refreshToken"),
        bad(
            "another session's refresh token",
            live(token(&scene.stale)),
            400,
            "invalid.value",
        )
        .at("refreshToken"),
        bad(
            "a used refresh token",
            live(json!({ "refreshToken": scene.used })),
            409,
            "refresh.token.used",
        )
        .at("refreshToken"),
        bad(
            "a refresh after the end",
            refresh(&scene.ended, &token(&scene.ended)),
            409,
            "session.ended",
        ),
    ]
}

fn consent(scene: &Scene) -> Vec<Bad> {
    let patch = |session: &Value, body: &Value| {
        Call::new(Method::PATCH, &path_of(session, "/consent"))
            .json(body)
            .bearer(&scene.api.token)
    };
    let mut rows: Vec<Bad> = [
        (json!({ "marketing": "no" }), "marketing"),
        (json!({ "marketing": null }), "marketing"),
        (json!({ "analytics": 0 }), "analytics"),
        (
            json!({ "personalization": false, "profiling": false }),
            "profiling",
        ),
        (json!({ "consent": { "marketing": false } }), "consent"),
        (
            json!({ "marketing": false, "consentTimestamp": "now" }),
            "consentTimestamp",
        ),
        (
            json!({ "marketing": false, "consentTimestamp": "2999-01-01T00:00:00Z" }),
            "consentTimestamp",
        ),
    ]
    .into_iter()
    .map(|(body, field)| {
        bad(
            format!("a change of consent {body}"),
            patch(&scene.live, &body),
            400,
            "invalid.value",
        )
        .at(field)
    })
    .collect();
    rows.extend([
        bad(
            "a change of nothing",
            patch(&scene.live, &json!({})),
            400,
            "bad.request",
        ),
        bad(
            "a change at no time but some time",
            patch(
                &scene.live,
                &json!({ "consentTimestamp": "2026-11-22T12:30:00Z" }),
            ),
            400,
            "bad.request",
        ),
        bad(
            "a choice older than the one that is recorded",
            patch(
                &scene.live,
                &json!({ "marketing": true, "consentTimestamp": "2001-01-01T00:00:00Z" }),
            ),
            409,
            "consent.outdated",
        )
        .at("consentTimestamp"),
        bad(
            "a change of consent after the end",
            patch(&scene.ended, &json!({ "marketing": false })),
            409,
            "session.ended",
        ),
    ]);
    rows
}
