//! The simulator's own endpoints, under `/sim`: its clock, its counters, its complaints.

use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Now, rfc3339};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{Problem, json};
use crate::world::{Output, World};

/// No later than this year can the clock be moved: what is counted from it has to fit RFC 3339.
const LAST_YEAR: i32 = 9_000;

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
            .and_then(duration)
            .ok_or_else(|| Problem::bad_request(FORM))?,
        _ => return Err(Problem::bad_request(FORM)),
    };
    let utc = time::Duration::try_from(by)
        .ok()
        .and_then(|by| now.utc.checked_add(by))
        .filter(|utc| utc.year() <= LAST_YEAR)
        .ok_or_else(|| Problem::bad_request("The clock cannot be moved beyond the year 9000."))?;
    world.order(Output::Advance(by));
    Ok(json(StatusCode::OK, &json!({"utc": rfc3339(utc)})))
}

pub(super) fn complaints(world: &World) -> Response<Bytes> {
    let body = json!({"complaints": world.complaints(), "dropped": world.complaints.dropped()});
    json(StatusCode::OK, &body)
}

pub(super) fn state(world: &World, now: Now) -> Response<Bytes> {
    let body = json!({"utc": rfc3339(now.utc), "counters": world.counters()});
    json(StatusCode::OK, &body)
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
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
}
