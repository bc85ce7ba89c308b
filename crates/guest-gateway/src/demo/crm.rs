//! A small CRM that verifies and stores webhook deliveries.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use genesys_api::Clock;
use genesys_http::server::{Identity, Limits, Server, TowerToHyperService};
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use webhook::{ID_HEADER, Secret, Verifier};

/// Largest number of stored deliveries.
const CAPACITY: usize = 1_000;
/// Largest delivery, in bytes.
const MAX_BODY: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Crm {
    address: SocketAddr,
    shared: Arc<Shared>,
    pub(super) task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    verifier: OnceLock<Verifier>,
    received: watch::Sender<Vec<Delivery>>,
}

#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) event: String,
    /// Whether its signature is valid.
    pub(super) is_signature_valid: bool,
    /// The `data` of the body.
    pub(super) data: serde_json::Value,
}

impl Crm {
    pub(super) async fn start(identity: Identity, clock: Clock) -> std::io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::bind(address, Some(identity), Limits::default()).await?;
        let address = server.local_addr();
        let shared = Arc::new(Shared {
            clock,
            verifier: OnceLock::new(),
            received: watch::Sender::default(),
        });
        let routes = Router::new()
            .fallback(receive)
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Arc::clone(&shared));
        let routes = TowerToHyperService::new(routes);
        let task = tokio::spawn(server.serve(routes, std::future::pending()));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}/api/guest-sync", self.address)
    }

    /// Sets the secret of its webhook, once.
    pub(super) fn trust(&self, secret: Secret) {
        let _ = self.shared.verifier.set(Verifier::new([secret]));
    }

    /// Waits until the received deliveries are `enough`.
    pub(super) async fn received(&self, enough: impl FnMut(&Vec<Delivery>) -> bool) -> Vec<Delivery> {
        let mut received = self.shared.received.subscribe();
        match received.wait_for(enough).await {
            Ok(deliveries) => deliveries.clone(),
            Err(_) => Vec::new(),
        }
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let now = shared.clock.now().utc;
    let verifier = shared.verifier.get();
    let is_signature_valid = verifier.is_some_and(|verifier| verifier.verify(&headers, &body, now).is_ok());
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = headers.get(ID_HEADER).and_then(|id| id.to_str().ok());
    let delivery = Delivery {
        id: id.unwrap_or_default().to_owned(),
        event: json["type"].as_str().unwrap_or_default().to_owned(),
        is_signature_valid,
        data: json["data"].clone(),
    };
    shared.received.send_modify(|received| {
        if received.len() < CAPACITY {
            received.push(delivery);
        }
    });
    match is_signature_valid {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::UNAUTHORIZED,
    }
}
