//! The backend of a single-page app with axum, for guest sessions of a `guest-gateway`.
//!
//! `GATEWAY` is its URL, `CLIENT_ID` and `CLIENT_SECRET` the credentials. Without them a simulated one starts here.
#![expect(clippy::print_stdout, reason = "a program prints its address")]

mod axum_chat;
mod axum_create;
mod axum_refusal;
mod axum_socket;
mod local_gateway;

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use guest_suite::auth::Credentials;
use guest_suite::transport::OriginPolicy;
use guest_suite::{GuestSession, GuestSessions, RemoteConfig};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

const PAGE: &str = "https://shop.example";

/// The state of the backend.
struct App {
    sessions: GuestSessions,
    pages: OriginPolicy,
    chats: Mutex<HashMap<String, Arc<Mutex<GuestSession>>>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (config, _local) = match env::var("GATEWAY") {
        Ok(url) => {
            let secret = env::var("CLIENT_SECRET")?.into();
            let credentials = Credentials::new(env::var("CLIENT_ID")?.parse()?, secret)?;
            (RemoteConfig::new(url.parse()?, credentials)?, None)
        }
        Err(_) => local_gateway::start(PAGE).await?,
    };
    let app = Router::new()
        .route("/sessions", post(axum_create::create))
        .route("/sessions/{id}", get(axum_socket::open))
        .route("/rules/{*id}", get(axum_refusal::rule))
        .with_state(Arc::new(App {
            sessions: GuestSessions::remote(config),
            pages: OriginPolicy::new([PAGE])?,
            chats: Mutex::default(),
        }));
    let listener = TcpListener::bind(env::var("LISTEN").unwrap_or("127.0.0.1:8080".into())).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
