//! Each kind of malformed body, sent to each endpoint that takes a JSON body. The same mistake has the same code and the
//! same code of its detail everywhere.

use http::Method;
use serde_json::{Value, json};

use super::{Fixture, Rejection, changed, malformed, path_of, rejection, webhook};
use crate::api::{Call, SESSIONS, WEBHOOKS, guest};

/// One byte more than a body may have.
const TOO_LARGE: usize = 64 * 1024 + 1;

/// An endpoint, a body that it accepts, and the fields to make invalid, as JSON pointers.
struct Endpoint {
    method: Method,
    path: String,
    body: Value,
    /// A required field.
    required: &'static str,
    /// A string.
    text: &'static str,
    /// An object.
    object: Option<&'static str>,
    /// A Boolean.
    boolean: Option<&'static str>,
    /// A list.
    list: Option<&'static str>,
    /// A string that is one of a few names.
    name: Option<&'static str>,
    /// A string of limited length.
    limited: &'static str,
}

fn endpoints(fixture: &Fixture) -> Vec<Endpoint> {
    let notice = json!({ "version": "7", "language": "de" });
    let mut create = guest();
    create["guestId"] = "guest-2".into();
    create["consent"]["how"] = "form".into();
    create["consent"]["notice"] = notice.clone();
    let subscription = |name: &str| {
        let mut body = webhook(name);
        body["method"] = "POST".into();
        body["headers"] = json!({ "x-source": "test" });
        body
    };
    let webhooks = |method, path, name| Endpoint {
        method,
        path,
        body: subscription(name),
        required: "/uri",
        text: "/eventFilters/0/predicate/values/0",
        object: Some("/eventFilters/0/predicate"),
        boolean: Some("/enabled"),
        list: Some("/eventFilters"),
        name: Some("/method"),
        limited: "/name",
    };
    vec![
        Endpoint {
            method: Method::POST,
            path: SESSIONS.to_owned(),
            body: create,
            required: "/channelConfigurationId",
            text: "/consent/consentTimestamp",
            object: Some("/consent"),
            boolean: Some("/consent/marketing"),
            list: None,
            name: Some("/consent/how"),
            limited: "/guestId",
        },
        Endpoint {
            method: Method::PATCH,
            path: path_of(&fixture.live, "/consent"),
            body: json!({ "marketing": true, "how": "form", "notice": notice }),
            required: "/notice/version",
            text: "/consentTimestamp",
            object: Some("/notice"),
            boolean: Some("/marketing"),
            list: None,
            name: Some("/how"),
            limited: "/notice/version",
        },
        Endpoint {
            method: Method::POST,
            path: path_of(&fixture.live, "/refresh"),
            body: json!({ "refreshToken": "unknown" }),
            required: "/refreshToken",
            text: "/refreshToken",
            object: None,
            boolean: None,
            list: None,
            name: None,
            limited: "/refreshToken",
        },
        webhooks(Method::POST, WEBHOOKS.to_owned(), "new"),
        webhooks(
            Method::PUT,
            format!("{WEBHOOKS}/{}", fixture.webhook["id"].as_str().unwrap()),
            "crm",
        ),
    ]
}

pub(super) fn rows(fixture: &Fixture) -> Vec<Rejection> {
    let mut rows = Vec::new();
    for endpoint in endpoints(fixture) {
        let token = &fixture.api.token;
        let mut of_endpoint = transport(&endpoint, token);
        of_endpoint.extend(whole(&endpoint, token));
        of_endpoint.extend(fields(&endpoint, token));
        for row in &mut of_endpoint {
            row.what
                .push_str(&format!(" to {} {}", endpoint.method, endpoint.path));
        }
        rows.extend(of_endpoint);
    }
    rows
}

/// The wrong media type or size.
fn transport(endpoint: &Endpoint, token: &str) -> Vec<Rejection> {
    let call = || Call::new(endpoint.method.clone(), &endpoint.path).bearer(token);
    let body = endpoint.body.to_string();
    let mut rows: Vec<Rejection> = [TOO_LARGE, 1 << 20]
        .into_iter()
        .map(|bytes| {
            let call = call().body("application/json", vec![b' '; bytes]);
            rejection(format!("{bytes} bytes"), call, 413, "body.too.large")
        })
        .collect();
    for (what, call) in [
        ("no media type", call()),
        ("a form", call().form("consent=all")),
        ("text", call().body("text/plain", body.clone())),
        ("text/json", call().body("text/json", body.clone())),
        (
            "something like JSON",
            call().body("application/jsonp", body.clone()),
        ),
        (
            "a coded body",
            call()
                .body("application/json", body.clone())
                .header("content-encoding", "gzip"),
        ),
    ] {
        rows.push(rejection(what, call, 415, "unsupported.media.type"));
    }
    let part = call()
        .body("application/json", body)
        .header("content-range", "bytes 0-9/10");
    rows.push(malformed(
        "a part of a body",
        part,
        "Content-Range",
        "field.value",
    ));
    rows
}

/// The body as a whole is at fault.
fn whole(endpoint: &Endpoint, token: &str) -> Vec<Rejection> {
    let bodies: [(&str, Vec<u8>); 12] = [
        ("no body", Vec::new()),
        ("half a body", br#"{"consent":{"#.to_vec()),
        ("two bodies", b"{}{}".to_vec()),
        ("text that is not UTF-8", b"{\"guestId\":\"\xff\"}".to_vec()),
        ("a comment", b"{} // none".to_vec()),
        ("a deep nest", b"[".repeat(10_000)),
        ("64 KiB of spaces", vec![b' '; TOO_LARGE - 1]),
        ("a list", b"[]".to_vec()),
        ("a string", br#""text""#.to_vec()),
        ("a number", b"7".to_vec()),
        ("null", b"null".to_vec()),
        ("true", b"true".to_vec()),
    ];
    let row = |(what, body)| {
        let call = Call::new(endpoint.method.clone(), &endpoint.path)
            .body("application/json", body)
            .bearer(token);
        rejection(what, call, 400, "bad.request")
    };
    bodies.into_iter().map(row).collect()
}

/// One field is at fault.
fn fields(endpoint: &Endpoint, token: &str) -> Vec<Rejection> {
    let row = |what: &str, body: String, pointer: &str, detail| {
        let call = Call::new(endpoint.method.clone(), &endpoint.path)
            .body("application/json", body)
            .bearer(token);
        malformed(what, call, &path_of_pointer(pointer), detail)
    };
    let with = |what: &str, pointer: &str, value: Value, detail| {
        row(what, replaced(&endpoint.body, pointer, value), pointer, detail)
    };
    let twice = |value: &str| {
        endpoint
            .body
            .to_string()
            .replacen('{', &format!(r#"{{"twice":1,"twice":{value},"#), 1)
    };
    let missing = changed(&endpoint.body, endpoint.required, Value::Null).to_string();
    let long = json!("x".repeat(2_000));
    let mut rows = vec![
        row("a field twice", twice("1"), "/twice", "field.duplicate"),
        row(
            "a field twice, once null",
            twice("null"),
            "/twice",
            "field.duplicate",
        ),
        row("a missing field", missing, endpoint.required, "field.missing"),
        with("an unknown field", "/extra", json!("x"), "field.unknown"),
        with("an unknown null", "/extra", Value::Null, "field.unknown"),
        with("a string that is too long", endpoint.limited, long, "field.value"),
    ];
    let invalid_values: [(Option<&str>, &[Value]); 4] = [
        (
            Some(endpoint.text),
            &[json!(7), json!(true), json!([]), json!({}), Value::Null],
        ),
        (endpoint.object, &[json!(7), json!("x"), json!([]), Value::Null]),
        (endpoint.boolean, &[json!(1), json!("true"), json!([])]),
        (endpoint.list, &[json!(7), json!("x"), json!({}), Value::Null]),
    ];
    for (pointer, values) in invalid_values {
        let Some(pointer) = pointer else { continue };
        for value in values {
            rows.push(with(
                &format!("{value} at {pointer}"),
                pointer,
                value.clone(),
                "field.type",
            ));
        }
    }
    if let Some(pointer) = endpoint.object {
        let extra = format!("{pointer}/extra");
        rows.push(with("an unknown nested field", &extra, json!(1), "field.unknown"));
    }
    if let Some(pointer) = endpoint.name {
        rows.push(with("an unknown name", pointer, json!("nonsense"), "field.value"));
        rows.push(with("an empty name", pointer, json!(""), "field.value"));
        rows.push(with("a number for a name", pointer, json!(7), "field.type"));
    }
    rows
}

/// `body` with `value` at `pointer`, `null` included.
fn replaced(body: &Value, pointer: &str, value: Value) -> String {
    const MARK: &str = "value to be replaced";
    let marked = changed(body, pointer, json!(MARK)).to_string();
    marked.replace(&format!("\"{MARK}\""), &value.to_string())
}

/// A JSON pointer as the details name the field: `/a/0/b` is `a[0].b`.
fn path_of_pointer(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{part}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(part);
        }
    }
    path
}
