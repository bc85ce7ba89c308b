//! `/api/v2/webhooks`.

use axum::response::{IntoResponse, Response};
use genesys_api::WebhookId;
use guest_sessions::{DetailCode, SubscriptionBody, WebhookList};
use http::StatusCode;
use webhook::Subscription;

use super::request::Call;
use super::{App, Refusal, json_answer};
use crate::config::WEBHOOKS;

pub(super) async fn register(mut call: Call) -> Result<Response, Refusal> {
    let (caller, body) = call.admit_json(WEBHOOKS).await?;
    let request = call.keyed_request(&caller, &body)?;
    let wanted = SubscriptionBody::parse(&body)?;
    check_network(&call.app, &wanted).await?;
    let direct = &call.app.direct;
    let registered = direct.ensure_webhook(&caller.client, wanted, request).await?;
    let status = match registered.secret {
        Some(_) => StatusCode::CREATED,
        None => StatusCode::OK,
    };
    Ok(json_answer(status, &registered))
}

/// Refuses an enabled webhook to which nothing could be delivered.
async fn check_network(app: &App, wanted: &Subscription) -> Result<(), Refusal> {
    if !wanted.enabled || !app.dispatcher.blocks(&wanted.target).await {
        return Ok(());
    }
    let detail = DetailCode::FieldValue;
    let message = "invalid uri: its host has no public address, use one that has, or add its network to `allow_networks` of \
                   [webhooks] in the configuration of the gateway";
    Err(Refusal::new(detail.error_code(), message).detail(detail.as_str(), "uri"))
}

pub(super) async fn list(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WEBHOOKS).await?;
    let webhooks = call.app.direct.webhooks(&caller.client).await?;
    Ok(json_answer(StatusCode::OK, &WebhookList::from(webhooks)))
}

pub(super) async fn fetch(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WEBHOOKS).await?;
    let id: WebhookId = call.id()?;
    let mut registered = call.app.direct.webhooks(&caller.client).await?.into_iter();
    let found = registered.find(|known| known.id == id);
    let found = found.ok_or_else(Refusal::not_found)?;
    Ok(json_answer(StatusCode::OK, &found))
}

pub(super) async fn replace(mut call: Call) -> Result<Response, Refusal> {
    let (caller, body) = call.admit_json(WEBHOOKS).await?;
    let id = call.id()?;
    let wanted = SubscriptionBody::parse(&body)?;
    check_network(&call.app, &wanted).await?;
    let replaced = call
        .app
        .direct
        .replace_webhook(&caller.client, &id, wanted)
        .await?;
    Ok(json_answer(StatusCode::OK, &replaced))
}

pub(super) async fn rotate(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WEBHOOKS).await?;
    let id = call.id()?;
    let direct = &call.app.direct;
    let rotated = direct.rotate_webhook_secret(&caller.client, &id).await?;
    Ok(json_answer(StatusCode::OK, &rotated))
}

pub(super) async fn remove(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WEBHOOKS).await?;
    let id = call.id()?;
    call.app.direct.remove_webhook(&caller.client, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
