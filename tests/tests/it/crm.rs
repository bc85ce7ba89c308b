//! A CRM: records webhook deliveries, and answers as configured.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use genesys_api::Clock;
use genesys_http::server::{Limits, Server};
use guest_suite::webhook::{
    Conditions, CustomHeaders, EventName, ID_HEADER, SignatureVersion, Subscription, Verifier, VerifyingKey,
};
use http::header::LOCATION;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::document::check_delivered;
use crate::page::soon;

pub(crate) struct Crm {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    clock: Clock,
    answers: Mutex<VecDeque<u16>>,
    is_down: AtomicBool,
    chooses_fields: AtomicBool,
    received: watch::Sender<Vec<Delivery>>,
}

/// One delivery attempt as received.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) path: String,
    pub(crate) at: OffsetDateTime,
    headers: HeaderMap,
    body: Bytes,
}

impl Crm {
    pub(crate) async fn start(clock: &Clock) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), clock).await
    }

    pub(crate) async fn at(address: SocketAddr, clock: &Clock) -> Self {
        let server = Server::bind(address, None, Limits::default()).await.unwrap();
        let address = server.local_addr();
        let shared = Arc::new(Shared {
            clock: clock.clone(),
            answers: Mutex::default(),
            is_down: AtomicBool::new(false),
            chooses_fields: AtomicBool::new(false),
            received: watch::Sender::default(),
        });
        let service = {
            let shared = Arc::clone(&shared);
            service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.receive(request).await) }
            })
        };
        let task = tokio::spawn(server.serve(service, std::future::pending()));
        Self {
            address,
            shared,
            task,
        }
    }

    /// A webhook for the tutorial's events, at `path`.
    pub(crate) fn subscription(&self, path: &str) -> Subscription {
        subscription(self.address, path)
    }

    /// Answers to the next deliveries, in turn, then 204. A redirect leads to `/elsewhere`.
    pub(crate) fn respond_with(&self, statuses: &[u16]) {
        self.shared.answers.lock().unwrap().extend(statuses);
    }

    /// While it is down, it answers 500 and records nothing.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::Relaxed);
    }

    /// The deliveries that follow have the fields of a subscription, which no schema describes.
    pub(crate) fn expect_chosen_fields(&self) {
        self.shared.chooses_fields.store(true, Ordering::Relaxed);
    }

    /// Waits for at least this many deliveries, and returns all.
    pub(crate) async fn received(&self, count: usize) -> Vec<Delivery> {
        let mut received = self.shared.received.subscribe();
        soon(received.wait_for(|received| received.len() >= count))
            .await
            .unwrap()
            .clone()
    }
}

impl Drop for Crm {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A webhook for the tutorial's events, at a CRM that may not listen yet.
pub(crate) fn subscription(address: SocketAddr, path: &str) -> Subscription {
    Subscription {
        name: "GuestSessionCRMSync".parse().unwrap(),
        target: format!("http://{address}{path}").parse().unwrap(),
        enabled: true,
        ordered: false,
        events: [EventName::Created, EventName::Updated, EventName::Ended].into(),
        conditions: Conditions::default(),
        fields: BTreeMap::new(),
        headers: CustomHeaders::parse([("X-Source", "GenesysWebMessaging")]).unwrap(),
        signature: SignatureVersion::V1,
    }
}

impl Shared {
    async fn receive(&self, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let (head, body) = request.into_parts();
        let delivery = Delivery {
            path: head.uri.path().to_owned(),
            at: self.clock.now().utc,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        };
        if !self.chooses_fields.load(Ordering::Relaxed) {
            check_delivered(&delivery.body());
        }
        let mut response = Response::new(Empty::new());
        if self.is_down.load(Ordering::Relaxed) {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return response;
        }
        let status = self.answers.lock().unwrap().pop_front().unwrap_or(204);
        self.received.send_modify(|received| received.push(delivery));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
            .headers_mut()
            .insert(LOCATION, "/elsewhere".parse().unwrap());
        response
    }
}

impl Delivery {
    /// The `webhook-id`.
    pub(crate) fn id(&self) -> &str {
        self.headers[ID_HEADER].to_str().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn body(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn event(&self) -> String {
        self.body()["type"].as_str().unwrap().to_owned()
    }

    /// Verifies the signature at the time of arrival.
    pub(crate) fn verify(&self, key: &(impl Clone + Into<VerifyingKey>)) {
        let verifier = Verifier::new([key.clone()]);
        let verified = verifier.verify(&self.headers, &self.body, self.at).unwrap();
        assert_eq!(verified.id, self.id());
    }
}
