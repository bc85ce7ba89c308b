//! Queries outside the contract, on every path.

use super::{Fixture, Rejection, malformed, path_of};
use crate::api::{Call, WEBHOOKS};
use crate::document::DOCUMENT;

pub(super) fn rows(fixture: &Fixture) -> Vec<Rejection> {
    let rejection = |call: Call, query: &str, field: &str, detail: &'static str| {
        let path = format!("{}?{query}", call.path());
        let call = call.with_path(&path).bearer(&fixture.api.token);
        malformed(format!("the query {query}"), call, field, detail)
    };
    let mut rows = Vec::new();
    for (template, methods) in DOCUMENT.methods() {
        let subject = match template.starts_with(WEBHOOKS) {
            true => &fixture.webhook,
            false => &fixture.live,
        };
        let path = template.replace("{id}", subject["id"].as_str().unwrap());
        for method in methods {
            let call = || Call::new(method.parse().unwrap(), &path);
            for (query, field) in [
                ("novelty=1", "novelty"),
                ("novelty", "novelty"),
                ("n%6Fvelty=a&other=b", "novelty"),
                ("Limit=1", "Limit"),
                ("=1", ""),
            ] {
                rows.push(rejection(call(), query, field, "field.unknown"));
            }
            if !template.ends_with("/socket") {
                rows.push(rejection(
                    call(),
                    "access_token=x",
                    "access_token",
                    "field.unknown",
                ));
            }
        }
    }
    let long = "x".repeat(100);
    let audit = || Call::get(&path_of(&fixture.live, "/audit"));
    rows.push(rejection(audit(), &long, &long[..64], "field.unknown"));
    for (query, field, detail) in [
        ("limit=1&limit=1", "limit", "field.duplicate"),
        ("limit=0", "limit", "field.value"),
        ("limit=1001", "limit", "field.value"),
        ("limit=", "limit", "field.value"),
        ("before=newest", "before", "field.value"),
        ("since=yesterday", "since", "field.value"),
    ] {
        rows.push(rejection(audit(), query, field, detail));
    }
    for (path, query, field, detail) in [
        ("entries", "from=-1", "from", "field.value"),
        ("entries", "limit=0", "limit", "field.value"),
        ("entries", "since=yesterday", "since", "field.value"),
        ("entries", "before=1", "before", "field.unknown"),
        ("checkpoint", "size=all", "size", "field.value"),
        ("proof", "size=1", "entry", "field.missing"),
        ("proof", "entry=%2B1", "entry", "field.value"),
        ("proof", "entry=1&entry=2", "entry", "field.duplicate"),
        ("consent-records", "receipts=yes", "receipts", "field.value"),
        ("consent-records", "after=%20", "after", "field.value"),
        ("consistency", "", "old", "field.missing"),
        ("consistency", "old=18446744073709551616", "old", "field.value"),
    ] {
        let audit = Call::get(&format!("/api/v2/audit/{path}"));
        rows.push(rejection(audit, query, field, detail));
    }
    let twice = "access_token=x&access_token=y";
    let socket = Call::get(&path_of(&fixture.live, "/socket"));
    rows.push(rejection(socket, twice, "access_token", "field.duplicate"));
    rows
}
