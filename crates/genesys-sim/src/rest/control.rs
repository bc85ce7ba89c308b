//! The simulator's own endpoints under `/sim`: clock, counters, violations, faults.

use genesys_api::{Host, rfc3339};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use serde::Deserialize;
use serde_json::json;

use super::response::{Context, HandlerResult, ok};
use crate::cloud::{Output, Problem, advanced};
use crate::duration;
use crate::fault::{Fault, FaultError};

/// Longest token of a session to which a fault is limited, in bytes.
const MAX_TOKEN: usize = 256;

/// Refuses pages of a browser, from another origin or under a name that resolves to this machine (DNS rebinding).
pub(super) fn admit(context: &Context<'_>) -> Result<(), Problem> {
    let own = context.cloud.base.to_string();
    let header = |name| {
        let value = context.request.headers().get(name)?;
        Some(value.to_str().unwrap_or_default())
    };
    let refused = |reason| {
        let advice = "use a program on this machine, not a page of a browser";
        Err(Problem::forbidden(format!("cannot use /sim: {reason}, {advice}")))
    };
    if header(ORIGIN).is_some_and(|origin| origin != own) {
        return refused("the Origin is not the simulator's own");
    }
    let host = header(HOST).or_else(|| context.request.uri().authority().map(Authority::as_str));
    let known = |host: &str| own.split_once("://").is_some_and(|(_, own)| own == host) || is_loopback(host);
    if host.is_some_and(|host| !known(host)) {
        return refused("the Host is neither the simulator's own nor a loopback one");
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    // of plain HTTP, a `Host` is loopback only
    let host = format!("http://{}", host.to_ascii_lowercase());
    host.parse::<Host>().is_ok()
}

/// Longest value that an error repeats, in characters.
const MAX_SHOWN: usize = 64;

pub(super) fn clock(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    Ok(ok(&json!({"utc": rfc3339(context.now.utc)})))
}

/// `POST /sim/clock {"advance":"14m"}`: moves the clock forward. Units are `ms`, `s`, `m`, `h` and `d`.
pub(super) fn advance(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        advance: String,
    }
    let body: Option<Body> = serde_json::from_slice(context.request.body()).ok();
    let valid = r#"invalid body: use {"advance":"14m"}, with a whole number of ms, s, m, h or d"#;
    let body = body.ok_or_else(|| Problem::bad_request(valid))?;
    let by = duration::parse(&body.advance).ok_or_else(|| {
        let given: String = body.advance.chars().take(MAX_SHOWN).collect();
        Problem::bad_request(format!(
            "invalid time {given:?}: use a whole number with ms, s, m, h or d, such as 14m"
        ))
    })?;
    let beyond = "cannot move the clock beyond the year 9000: use a shorter time";
    let utc = advanced(context.now, by).ok_or_else(|| Problem::bad_request(beyond))?;
    context.cloud.emit(Output::Advance(by));
    Ok(ok(&json!({"utc": rfc3339(utc)})))
}

pub(super) fn violations(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    let violations = &context.cloud.violations;
    Ok(ok(
        &json!({"complaints": violations.list(), "dropped": violations.dropped}),
    ))
}

/// `POST /sim/faults {"fault":"drop@3","session":"…"}`: without a session it is for all.
pub(super) fn add_fault(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        fault: String,
        session: Option<String>,
    }
    let body: Body = serde_json::from_slice(context.request.body()).map_err(|_| {
        Problem::bad_request(r#"invalid body: use {"fault":"drop@3"}, with "session" for one session only"#)
    })?;
    let session = body.session;
    if session.as_ref().is_some_and(|token| token.len() > MAX_TOKEN) {
        let message = "invalid session: a token has at most 256 bytes";
        return Err(Problem::bad_request(message));
    }
    let invalid = |error: FaultError| Problem::bad_request(error.to_string());
    let fault: Fault = body.fault.parse().map_err(invalid)?;
    let id = context.cloud.active_faults.add(fault, session).map_err(invalid)?;
    Ok(ok(&json!({"id": id})))
}

/// `DELETE /sim/faults` removes all, `?id=3` one.
pub(super) fn remove_faults(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    let id = context.query("id").map(|id| id.parse()).transpose();
    let id = id.map_err(|_| Problem::bad_request("invalid id: use a number that GET /sim/faults lists"))?;
    Ok(ok(&json!({"removed": context.cloud.remove_faults(id)})))
}

pub(super) fn faults(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    Ok(ok(&json!({
        "seed": context.cloud.seed_text,
        "faults": context.cloud.active_faults.list(),
        "happened": context.cloud.counters().faults,
    })))
}

/// `GET /sim/state`: counters, and the custom attributes of each session.
pub(super) fn state(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    Ok(ok(&json!({
        "utc": rfc3339(context.now.utc),
        "counters": context.cloud.counters(),
        "attributes": context.cloud.attributes(),
    })))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response};
    use serde_json::Value;

    use super::*;
    use crate::cloud::tests::{cloud, get, now, send};

    fn post(body: &str) -> (Response<Bytes>, Value, Option<Output>) {
        let mut cloud = cloud();
        let request = Request::post("/sim/clock")
            .body(Bytes::from(body.to_owned()))
            .unwrap();
        let (response, body) = send(&mut cloud, request, now());
        (response, body, cloud.poll_output())
    }

    #[test]
    fn clock_moves_by_a_number_with_a_unit() {
        for (text, seconds) in [("14m", 840), ("2h", 7_200), ("3d", 259_200), ("7s", 7), ("0s", 0)] {
            let (response, body, output) = post(&format!(r#"{{"advance":"{text}"}}"#));
            assert_eq!(response.status(), 200);
            let by = Duration::from_secs(seconds);
            assert_eq!(output, Some(Output::Advance(by)));
            assert_eq!(body, json!({"utc": rfc3339(now().utc + by)}));
        }
        assert_eq!(
            post(r#"{"advance":"250ms"}"#).2,
            Some(Output::Advance(Duration::from_millis(250)))
        );
    }

    #[test]
    fn clock_rejects_other_values() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"advance":14}"#,
            r#"{"advance":"14"}"#,
            r#"{"advance":"-14m"}"#,
            r#"{"advance":"m"}"#,
            r#"{"advance":"1.5h"}"#,
            r#"{"advance":"14 m"}"#,
            r#"{"advance":"14m","extra":1}"#,
            r#"{"advance":"99999999999999999999d"}"#,
            r#"{"advance":"18446744073709551615d"}"#,
            r#"{"advance":"18446744073709551615s"}"#,
            r#"{"advance":"3000000d"}"#,
        ] {
            let (response, problem, output) = post(body);
            assert_eq!(
                (response.status().as_u16(), &problem["code"]),
                (400, &json!("bad.request")),
                "{body}"
            );
            assert_eq!(output, None);
        }
    }

    #[test]
    fn time_and_counters_are_readable() {
        let mut cloud = cloud();
        assert_eq!(
            get(&mut cloud, "/sim/clock", now()).1,
            json!({"utc": rfc3339(now().utc)})
        );
        assert_eq!(
            get(&mut cloud, "/sim/state", now()).1["counters"]["connections"],
            0
        );
        assert_eq!(
            get(&mut cloud, "/sim/complaints", now()).1,
            json!({"complaints": [], "dropped": 0})
        );
    }

    #[test]
    fn control_endpoints_refuse_pages_of_browsers() {
        let mut cloud = cloud();
        let own = cloud.base.to_string();
        let authority = own.split_once("://").unwrap().1.to_owned();
        for (name, value, status) in [
            (ORIGIN, own.as_str(), 200),
            (ORIGIN, "https://evil.example", 403),
            (ORIGIN, "http://127.0.0.1:1", 403),
            (ORIGIN, "null", 403),
            (HOST, authority.as_str(), 200),
            (HOST, "localhost:8082", 200),
            (HOST, "127.0.0.1", 200),
            (HOST, "[::1]:8082", 200),
            (HOST, "evil.example:8082", 403),
            (HOST, "127.0.0.1.evil.example", 403),
            (HOST, "192.0.2.1", 403),
            (HOST, "", 403),
        ] {
            for path in ["/sim/clock", "/sim/state", "/sim/faults"] {
                let request = Request::get(path)
                    .header(&name, value)
                    .body(Bytes::new())
                    .unwrap();
                let (response, problem) = send(&mut cloud, request, now());
                assert_eq!(response.status().as_u16(), status, "{path} {name}: {value}");
                assert_eq!(problem["code"] == "not.authorized", status == 403);
            }
        }
        let request = Request::post("/sim/clock")
            .header(ORIGIN, "https://evil.example")
            .header("content-type", "text/plain")
            .body(r#"{"advance":"14m"}"#.into())
            .unwrap();
        assert_eq!(send(&mut cloud, request, now()).0.status(), 403);
        assert_eq!(cloud.poll_output(), None);
    }
}
