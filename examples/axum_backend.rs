//! The backend of a single-page app with axum, for guest sessions of a `guest-gateway`.
//!
//! `GATEWAY` is its URL, `CLIENT_ID` and `CLIENT_SECRET` the credentials. Without them a simulated one starts here.
#![expect(clippy::print_stdout, reason = "a program prints its address")]

mod axum_create;
mod axum_routes;
mod axum_session;
mod local_gateway;

use std::env;
use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use guest_suite::auth::Credentials;
use guest_suite::transport::OriginPolicy;
use guest_suite::{GuestSessions, RemoteConfig};

const PAGE: &str = "https://shop.example";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (host, id, secret, _local) = match env::var("GATEWAY") {
        Ok(url) => (
            url.parse()?,
            env::var("CLIENT_ID")?,
            env::var("CLIENT_SECRET")?,
            None,
        ),
        Err(_) => {
            println!("SIMULATED: no GATEWAY is set, so there is no Genesys Cloud behind this");
            let local = local_gateway::start(PAGE).await?;
            let host = local.host().clone();
            (host, "backend".to_owned(), "change-me".to_owned(), Some(local))
        }
    };
    let credentials = Credentials::new(id.parse()?, secret.into())?;
    let sessions = GuestSessions::remote(RemoteConfig::new(host, credentials)?);
    let page = OriginPolicy::new([PAGE])?.admit([PAGE])?;
    let app = Router::new()
        .route("/sessions", post(axum_create::create))
        .route("/sessions/{id}/messages", post(axum_routes::send))
        .route("/sessions/{id}/events", get(axum_routes::events))
        .with_state(Arc::new(axum_routes::App {
            sessions,
            page,
            chats: tokio::sync::Mutex::default(),
        }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
