//! `token-window` with an API that is not Genesys': an OAuth server whose refresh tokens work once.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::time::Duration;

use axum::{Router, routing::post};
use genesys_http::{Client, Tls};
use serde_json::{Value, json};
use token_window::{ExposeSecret, IdempotencyKey, RefreshError, RefreshRequest, TokenManager, Tokens};

/// Exchanges the refresh token at the token endpoint.
async fn refresh(client: Client, url: String, request: RefreshRequest) -> Result<Tokens, RefreshError> {
    let token = request
        .current
        .refresh()
        .map_or("", |token| token.expose_secret());
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    let key = request.idempotency_key.header_value();
    let request = http::Request::post(url)
        .header(IdempotencyKey::HEADER, key)
        .body(form.into());
    let response = client
        .send(request.map_err(|_| RefreshError::Refused)?)
        .await
        .map_err(|_| RefreshError::Unknown { retry_after: None })?;
    let body: Value =
        serde_json::from_slice(response.body()).map_err(|_| RefreshError::Unknown { retry_after: None })?;
    if body["error"] == "invalid_grant" {
        return Err(RefreshError::Refused);
    }
    let text = |name: &str| body[name].as_str().unwrap_or_default().into();
    let lifetime = Duration::from_secs(body["expires_in"].as_u64().unwrap_or_default());
    let refresh = Some(text("refresh_token"));
    Ok(Tokens::new(text("access_token"), refresh, lifetime)?)
}

/// The other service: issues the next pair of tokens.
async fn token_endpoint(form: String) -> String {
    let used = form.rsplit('-').next().and_then(|n| n.parse::<u32>().ok());
    let next = used.unwrap_or_default() + 1;
    json!({"access_token": format!("access-{next}"), "refresh_token": format!("refresh-{next}"), "expires_in": 3600})
        .to_string()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/token", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, Router::new().route("/token", post(token_endpoint))).into_future());

    let client = Client::builder(Tls::system()?).build();
    let first = Tokens::new(
        "access-1".into(),
        Some("refresh-1".into()),
        Duration::from_secs(3600),
    )?;
    let manager = TokenManager::spawn(first, move |request| {
        refresh(client.clone(), url.clone(), request)
    });
    // both callers ask in one turn, and share one refresh
    let (one, other) = tokio::join!(manager.refresh_now(), manager.refresh_now());
    println!("{:?}", one?);
    assert_eq!(other?.secret.expose_secret(), "access-2");
    Ok(())
}
