//! `/api/v2/webhooks`: bodies outside the contract, and names that are taken.

use http::Method;
use serde_json::{Map, Value, json};

use super::{Bad, Scene, bad, changed, webhook};
use crate::api::{Call, WEBHOOKS};

pub(super) fn rows(scene: &Scene) -> Vec<Bad> {
    let mut rows = shapes(scene);
    rows.extend(values(scene));
    rows.extend(names(scene));
    for row in &mut rows {
        row.what.insert_str(0, "webhook: ");
    }
    rows
}

fn row(scene: &Scene, pointer: &str, value: Value, field: &str, code: &'static str) -> Bad {
    let what = format!("{pointer} is {:.60}", value.to_string());
    let body = changed(&webhook("new"), pointer, value);
    let call = Call::post(WEBHOOKS).json(&body).bearer(&scene.api.token);
    bad(what, call, 400, code).at(field)
}

/// A field is missing, unknown, or of another type.
fn shapes(scene: &Scene) -> Vec<Bad> {
    let predicate = "eventFilters[0].predicate";
    let mut rows: Vec<Bad> = [
        ("/name", Value::Null, "name"),
        ("/name", json!(7), "name"),
        ("/uri", Value::Null, "uri"),
        ("/uri", json!({}), "uri"),
        ("/method", json!(1), "method"),
        ("/enabled", json!("yes"), "enabled"),
        ("/eventFilters", Value::Null, "eventFilters"),
        ("/eventFilters", json!({}), "eventFilters"),
        ("/eventFilters/0", json!("created"), "eventFilters[0]"),
        ("/eventFilters/0/predicate", Value::Null, predicate),
        ("/eventFilters/0/predicate", json!(7), predicate),
        ("/eventFilters/0/also", json!(7), "eventFilters[0].also"),
        (
            "/eventFilters/0/predicate/type",
            Value::Null,
            &format!("{predicate}.type"),
        ),
        (
            "/eventFilters/0/predicate/values",
            Value::Null,
            &format!("{predicate}.values"),
        ),
        (
            "/eventFilters/0/predicate/values",
            json!("x"),
            &format!("{predicate}.values"),
        ),
        (
            "/eventFilters/0/predicate/values/0",
            json!(7),
            &format!("{predicate}.values[0]"),
        ),
        (
            "/eventFilters/0/predicate/not",
            json!(7),
            &format!("{predicate}.not"),
        ),
        ("/headers", json!([]), "headers"),
        ("/headers", json!({ "X-Source": 7 }), "headers.X-Source"),
        ("/secret", json!("whsec_mine"), "secret"),
        ("/id", json!("mine"), "id"),
    ]
    .into_iter()
    .map(|(pointer, value, field)| row(scene, pointer, value, field, "bad.request"))
    .collect();
    for (what, text) in [
        ("no body", String::new()),
        ("half a body", r#"{"name":"#.to_owned()),
        ("a list", "[]".to_owned()),
        ("a deep nest", "[".repeat(10_000)),
    ] {
        let call = Call::post(WEBHOOKS).body("application/json", text);
        rows.push(bad(what, call.bearer(&scene.api.token), 400, "bad.request"));
    }
    let call = Call::post(WEBHOOKS).body("application/json", vec![b' '; 64 * 1024 + 1]);
    rows.push(bad(
        "a huge body",
        call.bearer(&scene.api.token),
        413,
        "body.too.large",
    ));
    let call = Call::post(WEBHOOKS).body("text/json", webhook("new").to_string());
    rows.push(bad(
        "another media type",
        call.bearer(&scene.api.token),
        415,
        "unsupported.media.type",
    ));
    rows
}

/// A value that does not do.
fn values(scene: &Scene) -> Vec<Bad> {
    let values = "eventFilters[0].predicate.values";
    let filter = webhook("new")["eventFilters"][0].clone();
    let many: Map<String, Value> = (0..17).map(|n| (format!("x-{n}"), json!("v"))).collect();
    let mut rows: Vec<Bad> = [
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
    .map(|(pointer, value, field)| row(scene, pointer, value, field, "invalid.value"))
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
        rows.push(row(scene, "/uri", json!(uri), "uri", "invalid.value"));
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
        rows.push(row(scene, "/headers", headers, "headers", "invalid.value"));
    }
    rows
}

fn names(scene: &Scene) -> Vec<Bad> {
    let other = changed(&webhook("crm"), "/uri", json!("https://other.example/hook"));
    let one = format!("{WEBHOOKS}/{}", scene.webhook["id"].as_str().unwrap());
    let put = |body: &Value| Call::new(Method::PUT, &one).json(body).bearer(&scene.api.token);
    vec![
        bad(
            "a name in use, with other content",
            Call::post(WEBHOOKS).json(&other).bearer(&scene.api.token),
            409,
            "webhook.name.in.use",
        )
        .at("name"),
        bad(
            "replaced under the name of another",
            put(&changed(
                &webhook("new"),
                "/name",
                scene.other_webhook["name"].clone(),
            )),
            409,
            "webhook.name.in.use",
        )
        .at("name"),
        bad(
            "replaced by half",
            put(&changed(&webhook("crm"), "/uri", Value::Null)),
            400,
            "bad.request",
        )
        .at("uri"),
        bad(
            "replaced by plain http",
            put(&changed(&webhook("crm"), "/uri", json!("http://crm.example/"))),
            400,
            "invalid.value",
        )
        .at("uri"),
    ]
}
