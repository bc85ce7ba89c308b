//! The platform API for servers, with the access token of an API client.

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cdn;
use super::response::{Context, HandlerResult, ok};
use crate::cloud::{MAX_TOPICS, Problem};

/// Admits a request by its access token, within the limits of token and client.
fn admit(context: &mut Context<'_>) -> Result<(), Problem> {
    let token = context.bearer()?;
    let limit = context.cloud.rules.limits.api_requests_per_minute;
    context.usage = context.cloud.access_tokens.admit(token, limit, context.now)?;
    Ok(())
}

/// `GET /api/v2/webdeployments/deployments/{id}`. The configuration has the deployment's id (our choice).
pub(super) fn deployment(context: &mut Context<'_>, parts: &[&str]) -> HandlerResult {
    admit(context)?;
    let id = parts[0];
    context.cloud.check_deployment(id)?;
    let rules = &context.cloud.rules;
    let domains = rules.allowed_domains.as_deref();
    let body = json!({
        "id": id,
        "name": "genesys-sim",
        "allowAllDomains": domains.is_none(),
        "allowedDomains": domains.unwrap_or_default(),
        "configuration": {"id": id, "name": "genesys-sim", "version": "1"},
        "status": if rules.deployment_active { "Active" } else { "Inactive" },
        "selfUri": format!("/api/v2/webdeployments/deployments/{id}"),
    });
    Ok(ok(&body))
}

/// `GET /api/v2/webdeployments/configurations/{id}/versions/{version}`: the parts that rules of the simulator set.
pub(super) fn configuration(context: &mut Context<'_>, parts: &[&str]) -> HandlerResult {
    admit(context)?;
    let (id, version) = (parts[0], parts[1]);
    context.cloud.check_deployment(id)?;
    if version != "1" {
        return Err(Problem::NOT_FOUND);
    }
    let public = cdn::configuration(context.cloud);
    let body = json!({
        "id": id,
        "name": "genesys-sim",
        "version": version,
        "status": "Active",
        "languages": public["languages"],
        "defaultLanguage": public["defaultLanguage"],
        "messenger": public["messenger"],
        "authenticationSettings": {
            "enabled": public["auth"]["enabled"],
            "integrationId": id,
            "allowSessionUpgrade": public["auth"]["allowSessionUpgrade"],
        },
        "selfUri": format!("/api/v2/webdeployments/configurations/{id}/versions/{version}"),
    });
    Ok(ok(&body))
}

/// The conversation of a message, by any id of the message (inference).
pub(super) fn message_details(context: &mut Context<'_>, parts: &[&str]) -> HandlerResult {
    admit(context)?;
    let body = context
        .cloud
        .message_details(parts[0])
        .ok_or(Problem::NOT_FOUND)?;
    Ok(ok(&body))
}

pub(super) fn create_channel(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    admit(context)?;
    Ok(ok(&context.cloud.create_channel(context.now)))
}

pub(super) fn channels(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    admit(context)?;
    Ok(ok(&context.cloud.list_channels()))
}

/// `/api/v2/notifications/channels/{id}/subscriptions`: POST adds, PUT replaces, GET lists, DELETE clears.
pub(super) fn subscriptions(context: &mut Context<'_>, parts: &[&str]) -> HandlerResult {
    admit(context)?;
    let (id, now) = (parts[0], context.now);
    let body = match *context.request.method() {
        Method::DELETE => {
            context.cloud.subscribe(id, &[], true, now)?;
            json!({})
        }
        Method::GET => context.cloud.subscriptions(id)?,
        ref method => {
            let topics = topics(context)?;
            context.cloud.subscribe(id, &topics, method == Method::PUT, now)?
        }
    };
    Ok(ok(&body))
}

fn topics(context: &mut Context<'_>) -> Result<Vec<String>, Problem> {
    #[derive(Deserialize)]
    struct Topic {
        id: String,
        #[serde(flatten)]
        unknown: Map<String, Value>,
    }
    let topics: Option<Vec<Topic>> = serde_json::from_slice(context.request.body()).ok();
    let valid = r#"invalid body: use [{"id":"…"}], of at most 1000 topics"#;
    let topics = topics.filter(|topics| topics.len() <= MAX_TOPICS);
    let topics = topics.ok_or_else(|| Problem::bad_request(valid))?;
    for topic in &topics {
        context.check_fields(&topic.unknown, &[], "subscriptions");
    }
    Ok(topics.into_iter().map(|topic| topic.id).collect())
}
