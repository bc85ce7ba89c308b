//! Devices that mobile clients register for push messages. None is ever sent.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::Value;

use super::Problem;
use super::response::{Call, no_content};

/// Longest token of a device, in bytes. Our choice.
const MAX_TOKEN: usize = 512;

/// `/api/v2/webmessaging/deployments/{deploymentId}/pushdevices/{token}`. Registrations are not stored (our choice), so
/// no device is unknown.
pub(super) fn device(call: &mut Call<'_>, parts: &[&str]) -> Result<Response<Bytes>, Problem> {
    let (deployment, device) = (parts[0], parts[1]);
    if call.world.check_deployment(deployment).is_err() {
        return Err(Problem::new(
            404,
            "deployment.not.found",
            "There is no such deployment.",
        ));
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
        return Err(Problem::new(400, code, format!("The body needs {missing}.")));
    }
    Ok(no_content())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::json;

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
