//! A gateway with a successful call of each operation.

use std::time::Duration;

use genesys_api::{IdempotencyKey, entropy};
use guest_suite::store::{Change, DeliveryAttempt, Leased, Settled, Settlement};
use http::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::api::{Answer, Api, Call, ERASURES, QUERY, WEBHOOKS, guest, path_of};
use crate::conversation::files::upload;
use crate::document::DOCUMENT;
use crate::guests::until;
use crate::sensitive::DIAGNOSIS;
use crate::sign_in::gateway::sign_in;
use crate::spa::{cross_site, without_spa};
use crate::world::{CLIENT, ORIGIN, World};

/// A gateway with sessions.
pub(super) struct Fixture {
    pub(super) world: World,
    pub(super) api: Api,
}

impl Fixture {
    pub(super) async fn start() -> Self {
        let world = World::start().await;
        let api = Api::of(&world, CLIENT).await;
        Self { world, api }
    }

    pub(super) async fn cross_site() -> Self {
        let (world, api) = cross_site::world().await;
        Self { world, api }
    }

    pub(super) async fn without_spa() -> Self {
        let world = World::configured(genesys_sim::Rules::default(), without_spa).await;
        let api = Api::of(&world, CLIENT).await;
        Self { world, api }
    }

    /// A session with every optional field.
    pub(super) async fn session(&self) -> Value {
        self.api.create(&guest_with_all_fields()).await
    }

    pub(super) async fn webhook(&self) -> Value {
        let name = format!("w-{}", entropy::number());
        self.api.ask(Call::post(WEBHOOKS).json(&webhook(&name))).await
    }

    /// Ends a session, and settles its delivery to this webhook. Returns the id of the delivery.
    pub(super) async fn settled(&self, webhook: &Value, settlement: impl Fn(Leased) -> Settlement) -> String {
        let session = self.session().await;
        self.api
            .ask(Call::new(Method::DELETE, &path_of(&session, "")))
            .await;
        let store = self.world.gateway.store();
        let is_of_it = |leased: &Leased| leased.webhook.id.as_str() == webhook["id"].as_str().unwrap();
        let failed = async || {
            let webhooks = store.webhooks().await.unwrap();
            let its = webhooks
                .iter()
                .find(|known| known.id.as_str() == webhook["id"].as_str().unwrap());
            its.is_some_and(|known| known.failures > 0)
        };
        // the gateway has tried it once, and does so again only when the clock is moved
        until(failed).await;
        let later = self.world.clock.now().utc + Duration::from_secs(86_400);
        let leased = store
            .lease_deliveries(later, Duration::ZERO, 1_000)
            .await
            .unwrap();
        let leased = leased.deliveries.into_iter().find(is_of_it).unwrap();
        let id = leased.id.clone();
        store
            .commit(Change::Settle(settlement(leased)).into())
            .await
            .unwrap();
        id
    }

    /// A delivery to this webhook that was given up.
    async fn dead_delivery(&self, webhook: &Value) -> String {
        self.settled(webhook, |leased| {
            let at = leased.at;
            Settlement {
                attempt: Some(attempt(at, 500)),
                ..leased.settlement(Settled::Dead, at)
            }
        })
        .await
    }

    /// Deletes all webhooks, whose number is limited.
    pub(super) async fn delete_webhooks(&self) {
        let known = self.api.ask(Call::get(WEBHOOKS)).await;
        for webhook in known["entities"].as_array().unwrap() {
            let path = format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap());
            self.api.ask(Call::new(Method::DELETE, &path)).await;
        }
    }

    /// A successful reply of this operation, requested with a token.
    pub(super) async fn call(&self, operation: &str) -> Call {
        let (method, template, _) = DOCUMENT.operation(operation);
        let subject = match template {
            QUERY | ERASURES => self.session().await,
            path if !path.contains("{id}") => Value::Null,
            path if path.starts_with(WEBHOOKS) => self.webhook().await,
            _ => self.session().await,
        };
        if template.starts_with("/spa/") {
            return self.page(operation).await;
        }
        let file = entropy::uuid().to_string();
        let path = template
            .replace("{id}", subject["id"].as_str().unwrap_or_default())
            .replace("{attachmentId}", &file);
        let path = match path.contains("{deliveryId}") {
            true => path.replace("{deliveryId}", &self.dead_delivery(&subject).await),
            false => path,
        };
        let call = Call::new(method, &path);
        match operation {
            "changeConsent" => call.json(&json!({ "analytics": false })),
            "createSession" => call.json(&guest_with_all_fields()),
            "fetchAuditConsistency" => call.with_path(&format!("{template}?old=1")),
            "fetchAuditProof" => call.with_path(&format!("{template}?entry=0")),
            "fetchGuest" => call.json(&json!({ "guestId": subject["guestId"] })),
            "eraseGuest" => call
                .json(&json!({ "guestId": subject["guestId"] }))
                .header("idempotency-key", IdempotencyKey::random().as_str()),
            "fetchToken" => call.form(&token_form("")),
            "uploadAttachment" => upload(&subject, &file, "a.png", "image/png", vec![1]),
            "deleteAttachment" | "fetchAttachment" => {
                let uploaded = upload(&subject, &file, "a.png", "image/png", vec![1]);
                assert!(self.api.send(uploaded).await.status.is_success());
                call.bearer(subject["accessToken"].as_str().unwrap())
            }
            "fetchMessages" => call.bearer(subject["accessToken"].as_str().unwrap()),
            "openSocket" => {
                with_upgrade(call, subject["accessToken"].as_str().unwrap()).header("origin", ORIGIN)
            }
            "signIn" => sign_in(&self.world, &subject).await,
            "signOut" => {
                self.api.ask(sign_in(&self.world, &subject).await).await;
                call
            }
            "refreshSession" => call.json(&json!({ "refreshToken": subject["refreshToken"] })),
            "listDeliveries" => call.with_path(&format!("{path}?state=dead")),
            "replayDeliveries" => call.json(&json!({})),
            "previewWebhook" => call.json(&json!({ "sessionId": self.session().await["id"] })),
            "registerWebhook" | "replaceWebhook" => call.json(&webhook(&format!("n-{}", entropy::number()))),
            _ => call,
        }
    }

    pub(super) async fn send(&self, call: Call) -> Answer {
        self.api.send(call.bearer(&self.api.token)).await
    }
}

/// A choice with all its evidence fields, and an attribute with sensitive data.
pub(super) fn guest_with_all_fields() -> Value {
    let mut body = guest();
    body["guestAttributes"]["diagnosis"] = DIAGNOSIS.into();
    let evidence = json!({
        "age": "18+", "how": "form", "actor": "agent", "notice": { "version": "2026-03", "language": "de" },
        "gpp": "DBABMA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA",
    });
    let consent = body["consent"].as_object_mut().expect("a guest has consent");
    consent.extend(evidence.as_object().cloned().unwrap_or_default());
    body
}

/// An attempt that was answered.
pub(super) fn attempt(at: OffsetDateTime, status: u16) -> DeliveryAttempt {
    DeliveryAttempt {
        at,
        latency: Duration::from_millis(7),
        status: Some(status),
        error: None,
        response: "an answer".into(),
    }
}

pub(super) fn webhook(name: &str) -> Value {
    json!({
        "name": name, "uri": "http://127.0.0.1:9/crm", "method": "POST", "headers": { "X-Source": "tests" },
        "eventFilters": [{ "predicate": { "type": "event", "values": ["webmessaging.guestsession.ended"] } }],
    })
}

pub(super) fn token_form(more: &str) -> String {
    let (id, secret) = CLIENT;
    format!("grant_type=client_credentials&client_id={id}&client_secret={secret}{more}")
}

/// An upgrade with the token in the subprotocol.
pub(super) fn with_upgrade(call: Call, token: &str) -> Call {
    call.header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header(
            "sec-websocket-protocol",
            &format!("guest-sessions.v1, access_token.{token}"),
        )
}
