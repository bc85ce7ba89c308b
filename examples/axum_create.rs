//! `POST /sessions` of `axum_backend`: creates a session from the guest's jurisdiction and consent.

use std::error::Error;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use guest_suite::NewGuest;
use guest_suite::payload::{Choice, Consent, Evidence, Purpose};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::axum_refusal::Refusal;
use crate::{App, PAGE};

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let guest = guest(&body).map_err(Refusal::bad_request)?;
    let mut session = app.sessions.create(guest).await?;
    let page = app.pages.admit([PAGE]).map_err(Refusal::bad_request)?;
    session.connect(page).await?;
    let id = session.id().to_string();
    let chat = Arc::new(Mutex::new(session));
    app.chats.lock().await.insert(id.clone(), chat);
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

/// Reads `{"jurisdiction": "EU", "consent": {"analytics": "granted", "marketing": "denied"}}`.
#[expect(clippy::disallowed_methods, reason = "the guest chooses now")]
fn guest(body: &[u8]) -> Result<NewGuest, Box<dyn Error>> {
    let body: Value = serde_json::from_slice(body)?;
    let choice = |purpose: Purpose| match body["consent"][purpose.as_str()].as_str() {
        Some("granted") => Choice::Granted,
        Some("denied") => Choice::Denied,
        _ => Choice::Unknown,
    };
    let now = Evidence::at(OffsetDateTime::now_utc());
    let consent = Consent::together(Purpose::ALL.map(choice), now);
    let jurisdiction = body["jurisdiction"].as_str().unwrap_or_default();
    let mut guest = NewGuest::new("web".parse()?, jurisdiction.parse()?, consent);
    guest.attributes.insert("source", "web")?;
    // is dropped unless the guest agrees to marketing
    guest.attributes.insert("marketing.campaign", "spring")?;
    Ok(guest)
}
