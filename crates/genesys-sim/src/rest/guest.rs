//! REST calls of guests: history, devices, and tokens of signed-in guests. The statuses of refusals are inferences.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Map, Value, json};

use super::response::{Context, HandlerResult, no_content, ok};
use crate::cloud::{LimitKey, Problem};

const PAGE_SIZE: usize = 25;

/// Largest page of the history. The Java SDK requests this size. That a larger one is refused is an inference.
const MAX_PAGE_SIZE: usize = 100;

/// Longest token of a device, in bytes. Our choice.
const MAX_TOKEN: usize = 512;

/// `GET /api/v2/webmessaging/messages?pageSize&pageNumber`, newest first.
pub(super) fn history(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    let jwt = context.bearer()?;
    let size = number(context, "pageSize", PAGE_SIZE)?;
    if size > MAX_PAGE_SIZE {
        return Err(Problem::bad_request(format!(
            "invalid pageSize {size}: use at most {MAX_PAGE_SIZE}"
        )));
    }
    let number = number(context, "pageNumber", 1)?;
    let (page, usage) = context.cloud.history_page(jwt, (size, number), context.now)?;
    context.usage = usage;
    Ok(ok(&page))
}

fn number(context: &Context<'_>, name: &str, default: usize) -> Result<usize, Problem> {
    let Some(text) = context.query(name) else {
        return Ok(default);
    };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Problem::bad_request(format!("invalid {name} {text:?}: use a positive number")))
}

/// Limit of devices, beyond which registration fails. Our choice.
const MAX_DEVICES: usize = 10_000;

/// An injected refusal in the form of the push routes, whose codes Genesys' mobile SDK distinguishes.
pub(super) fn device_problem(problem: Problem, request: &Request<Bytes>) -> Problem {
    if !request.uri().path().contains("/pushdevices/") {
        return problem;
    }
    let code = match (problem.status, request.method()) {
        (403, _) => "feature.toggle.disabled",
        (422, _) => "contacts.stitching.error",
        (429, _) => "too.many.requests.retry.after",
        (_, &Method::DELETE) => "device.delete.failure",
        (_, &Method::PATCH) => "device.update.failure",
        _ => "device.registration.failure",
    };
    Problem { code, ..problem }
}

/// A device for push messages, of which none is sent.
pub(super) fn device(context: &mut Context<'_>, parts: &[&str]) -> HandlerResult {
    let (deployment, device) = (parts[0], parts[1]);
    if context.cloud.check_deployment(deployment).is_err() {
        let message = "invalid deployment: use the id of the one deployment";
        return Err(Problem::new(404, "deployment.not.found", message));
    }
    if device.len() > MAX_TOKEN || device.chars().any(char::is_uppercase) {
        let message = "invalid path: use the device's token in lower case at its end";
        return Err(Problem::new(400, "invalid.path.parameter", message));
    }
    let (required, code): (&[&str], _) = match *context.request.method() {
        Method::DELETE => (&[], ""),
        Method::PATCH => (&["deviceToken", "language"], "update.fields.missing"),
        _ => (
            &["deviceToken", "notificationProvider", "language", "deviceType"],
            "required.fields.missing",
        ),
    };
    let body: Value = serde_json::from_slice(context.request.body()).unwrap_or_default();
    if let Some(missing) = required.iter().find(|name| !body[**name].is_string()) {
        return Err(Problem::new(
            400,
            code,
            format!("invalid body: it needs {missing}"),
        ));
    }
    let devices = &mut context.cloud.devices;
    match *context.request.method() {
        Method::POST if devices.contains(device) => {
            let message = "cannot register the device: it is registered, update it";
            Err(Problem::new(409, "device.already.registered", message))
        }
        Method::POST if devices.len() >= MAX_DEVICES => {
            let message = "cannot register the device: the simulator is at its limit";
            Err(Problem::new(500, "device.registration.failure", message))
        }
        Method::POST => {
            devices.insert(device.to_owned());
            Ok(no_content())
        }
        ref method => {
            let is_known = match *method {
                Method::DELETE => devices.remove(device),
                _ => devices.contains(device),
            };
            let message = "cannot find the device: it is not registered";
            let unknown = Problem::new(404, "device.not.found", message);
            is_known.then(no_content).ok_or(unknown)
        }
    }
}

pub(super) fn exchange(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    take(context, LimitKey::EXCHANGE)?;
    let body = context.object(&["deploymentId", "journeyContext", "oauth"], "token exchange")?;
    let Some(Value::Object(oauth)) = body.get("oauth") else {
        return Err(Problem::bad_request("invalid body: it needs an object oauth"));
    };
    #[rustfmt::skip]
    let known = ["code", "codeVerifier", "idToken", "iss", "maxAge", "nonce", "redirectUri"];
    context.check_fields(oauth, &known, "token exchange oauth");
    let deployment = text(&body, "deploymentId").unwrap_or_default();
    context.cloud.check_deployment(deployment)?;
    let required = |name, message| text(oauth, name).ok_or_else(|| Problem::bad_request(message));
    let body = match (text(oauth, "code"), text(oauth, "idToken")) {
        (Some(code), None) => {
            let redirect_uri = required("redirectUri", "invalid oauth: code needs redirectUri")?;
            let bound = (text(oauth, "codeVerifier"), text(oauth, "nonce"));
            let issued = context
                .cloud
                .exchange_code(code, redirect_uri, bound, context.now);
            issued.map(|(jwt, refresh_token)| json!({"jwt": jwt, "refreshToken": refresh_token}))
        }
        (None, Some(token)) => {
            let nonce = required("nonce", "invalid oauth: idToken needs nonce")?;
            let issued = context.cloud.exchange_id_token(token, nonce, context.now);
            issued.map(|jwt| json!({"jwt": jwt}))
        }
        _ => return Err(Problem::bad_request("invalid oauth: use either code or idToken")),
    };
    body.map(|body| ok(&body)).ok_or(Problem::BAD_CREDENTIALS)
}

/// `POST refresh`. The mobile SDK omits `deploymentId`, which Genesys documents as required.
pub(super) fn refresh(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    take(context, LimitKey::REFRESH)?;
    let body = context.object(&["deploymentId", "refreshToken"], "token refresh")?;
    if let Some(deployment) = text(&body, "deploymentId") {
        context.cloud.check_deployment(deployment)?;
    }
    let token = text(&body, "refreshToken");
    let token = token.ok_or_else(|| Problem::bad_request("invalid body: it needs refreshToken"))?;
    let jwt = context
        .cloud
        .refresh(token, context.now)
        .ok_or(Problem::BAD_CREDENTIALS)?;
    Ok(ok(&json!({"jwt": jwt})))
}

pub(super) fn revoke(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    take(context, LimitKey::REVOKE)?;
    let jwt = context.bearer()?;
    context.cloud.revoke(jwt, context.now)?;
    Ok(no_content())
}

fn take(context: &mut Context<'_>, key: LimitKey) -> Result<(), Problem> {
    let cloud = &mut *context.cloud;
    let limit = cloud.rules.limits.sign_ins_per_minute;
    let window = cloud.sign_ins.windows.entry(key.1).or_default();
    context.usage = window.take(limit, context.now, Problem::too_many(key))?;
    Ok(())
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Cloud;
    use crate::cloud::tests::{DEPLOYMENT, cloud, now, send};

    fn ask(cloud: &mut Cloud, method: &str, deployment: &str, device: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!(
                "/api/v2/webmessaging/deployments/{deployment}/pushdevices/{device}"
            ))
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let (response, body) = send(cloud, request, now());
        (response.status().as_u16(), body["code"].clone())
    }

    #[test]
    fn device_is_registered_changed_and_removed() {
        let full = json!({"deviceToken": "AB", "notificationProvider": "FCM", "language": "en-us",
            "deviceType": "android"});
        let mut cloud = cloud();
        let not_found = (404, json!("device.not.found"));
        for (method, expected) in [
            ("PATCH", not_found.clone()),
            ("POST", (204, Value::Null)),
            ("POST", (409, json!("device.already.registered"))),
            ("PATCH", (204, Value::Null)),
            ("DELETE", (204, Value::Null)),
            ("DELETE", not_found),
        ] {
            assert_eq!(
                ask(&mut cloud, method, DEPLOYMENT, "ab", &full),
                expected,
                "{method}"
            );
        }
        for (fault, method, code) in [
            ("rest:403", "POST", "feature.toggle.disabled"),
            ("rest:422", "POST", "contacts.stitching.error"),
            ("rest:429", "PATCH", "too.many.requests.retry.after"),
            ("rest:500", "POST", "device.registration.failure"),
            ("rest:500", "PATCH", "device.update.failure"),
            ("rest:503", "DELETE", "device.delete.failure"),
        ] {
            cloud.active_faults.add(fault.parse().unwrap(), None).unwrap();
            let (status, refused) = ask(&mut cloud, method, DEPLOYMENT, "ab", &full);
            assert_eq!(
                (format!("rest:{status}"), refused),
                (fault.to_owned(), json!(code))
            );
        }
        for (method, deployment, device, expected) in [
            ("POST", "other", "ab", (404, "deployment.not.found")),
            ("POST", DEPLOYMENT, "AB", (400, "invalid.path.parameter")),
            ("POST", DEPLOYMENT, "ab", (400, "required.fields.missing")),
            ("PATCH", DEPLOYMENT, "ab", (400, "update.fields.missing")),
        ] {
            let (status, code) = ask(
                &mut cloud,
                method,
                deployment,
                device,
                &json!({"deviceToken": "AB"}),
            );
            assert_eq!((status, code), (expected.0, json!(expected.1)));
        }
    }
}
