//! Calls that are refused with 409.

use serde_json::json;

use super::fixture::{Fixture, webhook};
use crate::api::{Answer, Call, guest};

/// The answer of a call that conflicts with the state of the gateway.
pub(super) async fn conflict(healthy: &Fixture, operation: &str, call: Call) -> Option<Answer> {
    Some(match operation {
        "createSession" => {
            let mut named = guest();
            named["guestId"] = "one".into();
            let again = call.with_body("application/json", named.to_string());
            healthy.send(again.clone()).await;
            healthy.send(again).await
        }
        "refreshSession" => {
            // a token that is older than the previous one
            let rotated = healthy.send(call.clone()).await.json();
            let body = json!({ "refreshToken": rotated["refreshToken"] });
            let next = call.clone().with_body("application/json", body.to_string());
            healthy.send(next).await;
            healthy.send(call).await
        }
        "changeConsent" => {
            let old = json!({ "analytics": true, "consentTimestamp": "2020-01-01T00:00:00Z" });
            healthy.send(call.clone()).await;
            healthy
                .send(call.with_body("application/json", old.to_string()))
                .await
        }
        "replayDelivery" => {
            healthy.send(call.clone()).await;
            healthy.send(call).await
        }
        "rotateWebhookSecret" => {
            for _ in 0..10 {
                healthy.send(call.clone()).await;
            }
            healthy.send(call).await
        }
        "registerWebhook" | "replaceWebhook" => {
            let taken = healthy.webhook().await;
            let mut other = webhook(taken["name"].as_str().unwrap());
            other["uri"] = "http://127.0.0.1:9/other".into();
            healthy
                .send(call.with_body("application/json", other.to_string()))
                .await
        }
        _ => return None,
    })
}
