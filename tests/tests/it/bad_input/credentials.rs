//! Invalid bearer tokens, and resources of other owners.

use http::Method;
use serde_json::json;

use super::{Fixture, Rejection, path_of, rejection, webhook};
use crate::api::{Call, SESSIONS, WEBHOOKS, guest};

pub(super) fn rows(fixture: &Fixture) -> Vec<Rejection> {
    let mut rows = tokens(fixture);
    rows.extend(scopes(fixture));
    rows.extend(foreign_resources(fixture));
    rows.extend(ids(fixture));
    rows
}

fn tokens(fixture: &Fixture) -> Vec<Rejection> {
    let get = || Call::get(&path_of(&fixture.live, ""));
    let good = &fixture.api.token;
    let (claims, mac) = good.split_once('.').unwrap();
    let forged = format!("{}A{}.{mac}", &claims[..9], &claims[10..]);
    let mut rows = vec![
        rejection("no token", get(), 401, "authentication.required"),
        rejection(
            "two tokens",
            get().bearer(good).bearer(good),
            401,
            "authentication.required",
        ),
        rejection(
            "an expired token",
            get().bearer(&fixture.expired),
            401,
            "credentials.expired",
        ),
        rejection(
            "no token to create with",
            Call::post(SESSIONS).json(&guest()),
            401,
            "authentication.required",
        ),
        rejection(
            "an expired token to create with",
            Call::post(SESSIONS).json(&guest()).bearer(&fixture.expired),
            401,
            "credentials.expired",
        ),
        rejection(
            "no token to register with",
            Call::post(WEBHOOKS).json(&webhook("new")),
            401,
            "authentication.required",
        ),
        rejection(
            "no token for the figures",
            Call::get(&format!("{SESSIONS}/metrics")),
            401,
            "authentication.required",
        ),
    ];
    for (what, value) in [
        ("a scheme that is not Bearer", format!("Basic {good}")),
        ("a token without a scheme", good.clone()),
        ("an empty token", "Bearer ".to_owned()),
        ("a word for a token", "Bearer let-me-in".to_owned()),
        ("a token with forged claims", format!("Bearer {forged}")),
        ("a token without its MAC", format!("Bearer {claims}.")),
        (
            "a token with half a MAC",
            format!("Bearer {claims}.{}", &mac[..20]),
        ),
        ("a token and more", format!("Bearer {good}.{mac}")),
        (
            "a guest's access token",
            format!("Bearer {}", fixture.live["accessToken"].as_str().unwrap()),
        ),
    ] {
        rows.push(rejection(
            what,
            get().header("authorization", &value),
            401,
            "bad.credentials",
        ));
    }
    rows
}

fn scopes(fixture: &Fixture) -> Vec<Rejection> {
    let live = |rest: &str| path_of(&fixture.live, rest);
    let write = [
        Call::post(SESSIONS).json(&guest()),
        Call::post(&live("/refresh")).json(&json!({ "refreshToken": fixture.live["refreshToken"] })),
        Call::new(Method::PATCH, &live("/consent")).json(&json!({ "marketing": false })),
        Call::new(Method::DELETE, &live("")),
    ]
    .map(|call| (call, "webmessaging:guest:write"));
    let one = format!("{WEBHOOKS}/{}", fixture.webhook["id"].as_str().unwrap());
    let webhooks = [
        Call::get(WEBHOOKS),
        Call::post(WEBHOOKS).json(&webhook("new")),
        Call::get(&one),
        Call::new(Method::PUT, &one).json(&webhook("new")),
        Call::new(Method::DELETE, &one),
    ]
    .map(|call| (call, "webhooks:readwrite"));
    let audit = [
        "entries",
        "checkpoint",
        "proof?entry=0",
        "consistency?old=1",
        "consent-records",
    ]
    .map(|read| (Call::get(&format!("/api/v2/audit/{read}")), "audit:read"));
    write
        .into_iter()
        .chain(webhooks)
        .chain(audit)
        .map(|(call, scope)| {
            let what = format!("without the scope {scope}: {call:?}");
            rejection(
                what,
                call.bearer(&fixture.reader.token),
                403,
                "missing.permissions",
            )
            .at(scope)
        })
        .collect()
}

fn foreign_resources(fixture: &Fixture) -> Vec<Rejection> {
    let foreign = |rest: &str| path_of(&fixture.foreign, rest);
    let webhook_of_others = format!("{WEBHOOKS}/{}", fixture.foreign_webhook["id"].as_str().unwrap());
    [
        Call::get(&foreign("")),
        Call::get(&foreign("/audit")),
        Call::new(Method::DELETE, &foreign("")),
        Call::post(&foreign("/refresh")).json(&json!({ "refreshToken": fixture.foreign["refreshToken"] })),
        Call::new(Method::PATCH, &foreign("/consent")).json(&json!({ "marketing": false })),
        Call::get(&webhook_of_others),
        Call::new(Method::PUT, &webhook_of_others).json(&webhook("mine")),
        Call::new(Method::DELETE, &webhook_of_others),
    ]
    .into_iter()
    .map(|call| {
        rejection(
            format!("another owner's: {call:?}"),
            call.bearer(&fixture.api.token),
            404,
            "not.found",
        )
    })
    .collect()
}

fn ids(fixture: &Fixture) -> Vec<Rejection> {
    let long = "x".repeat(129);
    let mut rows = Vec::new();
    for id in [
        "00000000-0000-4000-8000-000000000000",
        "no%20such",
        "%ff",
        "%00",
        "..%2f..%2fetc%2fpasswd",
        "'%20OR%201=1",
        &long,
    ] {
        for (call, what) in [
            (Call::get(&format!("{SESSIONS}/{id}")), "session"),
            (Call::get(&format!("{SESSIONS}/{id}/audit")), "trail"),
            (
                Call::new(Method::DELETE, &format!("{SESSIONS}/{id}")),
                "session's end",
            ),
            (
                Call::post(&format!("{SESSIONS}/{id}/refresh")).json(&json!({ "refreshToken": "x" })),
                "refresh",
            ),
            (
                Call::new(Method::PATCH, &format!("{SESSIONS}/{id}/consent"))
                    .json(&json!({ "marketing": false })),
                "consent",
            ),
            (Call::get(&format!("{WEBHOOKS}/{id}")), "webhook"),
            (
                Call::new(Method::PUT, &format!("{WEBHOOKS}/{id}")).json(&webhook("new")),
                "webhook's content",
            ),
            (
                Call::new(Method::DELETE, &format!("{WEBHOOKS}/{id}")),
                "webhook's end",
            ),
        ] {
            rows.push(rejection(
                format!("the {what} of the id {id}"),
                call.bearer(&fixture.api.token),
                404,
                "not.found",
            ));
        }
    }
    rows
}
