//! `POST /oauth/token`.

use super::{Rejection, rejection};
use crate::api::Call;
use crate::world::{CLIENT, NEIGHBOR, READER};

const GRANT: &str = "grant_type=client_credentials";

pub(super) fn rows() -> Vec<Rejection> {
    let mut rows: Vec<Rejection> = credentials()
        .into_iter()
        .map(|(what, call)| {
            rejection(what, call, 401, "invalid_client")
                .with("www-authenticate", "Basic realm=\"guest-sessions\"")
        })
        .collect();
    rows.extend(
        forms()
            .into_iter()
            .map(|(what, call, error)| rejection(what, call, 400, error)),
    );
    rows = rows.into_iter().map(Rejection::in_oauth).collect();
    let json = serde_json::json!({ "grant_type": "client_credentials" });
    let huge = format!("{GRANT}&{}&scope={}", known(), "x".repeat(64 * 1024));
    rows.extend(
        [
            (
                "JSON in place of a form",
                Call::post("/oauth/token").json(&json),
                415,
                "unsupported.media.type",
            ),
            (
                "no media type",
                Call::post("/oauth/token"),
                415,
                "unsupported.media.type",
            ),
            ("a huge form", form(&huge), 413, "body.too.large"),
        ]
        .map(|(what, call, status, code)| rejection(what, call, status, code)),
    );
    for row in &mut rows {
        row.what.insert_str(0, "oauth: ");
    }
    rows
}

fn form(text: &str) -> Call {
    Call::post("/oauth/token").form(text)
}

fn basic(credentials: &str, text: &str) -> Call {
    form(text).header("authorization", credentials)
}

fn known() -> String {
    let (id, secret) = CLIENT;
    format!("client_id={id}&client_secret={secret}")
}

/// Credentials that are missing, wrong or malformed.
fn credentials() -> [(&'static str, Call); 12] {
    let (id, secret) = CLIENT;
    [
        (
            "a wrong secret",
            form(&format!("{GRANT}&client_id={id}&client_secret=guess")),
        ),
        (
            "another client's secret",
            form(&format!("{GRANT}&client_id={id}&client_secret={}", NEIGHBOR.1)),
        ),
        (
            "an empty secret",
            form(&format!("{GRANT}&client_id={id}&client_secret=")),
        ),
        (
            "an unknown client",
            form(&format!("{GRANT}&client_id=nobody&client_secret={secret}")),
        ),
        (
            "a client id that cannot be one",
            form(&format!("{GRANT}&client_id=%00%ff&client_secret={secret}")),
        ),
        ("no credentials", form(GRANT)),
        ("no secret", form(&format!("{GRANT}&client_id={id}"))),
        ("no form at all", form("")),
        // all-scopes:guess
        (
            "a wrong secret by Basic",
            basic("Basic YWxsLXNjb3BlczpndWVzcw==", GRANT),
        ),
        ("Basic that is no base64", basic("Basic %%%", GRANT)),
        // nocolon
        ("Basic without a colon", basic("Basic bm9jb2xvbg==", GRANT)),
        ("a bearer token in place of Basic", basic("Bearer abc", GRANT)),
    ]
}

/// Forms with unknown values, and malformed forms.
fn forms() -> [(&'static str, Call, &'static str); 8] {
    // all-scopes:secret-of-all-scopes
    let right = "Basic YWxsLXNjb3BlczpzZWNyZXQtb2YtYWxsLXNjb3Blcw==";
    let known = known();
    let reader = format!("client_id={}&client_secret={}", READER.0, READER.1);
    [
        (
            "both ways at once",
            basic(right, &format!("{GRANT}&{known}")),
            "invalid_request",
        ),
        (
            "Basic twice",
            basic(right, GRANT).header("authorization", right),
            "invalid_request",
        ),
        (
            "a repeated parameter",
            form(&format!("{GRANT}&{known}&scope=a&scope=b")),
            "invalid_request",
        ),
        ("no grant", form(&known), "invalid_request"),
        (
            "a wrong grant",
            form(&format!("grant_type=password&{known}")),
            "unsupported_grant_type",
        ),
        (
            "an unknown scope",
            form(&format!("{GRANT}&{known}&scope=everything")),
            "invalid_scope",
        ),
        (
            "a scope that cannot be one",
            form(&format!("{GRANT}&{known}&scope=a%22b")),
            "invalid_scope",
        ),
        (
            "a scope that the client has not",
            form(&format!("{GRANT}&{reader}&scope=webhooks:readwrite")),
            "invalid_scope",
        ),
    ]
}
