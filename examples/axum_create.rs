//! The first route of `axum_backend`: creates a session from consent and jurisdiction.

use std::error::Error;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use guest_suite::NewGuest;
use guest_suite::payload::{Choice, Consent, Evidence};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::axum_routes::App;
use crate::axum_session;

type Created = (StatusCode, Json<Value>);

pub(crate) async fn create(State(app): State<Arc<App>>, Json(body): Json<Value>) -> Result<Created, Created> {
    let guest = guest(&body).map_err(|error| {
        let problem = json!({ "code": "bad.request", "message": error.to_string() });
        (StatusCode::BAD_REQUEST, Json(problem))
    })?;
    let id = start(&app, guest).await.map_err(|error| {
        let problem = error
            .problem()
            .map_or(json!({ "message": error.to_string() }), |problem| json!(problem));
        let status = problem["status"]
            .as_u64()
            .and_then(|status| u16::try_from(status).ok());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        (status.unwrap_or(StatusCode::BAD_GATEWAY), Json(problem))
    })?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

async fn start(app: &App, guest: NewGuest) -> Result<String, guest_suite::Error> {
    let mut session = app.sessions.create(guest).await?;
    session.connect(app.page.clone()).await?;
    let id = session.id().to_string();
    let chat = axum_session::spawn(session);
    app.chats.lock().await.insert(id.clone(), chat);
    Ok(id)
}

/// Reads `{"jurisdiction": "EU", "consent": {"analytics": "granted", "marketing": "denied"}}`.
#[expect(clippy::disallowed_methods, reason = "the guest chooses now")]
fn guest(body: &Value) -> Result<NewGuest, Box<dyn Error + Send + Sync>> {
    let choice = |purpose: &str| match body["consent"][purpose].as_str() {
        Some("granted") => Choice::Granted,
        Some("denied") => Choice::Denied,
        _ => Choice::Unknown,
    };
    let choices = ["marketing", "personalization", "analytics"].map(choice);
    let consent = Consent::together(choices, Evidence::at(OffsetDateTime::now_utc()));
    let jurisdiction = body["jurisdiction"].as_str().unwrap_or_default();
    Ok(NewGuest::new("web".parse()?, jurisdiction.parse()?, consent))
}
