//! The deliveries of a webhook, and what an operator can do with it.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use genesys_api::WebhookId;
use guest_suite::direct::WebhookParty;
use http::StatusCode;

use super::{Admin, Operator};
use crate::api::{Refusal, delivery_query, json_answer, resume_webhook};

/// The routes, which need a login.
pub(super) fn routes() -> Router<Admin> {
    Router::new()
        .route("/dashboard/webhooks/{id}/deliveries", get(list_deliveries))
        .route("/dashboard/webhooks/{id}/{action}", post(act))
}

/// A page of the deliveries with their attempts, without the responses.
async fn list_deliveries(
    State(admin): State<Admin>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let query = delivery_query(request.uri().query().unwrap_or_default())?;
    let party = WebhookParty::Operator(operator.name());
    let page = admin.app.direct.deliveries(party, &parse(&id)?, query).await?;
    Ok(json_answer(StatusCode::OK, &page))
}

/// Answers as the same operation for API clients. The audit log records the operator.
async fn act(
    State(admin): State<Admin>,
    Extension(operator): Extension<Operator>,
    Path((id, action)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (app, id) = (&admin.app, parse(&id)?);
    let (direct, party) = (&app.direct, WebhookParty::Operator(operator.name()));
    let ok = StatusCode::OK;
    Ok(match &*action {
        "pause" => json_answer(ok, &direct.enable_webhook(party, &id, false).await?),
        "replay" => json_answer(ok, &direct.replay_deliveries(party, &id, None).await?),
        "resume" => json_answer(ok, &resume_webhook(app, party, &id).await?),
        "rotate" => json_answer(ok, &direct.rotate_webhook_secret(party, &id).await?),
        "test" => json_answer(ok, &direct.test_webhook(&app.dispatcher, party, &id).await?),
        _ => return Err(Refusal::not_found()),
    })
}

/// An invalid id is refused like an unknown one.
fn parse(id: &str) -> Result<WebhookId, Refusal> {
    id.parse().map_err(|_| Refusal::not_found())
}
