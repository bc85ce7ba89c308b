//! The simulator's own endpoints, under `/sim`: its clock, its counters, its complaints.

use std::net::IpAddr;

use bytes::Bytes;
use genesys_api::{Now, rfc3339};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Problem, json, parameter};
use crate::world::{self, Fault, FaultError, Output, World};

/// Longest token of a session that a fault is for, in bytes.
const LONGEST_TOKEN: usize = 256;

/// No page of a browser may drive the simulator: neither from another origin, nor under a name of its own that leads
/// here (DNS rebinding). What comes without a `Host` comes from no browser.
pub(super) fn admit(world: &World, request: &Request<Bytes>) -> Result<(), Problem> {
    let own = world.base.to_string();
    let text = |name| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    if text(ORIGIN).is_some_and(|origin| origin != own) {
        return Err(Problem::foreign_page("Its Origin is not the simulator's own."));
    }
    let host = text(HOST).or_else(|| request.uri().authority().map(Authority::as_str));
    let known = |host: &str| own.split_once("://").is_some_and(|(_, own)| own == host) || is_loopback(host);
    if host.is_some_and(|host| !known(host)) {
        return Err(Problem::foreign_page(
            "Its Host is neither the simulator's own nor a loopback one.",
        ));
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    match authority.host() {
        name if name.eq_ignore_ascii_case("localhost") => true,
        name => name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback()),
    }
}

pub(super) fn clock(now: Now) -> Response<Bytes> {
    json(StatusCode::OK, &json!({"utc": rfc3339(now.utc)}))
}

/// `POST /sim/clock {"advance":"14m"}`: moves the clock forward. Units are `ms`, `s`, `m`, `h` and `d`.
pub(super) fn advance(
    world: &mut World,
    request: &Request<Bytes>,
    now: Now,
) -> Result<Response<Bytes>, Problem> {
    const FORM: &str = r#"The body has to be {"advance":"14m"}, with a whole number of ms, s, m, h or d."#;
    let by = match serde_json::from_slice(request.body()) {
        Ok(Value::Object(body)) if body.len() == 1 => body
            .get("advance")
            .and_then(Value::as_str)
            .and_then(crate::duration::parse)
            .ok_or_else(|| Problem::bad_request(FORM))?,
        _ => return Err(Problem::bad_request(FORM)),
    };
    let utc = world::moved(now, by)
        .ok_or_else(|| Problem::bad_request("The clock cannot be moved beyond the year 9000."))?;
    world.order(Output::Advance(by));
    Ok(json(StatusCode::OK, &json!({"utc": rfc3339(utc)})))
}

pub(super) fn complaints(world: &World) -> Response<Bytes> {
    let body = json!({"complaints": world.complaints(), "dropped": world.complaints.dropped()});
    json(StatusCode::OK, &body)
}

/// `POST /sim/faults {"fault":"drop@3","session":"…"}`: without a session it is for all.
pub(super) fn arm(world: &mut World, request: &Request<Bytes>) -> Result<Response<Bytes>, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        fault: String,
        session: Option<String>,
    }
    let body: Body = serde_json::from_slice(request.body()).map_err(|_| {
        Problem::bad_request(r#"The body has to be {"fault":"drop@3"}, with "session" for one session only."#)
    })?;
    let session = body.session.as_deref();
    if session.is_some_and(|token| token.len() > LONGEST_TOKEN) {
        return Err(Problem::bad_request(
            "The session is no token: it has more than 256 bytes.",
        ));
    }
    let fault: Fault = body.fault.parse().map_err(refuse_fault)?;
    let id = world.arm(fault, session).map_err(refuse_fault)?;
    Ok(json(StatusCode::OK, &json!({"id": id})))
}

/// `DELETE /sim/faults` takes back all, `?id=3` one.
pub(super) fn disarm(world: &mut World, request: &Request<Bytes>) -> Result<Response<Bytes>, Problem> {
    let id = parameter(request.uri().query().unwrap_or_default(), "id")
        .map(|id| id.parse())
        .transpose()
        .map_err(|_| Problem::bad_request("The id is no number: GET /sim/faults lists them."))?;
    Ok(json(StatusCode::OK, &json!({"removed": world.disarm(id)})))
}

pub(super) fn faults(world: &World) -> Response<Bytes> {
    let body = json!({
        "seed": world.seed(),
        "faults": world.faults(),
        "happened": world.counters().faults,
    });
    json(StatusCode::OK, &body)
}

fn refuse_fault(error: FaultError) -> Problem {
    Problem::bad_request(error.to_string())
}

pub(super) fn state(world: &World, now: Now) -> Response<Bytes> {
    let body = json!({"utc": rfc3339(now.utc), "counters": world.counters()});
    json(StatusCode::OK, &body)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::world::tests::{get, now, send, world};

    fn post(body: &str) -> (Response<Bytes>, Value, Option<Output>) {
        let mut world = world();
        let request = Request::post("/sim/clock")
            .body(Bytes::from(body.to_owned()))
            .unwrap();
        let (response, body) = send(&mut world, request, now());
        (response, body, world.poll_output())
    }

    #[test]
    fn the_clock_moves_by_a_number_with_a_unit() {
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
    fn it_does_not_move_by_anything_else() {
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
    fn the_time_and_the_counters_can_be_read() {
        let mut world = world();
        assert_eq!(
            get(&mut world, "/sim/clock", now()).1,
            json!({"utc": rfc3339(now().utc)})
        );
        assert_eq!(
            get(&mut world, "/sim/state", now()).1["counters"]["connections"],
            0
        );
        assert_eq!(
            get(&mut world, "/sim/complaints", now()).1,
            json!({"complaints": [], "dropped": 0})
        );
    }

    #[test]
    fn no_page_of_a_browser_drives_it() {
        let mut world = world();
        let own = world.base.to_string();
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
                let (response, problem) = send(&mut world, request, now());
                assert_eq!(response.status().as_u16(), status, "{path} {name}: {value}");
                assert_eq!(problem["code"] == "not.authorized", status == 403);
            }
        }
        let request = Request::post("/sim/clock")
            .header(ORIGIN, "https://evil.example")
            .header("content-type", "text/plain")
            .body(r#"{"advance":"14m"}"#.into())
            .unwrap();
        assert_eq!(send(&mut world, request, now()).0.status(), 403);
        assert_eq!(world.poll_output(), None);
    }
}
