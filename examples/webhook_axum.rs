//! A webhook receiver with axum: verifies each delivery and processes each id once.
//!
//! `WEBHOOK_SECRET` is the secret that the gateway returned when the webhook was registered.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program reads the clock and prints"
)]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use webhook::{ReplayCache, ReplayError, Verifier, VerifyingKey};

struct Receiver {
    verifier: Verifier,
    received: Mutex<ReplayCache>,
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let now = OffsetDateTime::now_utc();
    let Ok(delivery) = receiver.verifier.verify(&headers, &body, now) else {
        return StatusCode::UNAUTHORIZED;
    };
    let mut received = receiver.received.lock().await;
    match received.begin(delivery.id, now) {
        Ok(()) => {
            println!("{}", String::from_utf8_lossy(&body));
            received.complete(delivery.id);
            StatusCode::NO_CONTENT
        }
        Err(ReplayError::Processed) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE, // the sender tries again
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let key: VerifyingKey = std::env::var("WEBHOOK_SECRET")?.parse()?;
    let receiver = Receiver {
        verifier: Verifier::new([key]),
        received: Mutex::new(ReplayCache::new(100_000, Duration::from_hours(48))),
    };
    let app = Router::new()
        .route("/webhooks", post(receive))
        .with_state(Arc::new(receiver));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/webhooks", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
