//! A small CRM that verifies webhook deliveries and keeps them.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use genesys_api::Clock;
use genesys_http::server::{Identity, Limits, Server};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use webhook::{ID_HEADER, Secret, Verifier};

/// Largest number of deliveries kept.
const CAPACITY: usize = 1_000;
/// Largest delivery, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// A running CRM.
#[derive(Debug)]
pub(super) struct Crm {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    verifier: Mutex<Option<Verifier>>,
    received: watch::Sender<Vec<Delivery>>,
}

/// One delivery.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) event: String,
    /// Whether its signature is valid.
    pub(super) genuine: bool,
    /// The `data` of the body.
    pub(super) data: serde_json::Value,
}

impl Crm {
    pub(super) async fn start(identity: Identity, clock: Clock) -> std::io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let limits = Limits {
            drain: std::time::Duration::from_millis(200),
            ..Limits::default()
        };
        let server = Server::bind(address, Some(identity), limits).await?;
        let address = server.local_addr();
        let shared = Arc::new(Shared {
            clock,
            verifier: Mutex::default(),
            received: watch::Sender::default(),
        });
        let (stop, mut stopping) = watch::channel(false);
        let service = {
            let shared = Arc::clone(&shared);
            service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.receive(request).await) }
            })
        };
        let task = tokio::spawn(server.serve(service, async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        }));
        Ok(Self {
            address,
            shared,
            stop,
            task,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}/api/guest-sync", self.address)
    }

    /// Sets the secret of its webhook.
    pub(super) fn trust(&self, secret: Secret) {
        *self
            .shared
            .verifier
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Verifier::new([secret]));
    }

    /// Waits until the received deliveries are `enough`.
    pub(super) async fn received(&self, enough: impl FnMut(&Vec<Delivery>) -> bool) -> Vec<Delivery> {
        let mut received = self.shared.received.subscribe();
        match received.wait_for(enough).await {
            Ok(deliveries) => deliveries.clone(),
            Err(_) => Vec::new(),
        }
    }

    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

impl Shared {
    async fn receive(&self, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return answer(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let body = body.to_bytes();
        let genuine = {
            let verifier = self.verifier.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.now().utc;
            verifier
                .as_ref()
                .is_some_and(|verifier| verifier.verify(&parts.headers, &body, now).is_ok())
        };
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let delivery = Delivery {
            id: parts
                .headers
                .get(ID_HEADER)
                .and_then(|id| id.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            event: json["type"].as_str().unwrap_or_default().to_owned(),
            genuine,
            data: json["data"].clone(),
        };
        self.received.send_modify(|received| {
            if received.len() < CAPACITY {
                received.push(delivery);
            }
        });
        answer(if genuine {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::UNAUTHORIZED
        })
    }
}

fn answer(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response
}
