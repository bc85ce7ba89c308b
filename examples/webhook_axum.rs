//! A webhook receiver with axum: verifies each delivery and processes each id once.
//!
//! `WEBHOOK_SECRET` is the secret that the gateway returned when the webhook was registered.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program reads the clock and prints"
)]

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use webhook::{Secret, Verifier};

struct Receiver {
    verifier: Verifier,
    /// In production: a table with an expiry.
    processed: Mutex<HashSet<String>>,
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let now = OffsetDateTime::now_utc();
    match receiver.verifier.verify(&headers, &body, now) {
        Ok(delivery) => {
            if receiver.processed.lock().await.insert(delivery.id.to_owned()) {
                println!("{}", String::from_utf8_lossy(&body));
            }
            StatusCode::NO_CONTENT
        }
        Err(error) => {
            println!("refused: {error}");
            StatusCode::UNAUTHORIZED
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret: Secret = std::env::var("WEBHOOK_SECRET")?.parse()?;
    let receiver = Receiver {
        verifier: Verifier::new([secret]),
        processed: Mutex::default(),
    };
    let app = Router::new()
        .route("/webhooks", post(receive))
        .with_state(Arc::new(receiver));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/webhooks", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
