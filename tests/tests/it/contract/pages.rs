//! The operations of pages without a backend, with each of their statuses.

use http::Method;
use serde_json::json;

use super::faults::slow;
use super::fixture::with_upgrade;
use super::{Fixture, Fixtures};
use crate::api::{Answer, Api, Call, guest, path_of};
use crate::document::DOCUMENT;
use crate::event_stream::{EventStream, frame_call, new_stream, stream_call};
use crate::spa::assertion::Claims;
use crate::spa::{Visit, consent, cross_site, of_page};
use crate::world::{CLIENT, ORIGIN, World};

/// Whether a status is one of pages only.
pub(super) fn has(operation: &str, status: u16) -> bool {
    let (_, template, _) = DOCUMENT.operation(operation);
    template.starts_with("/spa/") || is_limit_of_pages(operation, status)
}

/// Whether a status is the limit of pages at a route of guests.
fn is_limit_of_pages(operation: &str, status: u16) -> bool {
    let (_, template, value) = DOCUMENT.operation(operation);
    let ways = value["security"].as_array();
    let has_page = ways.is_some_and(|ways| ways.contains(&json!({ "page": [] })));
    status == 429 && has_page && !template.starts_with("/spa/") && operation != "uploadAttachment"
}

impl Fixture {
    /// A successful request of this operation.
    pub(super) async fn page(&self, operation: &str) -> Call {
        let (method, path, _) = DOCUMENT.operation(operation);
        let call = Call::new(method, path);
        if operation == "createBrowserSession" {
            return of_page(call.json(&consent()));
        }
        if operation == "resumeBrowserSession" {
            return cross_site::resume(&cross_site::create(&self.api).await);
        }
        let visit = Visit::create(&self.api).await;
        match operation {
            "changeBrowserConsent" => visit.call(call).json(&json!({ "analytics": false })),
            "openStream" => stream_call(&visit, &new_stream()),
            // after the stream has ended, its id is unknown
            "sendFrame" => frame_call(&visit, &new_stream(), &json!({ "type": "typing" })),
            _ => visit.call(call),
        }
    }
}

impl Fixtures {
    /// The answer of an operation with this status.
    pub(super) async fn page(&self, operation: &str, status: u16) -> Option<Answer> {
        if is_limit_of_pages(operation, status) {
            return Some(self.limited_page(operation).await);
        }
        let is_resumption = operation == "resumeBrowserSession";
        let fixture = match is_resumption {
            true => &self.cross_site[0],
            false => &self.healthy,
        };
        let api = &fixture.api;
        // those of the operations before count too
        fixture.world.clock.advance(std::time::Duration::from_secs(60));
        let call = fixture.page(operation).await;
        let json = "application/json";
        let is_creation = operation == "createBrowserSession";
        Some(match status {
            200 if is_creation => self.create_in_second_browser(call, None).await,
            200 if operation == "openStream" => EventStream::ask(&self.healthy.world, &call).await.0,
            202 => {
                let visit = Visit::create(api).await;
                let stream = EventStream::open(&self.healthy.world, &visit).await;
                let answer = stream.send(api, &json!({ "type": "typing" })).await;
                drop(stream);
                answer
            }
            200 | 201 | 204 => api.send(call).await,
            400 => {
                let path = format!("{}?novelty=1", call.path());
                api.send(call.with_path(&path)).await
            }
            401 if is_creation => {
                let mut body = consent();
                body["assertion"] = "invalid".into();
                api.send(call.with_body(json, body.to_string())).await
            }
            401 if is_resumption => api.send(call.with_body(json, "{\"resumeHandle\":\"\"}")).await,
            401 => {
                let request = call.request();
                let uri = request.uri().to_string();
                let plain = of_page(Call::new(request.method().clone(), &uri));
                let body = request.body().clone();
                api.send(match body.is_empty() {
                    true => plain,
                    false => plain.body(json, body),
                })
                .await
            }
            403 => api.send(call.header("origin", "https://elsewhere.example")).await,
            404 => self.without_spa.api.send(call).await,
            408 => slow(&fixture.world, call).await,
            409 if is_creation => {
                self.create_in_second_browser(call, Some("2020-01-01T00:00:00Z"))
                    .await
            }
            409 if operation == "sendFrame" => api.send(call).await,
            409 => {
                let old = json!({ "analytics": true, "consentTimestamp": "2020-01-01T00:00:00Z" });
                api.send(call.clone()).await;
                api.send(call.with_body(json, old.to_string())).await
            }
            410 if is_resumption => {
                let resumed = api.send(call.clone()).await.json();
                let end = of_page(Call::new(Method::DELETE, "/spa/session"));
                api.send(end.bearer(resumed["accessToken"].as_str()?)).await;
                api.send(call).await
            }
            410 => {
                let cookie = call.request().headers()["cookie"].to_str().unwrap().to_owned();
                let end = of_page(Call::new(Method::DELETE, "/spa/session"));
                api.send(end.header("cookie", &cookie)).await;
                api.send(call).await
            }
            413 => api.send(call.with_body(json, " ".repeat(65_537))).await,
            415 => api.send(call.with_body("text/plain", "{}")).await,
            422 => {
                let mut body = consent();
                body["consent"]["marketing"] = false.into();
                api.send(call.with_body(json, body.to_string())).await
            }
            429 => {
                self.rate_limited.api.send(call.clone()).await;
                self.rate_limited.api.send(call).await
            }
            503 => {
                let (broken, ready) = &self.broken;
                let broken = if is_resumption {
                    &self.cross_site[1]
                } else {
                    broken
                };
                broken.api.send(ready[operation].clone()).await
            }
            _ => return None,
        })
    }

    /// The answer to a socket of a guest that has no requests left.
    pub(super) async fn limited_socket(&self) -> Answer {
        let world = World::with(genesys_sim::Rules::default(), "requests_per_minute = 1").await;
        let api = Api::of(&world, CLIENT).await;
        let session = api.create(&guest()).await;
        let token = session["accessToken"].as_str().unwrap();
        let call = Call::get(&path_of(&session, "/socket")).header("origin", ORIGIN);
        api.send(Call::get(&path_of(&session, "/messages")).bearer(token))
            .await;
        let answer = api.send(with_upgrade(call, token)).await;
        world.stop().await;
        answer
    }

    /// The answer at a route of guests to a browser whose address has no requests left.
    async fn limited_page(&self, operation: &str) -> Answer {
        let (method, template, _) = DOCUMENT.operation(operation);
        let path = template.replace("{id}", "s-1").replace("{attachmentId}", "f-1");
        let call = of_page(Call::new(method, &path)).header("cookie", "__Host-guest-session=s-1.AAAA");
        self.rate_limited.api.send(call.clone()).await;
        self.rate_limited.api.send(call).await
    }

    /// The answer of the second browser in which a guest creates a session, with choices of this time.
    async fn create_in_second_browser(&self, call: Call, chosen_at: Option<&str>) -> Answer {
        let mut body = consent();
        let mut create = async |chosen_at: Option<&str>| {
            body["assertion"] = Claims::of(&self.healthy.world, "guest-of-pages").sign().into();
            if let Some(chosen_at) = chosen_at {
                body["consent"]["consentTimestamp"] = chosen_at.into();
            }
            let call = call.clone().with_body("application/json", body.to_string());
            self.healthy.api.send(call).await
        };
        create(None).await;
        create(chosen_at).await
    }
}
