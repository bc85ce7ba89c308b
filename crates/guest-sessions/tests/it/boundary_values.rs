//! Values on both sides of the boundaries of a field.

use serde_json::{Map, Value, json};

/// Texts on both sides of the boundaries of some field.
const TEXTS: &[&str] = &[
    "",
    "x",
    "é",
    "€",
    "💬",
    "-",
    "--",
    "a-",
    "-a",
    "1",
    "a_b",
    "a/b",
    "xxx",
    "QQ",
    "DE",
    "de",
    "unknown",
    "UNKNOWN",
    "DE,",
    ",DE",
    "DE,,FR",
    "DE, FR",
    "DE,FR,IT,ES,PT,AT,BE,NL",
    "DE,FR,IT,ES,PT,AT,BE,NL,LU",
    "FRANCE",
    "US-CA",
    "us-ca",
    "DE-BY-1",
    "Unknown",
    "16",
    "007",
    "150",
    "151",
    "999",
    "1000",
    "18+",
    "+5",
    "13-15",
    "15-13",
    "under 13",
    "under",
    "under 151",
    "16 ",
    "٣",
    "1969-12-31T23:59:59Z",
    "9999-12-31T23:59:59Z",
    "2026-11-22T12:30:00",
    "2026-11-22",
    "2026-02-30T00:00:00Z",
    "2026-11-22T12:30:00.123456+01:00",
    "2026-11-22 12:30:00Z",
    "de-",
    "d",
    "de-CH-abcdefghi",
    "abcdefghi",
    "de-1996",
    "12-de",
    "http://crm.example/",
    "http://127.0.0.1:9/x",
    "http://localhost/",
    "http://localhost.evil.example/",
    "http://[::1]:9/",
    "https://joe@crm.example/",
    "https://crm.example/a@b",
    "https://crm.example/#x",
    "https://crm.example?x=1",
    "https://crm.example/é",
    "ftp://crm.example/",
    "/hook",
    "https://",
    "https:///x",
    "c0ffee000000400080000000000000 01",
    "c0ffee00000040008000000000000001",
    "{c0ffee00-0000-4000-8000-000000000001}",
    "C0FFEE00-0000-4000-8000-000000000001",
    "c0ffee00-0000-4000-8000-00000000000g",
];

/// Boundary values in place of `value`.
pub(crate) fn candidates(schema: &Value, value: &Value) -> Vec<Value> {
    let mut found = vec![
        Value::Null,
        json!(true),
        json!("true"),
        json!({}),
        json!([]),
        json!(-1),
        json!(0),
        json!(1.0),
        json!(1.5),
        json!(u64::MAX),
        json!(1.9e19),
    ];
    if let Some(text) = value.as_str() {
        add_texts(schema, text, &mut found);
    }
    if let Some(items) = value.as_array() {
        found.extend([16, 17, 65].map(|count| vec![items[0].clone(); count].into()));
        found.push(json!([1]));
    }
    if let Some(fields) = value.as_object() {
        add_objects(fields, &mut found);
    }
    found
}

fn add_texts(schema: &Value, text: &str, found: &mut Vec<Value>) {
    let longest = schema["maxLength"]
        .as_u64()
        .map_or(5_000, |longest| longest as usize);
    for length in [longest, longest + 1] {
        found.push("x".repeat(length).into());
        found.push("é".repeat(length).into());
        found.push(format!("{text}{}", "x".repeat(length.saturating_sub(text.len()))).into());
    }
    for control in [
        '\0', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9f}', ' ', '\u{a0}', '\u{2028}',
    ] {
        found.push(control.to_string().into());
        found.push(format!("{control}{text}").into());
        found.push(format!("{text}{control}").into());
        found.push(format!("{}{control}{}", &text[..1], &text[1..]).into());
    }
    found.extend(TEXTS.iter().copied().map(Value::from));
    found.push(text.to_uppercase().into());
    found.push(format!("https://crm.example/{}", "x".repeat(2_028)).into());
    found.push(format!("https://crm.example/{}", "x".repeat(2_029)).into());
}

fn add_objects(fields: &Map<String, Value>, found: &mut Vec<Value>) {
    let with = |name: &str, value: Value| {
        let mut fields = fields.clone();
        fields.insert(name.to_owned(), value);
        Value::Object(fields)
    };
    found.push(with("unknown", json!("x")));
    found.push(with("unknown", json!(7)));
    for name in [
        "",
        "a b",
        "a\n",
        "a\u{85}b",
        "é",
        "cookie",
        "x-source",
        &"k".repeat(64),
        &"k".repeat(65),
    ] {
        found.push(with(name, json!("x")));
    }
    for value in [
        "",
        " a",
        "a ",
        "a\tb",
        "é",
        "\0",
        &"x".repeat(1_024),
        &"x".repeat(1_025),
    ] {
        found.push(with("x-other", json!(value)));
    }
    for count in [16, 17, 64, 65] {
        let many = (0..count).map(|at| (format!("x-{at}"), json!("v")));
        found.push(Value::Object(many.collect()));
    }
    for name in fields.keys() {
        let mut fewer = fields.clone();
        fewer.remove(name);
        found.push(Value::Object(fewer));
        found.push(json!({ name: fields[name] }));
    }
}
