//! `/api/v2/webmessaging/guest-sessions`: bodies outside the contract.

use genesys_api::rfc3339;
use http::Method;
use serde_json::{Map, Value, json};

use super::{Fixture, KEY, Rejection, changed, malformed, path_of, rejection};
use crate::api::{Call, SESSIONS, guest};

pub(super) fn rows(fixture: &Fixture) -> Vec<Rejection> {
    let mut rows = creation(fixture);
    rows.extend(attributes(fixture));
    rows.extend(refused(fixture));
    rows.extend(refresh(fixture));
    rows.extend(consent(fixture));
    rows
}

fn creation(fixture: &Fixture) -> Vec<Rejection> {
    let now = fixture.world.clock.now().utc;
    let at = |offset: time::Duration| Value::from(rfc3339(now + offset));
    [
        ("/channelConfigurationId", json!(""), "field.value"),
        ("/channelConfigurationId", json!("a b"), "field.value"),
        ("/channelConfigurationId", json!("nobodys-channel"), "field.value"),
        ("/guestId", json!(7), "field.type"),
        ("/guestId", json!(""), "field.value"),
        ("/guestId", json!("a/b"), "field.value"),
        ("/guestId", json!("x".repeat(129)), "field.value"),
        ("/guestAttributes", Value::Null, "field.missing"),
        ("/guestAttributes", json!([]), "field.type"),
        ("/guestAttributes", json!("region=EU"), "field.type"),
        ("/guestAttributes/region", json!(7), "field.type"),
        ("/guestAttributes/region", json!("Atlantis"), "field.value"),
        ("/guestAttributes/region", json!(""), "field.value"),
        ("/consent", Value::Null, "field.missing"),
        ("/consent/personalization", json!("true"), "field.type"),
        ("/consent/analytics", json!({}), "field.type"),
        ("/consent/everything", json!(true), "field.unknown"),
        ("/consent/age", json!("old"), "field.value"),
        ("/consent/actor", json!("robot"), "field.value"),
        (
            "/consent/notice",
            json!({ "version": "7" }),
            "field.missing/language",
        ),
        ("/consent/gpp", json!(""), "field.value"),
        ("/consent/gpc", json!("1"), "field.type"),
        ("/consent/consentTimestamp", json!("yesterday"), "field.value"),
        ("/consent/consentTimestamp", json!("2026-11-22"), "field.value"),
        (
            "/consent/consentTimestamp",
            json!("2026-11-22T12:30:00"),
            "field.value",
        ),
        (
            "/consent/consentTimestamp",
            json!("1969-12-31T23:59:59Z"),
            "field.value",
        ),
        (
            "/consent/consentTimestamp",
            at(time::Duration::minutes(6)),
            "field.value",
        ),
        ("/consents", json!({}), "field.unknown"),
    ]
    .into_iter()
    .map(|(pointer, value, detail)| {
        let call = Call::post(SESSIONS).json(&changed(&guest(), pointer, value.clone()));
        let mut field = pointer[1..].replace('/', ".");
        let (detail, nested) = detail.split_once('/').unwrap_or((detail, ""));
        if !nested.is_empty() {
            field = format!("{field}.{nested}");
        }
        malformed(
            format!("{field} is {value}"),
            call.bearer(&fixture.api.token),
            &field,
            detail,
        )
    })
    .collect()
}

fn attributes(fixture: &Fixture) -> Vec<Rejection> {
    let many: Map<String, Value> = (0..65).map(|n| (format!("k{n}"), json!("v"))).collect();
    [
        (json!({ "age": 7 }), "guestAttributes.age", "field.type"),
        (json!({ "age": null }), "guestAttributes.age", "field.type"),
        (json!({ "tags": ["a"] }), "guestAttributes.tags", "field.type"),
        (
            json!({ "note": "x".repeat(1_025) }),
            "guestAttributes.note",
            "field.value",
        ),
        (json!({ "": "x" }), "guestAttributes", "field.value"),
        (json!({ "k\u{7}": "x" }), "guestAttributes", "field.value"),
        (json!({ "k".repeat(65): "x" }), "guestAttributes", "field.value"),
        (Value::Object(many), "guestAttributes", "field.value"),
        (
            json!({ "a": "x".repeat(1_000), "b": "x".repeat(1_000), "c": "x".repeat(1_000) }),
            "guestAttributes",
            "field.value",
        ),
    ]
    .into_iter()
    .map(|(attributes, field, detail)| {
        let what = format!("attributes {:.60}", attributes.to_string());
        let body = changed(&guest(), "/guestAttributes", attributes);
        let call = Call::post(SESSIONS).json(&body).bearer(&fixture.api.token);
        malformed(what, call, field, detail)
    })
    .collect()
}

/// Requests that are well formed and still refused.
fn refused(fixture: &Fixture) -> Vec<Rejection> {
    let create = |body: &Value| Call::post(SESSIONS).json(body).bearer(&fixture.api.token);
    let without = |purposes: [(&str, Value); 2]| {
        let mut body = guest();
        for (purpose, choice) in purposes {
            body["consent"][purpose] = choice;
        }
        create(&body)
    };
    let nowhere = changed(&guest(), "/guestAttributes/region", Value::Null);
    vec![
        rejection(
            "no marketing consent in the EU",
            without([("marketing", json!(false)), ("personalization", json!(true))]),
            422,
            "consent.required",
        )
        .at("consent.marketing")
        .rule("tutorial-strict/EU/marketing"),
        rejection(
            "no word on personalization in the EU",
            without([("marketing", json!(true)), ("personalization", json!(null))]),
            422,
            "consent.required",
        )
        .at("consent.personalization")
        .rule("tutorial-strict/EU/personalization"),
        rejection(
            "neither in the EU",
            without([("marketing", json!(false)), ("personalization", json!(false))]),
            422,
            "consent.required",
        )
        .at("consent.marketing")
        .at("consent.personalization"),
        rejection(
            "no consent and no place",
            create(&changed(&nowhere, "/consent", json!({}))),
            422,
            "consent.required",
        )
        .at("consent.marketing")
        .at("consent.personalization"),
        rejection(
            "a guest who has a live session",
            create(&changed(&guest(), "/guestId", json!("guest-1"))),
            409,
            "guest.id.in.use",
        )
        .at("guestId"),
    ]
}

fn refresh(fixture: &Fixture) -> Vec<Rejection> {
    let refresh = |session: &Value, body: &Value| {
        Call::post(&path_of(session, "/refresh"))
            .json(body)
            .bearer(&fixture.api.token)
    };
    let token = |session: &Value| json!({ "refreshToken": session["refreshToken"] });
    let live = |body: Value| refresh(&fixture.live, &body);
    vec![
        malformed(
            "an unknown refresh token",
            live(json!({ "refreshToken": "let-me-in" })),
            "refreshToken",
            "field.value",
        ),
        malformed(
            "the access token for a refresh token",
            live(json!({ "refreshToken": fixture.live["accessToken"] })),
            "refreshToken",
            "field.value",
        ),
        malformed(
            "another session's refresh token",
            live(token(&fixture.with_expired_token)),
            "refreshToken",
            "field.value",
        ),
        rejection(
            "a refresh token whose rotation is complete",
            live(json!({ "refreshToken": fixture.used })).header("idempotency-key", KEY),
            409,
            "refresh.token.used",
        )
        .at("refreshToken"),
        rejection(
            "a malformed idempotency key",
            live(token(&fixture.live)).header("idempotency-key", "\"half"),
            400,
            "invalid.value",
        )
        .at("Idempotency-Key"),
        rejection(
            "two idempotency keys",
            live(token(&fixture.live))
                .header("idempotency-key", "one")
                .header("idempotency-key", "two"),
            400,
            "invalid.value",
        )
        .at("Idempotency-Key"),
        rejection(
            "a refresh after the end",
            refresh(&fixture.ended, &token(&fixture.ended)),
            409,
            "session.ended",
        ),
    ]
}

fn consent(fixture: &Fixture) -> Vec<Rejection> {
    let patch = |session: &Value, body: &Value| {
        Call::new(Method::PATCH, &path_of(session, "/consent"))
            .json(body)
            .bearer(&fixture.api.token)
    };
    let mut rows: Vec<Rejection> = [
        (json!({ "marketing": null }), "marketing", "field.type"),
        (json!({ "analytics": 0 }), "analytics", "field.type"),
        (
            json!({ "personalization": false, "profiling": false }),
            "profiling",
            "field.unknown",
        ),
        (
            json!({ "consent": { "marketing": false } }),
            "consent",
            "field.unknown",
        ),
        (
            json!({ "marketing": false, "consentTimestamp": "now" }),
            "consentTimestamp",
            "field.value",
        ),
        (
            json!({ "marketing": false, "consentTimestamp": "2999-01-01T00:00:00Z" }),
            "consentTimestamp",
            "field.value",
        ),
    ]
    .into_iter()
    .map(|(body, field, detail)| {
        let what = format!("a change of consent {body}");
        malformed(what, patch(&fixture.live, &body), field, detail)
    })
    .collect();
    rows.extend([
        rejection(
            "a change of nothing",
            patch(&fixture.live, &json!({})),
            400,
            "bad.request",
        ),
        rejection(
            "a change at no time but some time",
            patch(
                &fixture.live,
                &json!({ "consentTimestamp": "2026-11-22T12:30:00Z" }),
            ),
            400,
            "bad.request",
        ),
        rejection(
            "a choice older than the one that is recorded",
            patch(
                &fixture.live,
                &json!({ "marketing": true, "consentTimestamp": "2001-01-01T00:00:00Z" }),
            ),
            409,
            "consent.outdated",
        )
        .at("consentTimestamp"),
        rejection(
            "a grant after the end",
            patch(&fixture.ended, &json!({ "marketing": true })),
            409,
            "session.ended",
        ),
    ]);
    rows
}
