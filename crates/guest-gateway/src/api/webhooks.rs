//! `/api/v2/webhooks`.

use axum::response::{IntoResponse, Response};
use genesys_api::WebhookId;
use guest_sessions::{
    DeliveryPageQuery, DeliveryState, DetailCode, PreviewBody, ReplayBody, SubscriptionBody, UnknownState,
    Webhook, WebhookList,
};
use guest_suite::direct::WebhookParty;
use http::StatusCode;
use url::form_urlencoded;
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
    let status = match registered.is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok(json_answer(status, &registered.webhook))
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
    let found = call.app.direct.webhook(&caller.client, &id).await?;
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

pub(super) async fn pause(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WEBHOOKS).await?;
    let id = call.id()?;
    let paused = call.app.direct.enable_webhook(&caller.client, &id, false).await?;
    Ok(json_answer(StatusCode::OK, &paused))
}

pub(super) async fn resume(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WEBHOOKS).await?;
    let id = call.id()?;
    let party = WebhookParty::Client(&caller.client);
    let resumed = resume_webhook(&call.app, party, &id).await?;
    Ok(json_answer(StatusCode::OK, &resumed))
}

/// Resumes a webhook, unless nothing could be delivered to it.
pub(crate) async fn resume_webhook(
    app: &App,
    party: WebhookParty<'_>,
    id: &WebhookId,
) -> Result<Webhook, Refusal> {
    let mut wanted = app.direct.webhook(party, id).await?.subscription;
    wanted.enabled = true;
    check_network(app, &wanted).await?;
    Ok(app.direct.enable_webhook(party, id, true).await?)
}

pub(super) async fn test(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WEBHOOKS).await?;
    let id = call.id()?;
    let app = &call.app;
    let attempt = app
        .direct
        .test_webhook(&app.dispatcher, &caller.client, &id)
        .await?;
    Ok(json_answer(StatusCode::OK, &attempt))
}

pub(super) async fn preview(mut call: Call) -> Result<Response, Refusal> {
    let (caller, body) = call.admit_json(WEBHOOKS).await?;
    let id = call.id()?;
    let of = PreviewBody::parse(&body)?;
    let preview = call.app.direct.preview_webhook(&caller.client, &id, &of).await?;
    Ok(json_answer(StatusCode::OK, &preview))
}

pub(super) async fn list_deliveries(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WEBHOOKS).await?;
    let id = call.id()?;
    let query = delivery_query(call.request.uri().query().unwrap_or_default())?;
    let page = call.app.direct.deliveries(&caller.client, &id, query).await?;
    Ok(json_answer(StatusCode::OK, &page))
}

/// Parses the query of a page of deliveries.
pub(crate) fn delivery_query(query: &str) -> Result<DeliveryPageQuery, Refusal> {
    let refusal = |detail: DetailCode, name: &str, message: &str| {
        Refusal::new(detail.error_code(), message).detail(detail.as_str(), name)
    };
    let (mut state, mut after) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "state" => {
                let parsed = value.parse::<DeliveryState>();
                let refused =
                    |error: UnknownState| refusal(DetailCode::FieldValue, "state", &error.to_string());
                state = Some(parsed.map_err(refused)?);
            }
            _ => {
                let message = "invalid after: give `next` of the page before";
                let place = DeliveryPageQuery::parse_place(&value);
                after = Some(place.ok_or_else(|| refusal(DetailCode::FieldValue, "after", message))?);
            }
        }
    }
    let message = "invalid query: the parameter state is missing, give waiting, delivered or dead";
    let state = state.ok_or_else(|| refusal(DetailCode::FieldMissing, "state", message))?;
    Ok(DeliveryPageQuery { state, after })
}

pub(super) async fn fetch_delivery(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WEBHOOKS).await?;
    let id = call.id()?;
    let direct = &call.app.direct;
    let delivery = direct.delivery(&caller.client, &id, call.inner_id()).await?;
    Ok(json_answer(StatusCode::OK, &delivery))
}

pub(super) async fn replay_one(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WEBHOOKS).await?;
    let id = call.id()?;
    let direct = &call.app.direct;
    let replayed = direct
        .replay_delivery(&caller.client, &id, call.inner_id())
        .await?;
    Ok(json_answer(StatusCode::OK, &replayed))
}

pub(super) async fn replay_all(mut call: Call) -> Result<Response, Refusal> {
    let (caller, body) = call.admit_json(WEBHOOKS).await?;
    let id = call.id()?;
    let ReplayBody { since } = ReplayBody::parse(&body)?;
    let direct = &call.app.direct;
    let replayed = direct.replay_deliveries(&caller.client, &id, since).await?;
    Ok(json_answer(StatusCode::OK, &replayed))
}

pub(super) async fn remove(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WEBHOOKS).await?;
    let id = call.id()?;
    call.app.direct.remove_webhook(&caller.client, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
