//! `/api/v2/webhooks`: bodies outside the contract, and names that are taken.

use http::Method;
use serde_json::{Map, Value, json};

use super::{Fixture, Rejection, changed, malformed, rejection, webhook};
use crate::api::{Call, WEBHOOKS};

pub(super) fn rows(fixture: &Fixture) -> Vec<Rejection> {
    let mut rows = shapes(fixture);
    rows.extend(values(fixture));
    rows.extend(names(fixture));
    for row in &mut rows {
        row.what.insert_str(0, "webhook: ");
    }
    rows
}

fn row(fixture: &Fixture, pointer: &str, value: Value, field: &str, detail: &'static str) -> Rejection {
    let what = format!("{pointer} is {:.60}", value.to_string());
    let body = changed(&webhook("new"), pointer, value);
    let call = Call::post(WEBHOOKS).json(&body).bearer(&fixture.api.token);
    malformed(what, call, field, detail)
}

/// A field is missing, unknown, or of another type.
fn shapes(fixture: &Fixture) -> Vec<Rejection> {
    let predicate = "eventFilters[0].predicate";
    [
        ("/name", Value::Null, "name", "field.missing"),
        ("/name", json!(7), "name", "field.type"),
        ("/uri", json!({}), "uri", "field.type"),
        ("/method", json!(1), "method", "field.type"),
        ("/eventFilters", Value::Null, "eventFilters", "field.missing"),
        (
            "/eventFilters/0",
            json!("created"),
            "eventFilters[0]",
            "field.type",
        ),
        (
            "/eventFilters/0/predicate",
            Value::Null,
            predicate,
            "field.missing",
        ),
        (
            "/eventFilters/0/also",
            json!(7),
            "eventFilters[0].also",
            "field.unknown",
        ),
        (
            "/eventFilters/0/predicate/type",
            Value::Null,
            &format!("{predicate}.type"),
            "field.missing",
        ),
        (
            "/eventFilters/0/predicate/values",
            Value::Null,
            &format!("{predicate}.values"),
            "field.missing",
        ),
        (
            "/eventFilters/0/predicate/values",
            json!("x"),
            &format!("{predicate}.values"),
            "field.type",
        ),
        (
            "/eventFilters/0/predicate/values/0",
            json!(7),
            &format!("{predicate}.values[0]"),
            "field.type",
        ),
        ("/headers", json!([]), "headers", "field.type"),
        (
            "/headers",
            json!({ "X-Source": 7 }),
            "headers.X-Source",
            "field.type",
        ),
        ("/secret", json!("whsec_mine"), "secret", "field.unknown"),
        ("/id", json!("mine"), "id", "field.unknown"),
    ]
    .into_iter()
    .map(|(pointer, value, field, detail)| row(fixture, pointer, value, field, detail))
    .collect()
}

/// A value that is not allowed.
fn values(fixture: &Fixture) -> Vec<Rejection> {
    let values = "eventFilters[0].predicate.values";
    let filter = webhook("new")["eventFilters"][0].clone();
    let many: Map<String, Value> = (0..17).map(|n| (format!("x-{n}"), json!("v"))).collect();
    let mut rows: Vec<Rejection> = [
        ("/name", json!(""), "name"),
        ("/name", json!("x".repeat(1_000)), "name"),
        ("/name", json!("a\nb"), "name"),
        ("/method", json!("GET"), "method"),
        ("/eventFilters", json!([]), "eventFilters"),
        ("/eventFilters", json!(vec![filter; 17]), "eventFilters"),
        (
            "/eventFilters/0/predicate/type",
            json!("schedule"),
            "eventFilters[0].predicate.type",
        ),
        ("/eventFilters/0/predicate/values", json!([]), values),
        (
            "/eventFilters/0/predicate/values/0",
            json!("webmessaging.guestsession.erased"),
            &format!("{values}[0]"),
        ),
        ("/headers", Value::Object(many), "headers"),
    ]
    .into_iter()
    .map(|(pointer, value, field)| row(fixture, pointer, value, field, "field.value"))
    .collect();
    for uri in [
        "http://crm.example/hook",
        "http://10.0.0.1/hook",
        "http://169.254.169.254/latest/meta-data",
        "http://crm.internal/hook",
        "http://localhost.evil.example/hook",
        "https://user:password@crm.example/hook",
        "https://crm.example/hook#part",
        "ftp://crm.example/hook",
        "file:///etc/passwd",
        "/hook",
        "",
        "https://crm.example/a b",
        &format!("https://crm.example/{}", "x".repeat(3_000)),
    ] {
        rows.push(row(fixture, "/uri", json!(uri), "uri", "field.value"));
    }
    for (name, value) in [
        ("Authorization", "Bearer abc"),
        ("Cookie", "a=b"),
        ("Host", "other.example"),
        ("Content-Length", "0"),
        ("Content-Type", "text/plain"),
        ("Transfer-Encoding", "chunked"),
        ("webhook-signature", "v1,forged"),
        ("not a name", "x"),
        ("X-Split", "a\r\nHost: other.example"),
        ("X-Long", &"x".repeat(1_025)),
    ] {
        let headers = Value::Object(Map::from_iter([(name.to_owned(), json!(value))]));
        rows.push(row(fixture, "/headers", headers, "headers", "field.value"));
    }
    rows
}

fn names(fixture: &Fixture) -> Vec<Rejection> {
    let other = changed(&webhook("crm"), "/uri", json!("https://other.example/hook"));
    let one = format!("{WEBHOOKS}/{}", fixture.webhook["id"].as_str().unwrap());
    let put = |body: &Value| Call::new(Method::PUT, &one).json(body).bearer(&fixture.api.token);
    vec![
        rejection(
            "a name in use, with other content",
            Call::post(WEBHOOKS).json(&other).bearer(&fixture.api.token),
            409,
            "webhook.name.in.use",
        )
        .at("name"),
        rejection(
            "replaced under the name of another",
            put(&changed(
                &webhook("new"),
                "/name",
                fixture.other_webhook["name"].clone(),
            )),
            409,
            "webhook.name.in.use",
        )
        .at("name"),
        malformed(
            "replaced by half",
            put(&changed(&webhook("crm"), "/uri", Value::Null)),
            "uri",
            "field.missing",
        ),
        malformed(
            "replaced by plain http",
            put(&changed(&webhook("crm"), "/uri", json!("http://crm.example/"))),
            "uri",
            "field.value",
        ),
    ]
}
