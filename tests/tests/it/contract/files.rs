//! Every answer to a request about a file.

use http::{Method, Request};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::Fixtures;
use super::faults::timed_out;
use super::fixture::Fixture;
use crate::api::{Answer, Call, SESSIONS};
use crate::conversation::files::start;
use crate::page::soon;

impl Fixtures {
    pub(super) async fn files(&self, operation: &str, status: u16, call: Call) -> Option<Answer> {
        let api = &self.healthy.api;
        let (session, file) = call.path().split_once("/attachments/").unwrap();
        let named = |name: &str| {
            let disposition = format!("attachment; filename*=UTF-8''{name}");
            let token = call.request().headers()["authorization"].to_str().unwrap();
            Call::new(Method::PUT, call.path())
                .header("authorization", token)
                .header("content-disposition", &disposition)
        };
        Some(match (operation, status) {
            (_, 200 | 204) => api.send(call).await,
            (_, 400) => api.send(named("noextension").body("image/png", [1])).await,
            (_, 401) => {
                let anonymous = Call::new(call.request().method().clone(), call.path());
                api.send(anonymous).await
            }
            (_, 403) => api.send(call.header("origin", "https://elsewhere.example")).await,
            ("uploadAttachment", 404) => {
                let unknown = format!("{SESSIONS}/unknown/attachments/{file}");
                api.send(call.with_path(&unknown)).await
            }
            (_, 404) => {
                let unknown = format!("{session}/attachments/unknown");
                api.send(call.with_path(&unknown)).await
            }
            ("uploadAttachment", 408) => self.slow_upload(session, call.clone()).await,
            (_, 409) => {
                let ended = Call::new(Method::DELETE, session);
                self.healthy.send(ended).await;
                api.send(call).await
            }
            (_, 413) => {
                let large = vec![1; 10_240 * 1024 + 1];
                api.send(named("a.png").body("image/png", large)).await
            }
            (_, 415) => api.send(named("a.ade").body("image/png", [1])).await,
            (_, 422) => self.with_fault("upload-failure", call).await,
            (_, 429) => {
                for _ in 0..32 {
                    let other = genesys_api::entropy::uuid();
                    let other = format!("{session}/attachments/{other}");
                    api.send(call.clone().with_path(&other)).await;
                }
                api.send(call).await
            }
            ("uploadAttachment", 502) => self.with_fault("rest:403:/upload", call).await,
            (_, 502) => self.with_fault("refuse:400", call).await,
            (_, 503) => {
                let (broken, ready) = &self.broken;
                broken.api.send(ready[operation].clone()).await
            }
            _ => return None,
        })
    }

    /// Sends no body although the gateway reads it.
    async fn slow_upload(&self, path: &str, call: Call) -> Answer {
        let world = &self.healthy.world;
        let token = call.request().headers()["authorization"].to_str().unwrap();
        let session = json!({
            "id": path.rsplit('/').next(), "accessToken": token.trim_start_matches("Bearer "),
        });
        let mut stream = start(world, &session, "content-length: 9\r\nexpect: 100-continue\r\n").await;
        let mut read = *b"HTTP/1.1 100 Continue\r\n\r\n";
        soon(stream.read_exact(&mut read)).await.unwrap();
        timed_out(world, stream, &call).await
    }

    /// The answer to a call while the simulator has a fault.
    async fn with_fault(&self, fault: &str, call: Call) -> Answer {
        let Fixture { world, api } = &self.healthy;
        // the fault is for the request about the file, not for those that open the conversation
        let opened = Call::get(&call.path().replace("/attachments/", "/messages?from="));
        let token = call.request().headers()["authorization"].to_str().unwrap();
        api.send(opened.header("authorization", token)).await;
        let body = format!(r#"{{"fault":"{fault}"}}"#);
        let request = Request::post(format!("{}/sim/faults", world.simulator.host()));
        world
            .http()
            .send(request.body(body.into()).unwrap())
            .await
            .unwrap();
        api.send(call).await
    }
}
