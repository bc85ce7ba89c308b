//! `/api/v2/webhooks`.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use genesys_api::WebhookId;
use guest_sessions::{SubscriptionBody, Webhook, WebhookList};
use guest_suite::direct::RegisteredWebhook;
use http::StatusCode;
use webhook::Subscription;

use super::request::{Id, Scope, admit, admit_json};
use super::{App, Refusal, json_answer};

pub(super) async fn register(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let (caller, body) = admit_json(&app, request, Scope::Webhooks).await?;
    let wanted = SubscriptionBody::parse(&body)?;
    let registered = app.direct.ensure_webhook(&caller.client, wanted).await?;
    let status = if registered.secret.is_some() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(answer(status, registered))
}

pub(super) async fn list(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let caller = admit(&app, request.headers(), Scope::Webhooks)?;
    let webhooks: Vec<Webhook> = app
        .direct
        .webhooks(&caller.client)
        .await?
        .into_iter()
        .map(webhook)
        .collect();
    Ok(json_answer(StatusCode::OK, &WebhookList::from(webhooks)))
}

pub(super) async fn fetch(State(app): State<App>, Id(id): Id, request: Request) -> Result<Response, Refusal> {
    let caller = admit(&app, request.headers(), Scope::Webhooks)?;
    let id = webhook_id(&id)?;
    let known = app
        .direct
        .webhooks(&caller.client)
        .await?
        .into_iter()
        .find(|known| known.id == id);
    Ok(answer(
        StatusCode::OK,
        known.ok_or_else(|| Refusal::not_found("webhook"))?,
    ))
}

pub(super) async fn replace(
    State(app): State<App>,
    Id(id): Id,
    request: Request,
) -> Result<Response, Refusal> {
    let (caller, body) = admit_json(&app, request, Scope::Webhooks).await?;
    let id = webhook_id(&id)?;
    let wanted = SubscriptionBody::parse(&body)?;
    Ok(answer(
        StatusCode::OK,
        app.direct.replace_webhook(&caller.client, &id, wanted).await?,
    ))
}

pub(super) async fn remove(
    State(app): State<App>,
    Id(id): Id,
    request: Request,
) -> Result<Response, Refusal> {
    let caller = admit(&app, request.headers(), Scope::Webhooks)?;
    app.direct
        .remove_webhook(&caller.client, &webhook_id(&id)?)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn webhook_id(text: &str) -> Result<WebhookId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("webhook"))
}

fn webhook(registered: RegisteredWebhook) -> Webhook {
    let subscription = Subscription {
        enabled: registered.enabled,
        ..registered.subscription
    };
    Webhook {
        id: registered.id,
        subscription,
        secret: registered.secret,
    }
}

fn answer(status: StatusCode, registered: RegisteredWebhook) -> Response {
    json_answer(status, &webhook(registered))
}
