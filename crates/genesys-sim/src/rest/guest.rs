//! REST calls of guests: history, devices, and tokens of signed-in guests. The statuses of refusals are inferences.

use http::Method;
use serde_json::{Map, Value, json};

use super::response::{Answer, Call, no_content, ok};
use crate::world::{LimitKey, Problem, Window, World};

const PAGE_SIZE: usize = 25;

/// Largest page of the history. The Java SDK requests this size. That a larger one is refused is an inference.
const MAX_PAGE_SIZE: usize = 100;

/// Longest token of a device, in bytes. Our choice.
const MAX_TOKEN: usize = 512;

/// `GET /api/v2/webmessaging/messages?pageSize&pageNumber`, newest first.
pub(super) fn history(call: &mut Call<'_>, _: &[&str]) -> Answer {
    let jwt = call.bearer()?;
    let size = number(call, "pageSize", PAGE_SIZE)?;
    if size > MAX_PAGE_SIZE {
        return Err(Problem::bad_request("pageSize is larger than 100."));
    }
    let number = number(call, "pageNumber", 1)?;
    let (page, usage) = call.world.history_page(jwt, (size, number), call.now)?;
    call.usage = usage;
    Ok(ok(&page))
}

fn number(call: &Call<'_>, name: &str, default: usize) -> Result<usize, Problem> {
    let Some(text) = call.query(name) else {
        return Ok(default);
    };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Problem::bad_request(format!("{name} is not a positive number.")))
}

/// A device for push messages. None is sent, and registrations are not stored (our choice), so no device is unknown.
pub(super) fn device(call: &mut Call<'_>, parts: &[&str]) -> Answer {
    let (deployment, device) = (parts[0], parts[1]);
    if call.world.check_deployment(deployment).is_err() {
        let message = "There is no such deployment.";
        return Err(Problem::new(404, "deployment.not.found", message));
    }
    if device.len() > MAX_TOKEN || device.chars().any(char::is_uppercase) {
        let message = "The path ends with the device's token in lower case.";
        return Err(Problem::new(400, "invalid.path.parameter", message));
    }
    let (required, code): (&[&str], _) = match *call.request.method() {
        Method::DELETE => (&[], ""),
        Method::PATCH => (&["deviceToken", "language"], "update.fields.missing"),
        _ => (
            &["deviceToken", "notificationProvider", "language", "deviceType"],
            "required.fields.missing",
        ),
    };
    let body: Value = serde_json::from_slice(call.request.body()).unwrap_or_default();
    if let Some(missing) = required.iter().find(|name| !body[**name].is_string()) {
        let message = format!("The body needs {missing}.");
        return Err(Problem::new(400, code, "").with_message(message));
    }
    Ok(no_content())
}

pub(super) fn exchange(call: &mut Call<'_>, _: &[&str]) -> Answer {
    take(call, LimitKey::EXCHANGE, |world| &mut world.sign_ins.exchanges)?;
    let body = call.object(&["deploymentId", "journeyContext", "oauth"], "token exchange")?;
    let Some(Value::Object(oauth)) = body.get("oauth") else {
        return Err(Problem::bad_request("The body needs an object oauth."));
    };
    #[rustfmt::skip]
    let known = ["code", "codeVerifier", "idToken", "iss", "maxAge", "nonce", "redirectUri"];
    call.check_fields(oauth, &known, "token exchange oauth");
    let deployment = text(&body, "deploymentId").unwrap_or_default();
    call.world.check_deployment(deployment)?;
    let required = |name, message| text(oauth, name).ok_or_else(|| Problem::bad_request(message));
    let body = match (text(oauth, "code"), text(oauth, "idToken")) {
        (Some(code), None) => {
            let redirect_uri = required("redirectUri", "oauth needs redirectUri with code.")?;
            let bound = (text(oauth, "codeVerifier"), text(oauth, "nonce"));
            let issued = call.world.exchange_code(code, redirect_uri, bound, call.now);
            issued.map(|(jwt, refresh_token)| json!({"jwt": jwt, "refreshToken": refresh_token}))
        }
        (None, Some(token)) => {
            let nonce = required("nonce", "oauth needs nonce with idToken.")?;
            let issued = call.world.exchange_id_token(token, nonce, call.now);
            issued.map(|jwt| json!({"jwt": jwt}))
        }
        _ => return Err(Problem::bad_request("oauth needs either code or idToken.")),
    };
    body.map(|body| ok(&body)).ok_or(Problem::BAD_CREDENTIALS)
}

/// `POST refresh`. The mobile SDK omits `deploymentId`, which Genesys documents as required.
pub(super) fn refresh(call: &mut Call<'_>, _: &[&str]) -> Answer {
    take(call, LimitKey::REFRESH, |world| &mut world.sign_ins.refreshes)?;
    let body = call.object(&["deploymentId", "refreshToken"], "token refresh")?;
    if let Some(deployment) = text(&body, "deploymentId") {
        call.world.check_deployment(deployment)?;
    }
    let token = text(&body, "refreshToken");
    let token = token.ok_or_else(|| Problem::bad_request("The body needs refreshToken."))?;
    let jwt = call
        .world
        .refresh(token, call.now)
        .ok_or(Problem::BAD_CREDENTIALS)?;
    Ok(ok(&json!({"jwt": jwt})))
}

pub(super) fn revoke(call: &mut Call<'_>, _: &[&str]) -> Answer {
    take(call, LimitKey::REVOKE, |world| &mut world.sign_ins.revocations)?;
    let jwt = call.bearer()?;
    call.world.revoke(jwt, call.now)?;
    Ok(no_content())
}

fn take(call: &mut Call<'_>, key: LimitKey, window: fn(&mut World) -> &mut Window) -> Result<(), Problem> {
    let limit = call.world.rules.limits.sign_ins_per_minute;
    call.usage = window(call.world).take(limit, call.now, Problem::too_many(key))?;
    Ok(())
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;
    use crate::world::tests::{DEPLOYMENT, now, send, world};

    fn ask(method: &str, deployment: &str, device: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!(
                "/api/v2/webmessaging/deployments/{deployment}/pushdevices/{device}"
            ))
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let (response, body) = send(&mut world(), request, now());
        (response.status().as_u16(), body["code"].clone())
    }

    #[test]
    fn device_is_registered_changed_and_removed() {
        let full = json!({"deviceToken": "AB", "notificationProvider": "FCM", "language": "en-us",
            "deviceType": "android"});
        for method in ["POST", "PATCH", "DELETE"] {
            assert_eq!(ask(method, DEPLOYMENT, "ab", &full).0, 204, "{method}");
        }
        for (method, deployment, device, expected) in [
            ("POST", "other", "ab", (404, "deployment.not.found")),
            ("POST", DEPLOYMENT, "AB", (400, "invalid.path.parameter")),
            ("POST", DEPLOYMENT, "ab", (400, "required.fields.missing")),
            ("PATCH", DEPLOYMENT, "ab", (400, "update.fields.missing")),
        ] {
            let (status, code) = ask(method, deployment, device, &json!({"deviceToken": "AB"}));
            assert_eq!((status, code), (expected.0, json!(expected.1)));
        }
    }
}
