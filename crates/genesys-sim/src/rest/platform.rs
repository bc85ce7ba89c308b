//! The platform API for servers, with the access token of an API client.

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cdn;
use super::response::{Answer, Call, ok};
use crate::world::{MAX_TOPICS, Problem};

/// Admits a request by its access token, within the limits of token and client.
fn admit(call: &mut Call<'_>) -> Result<(), Problem> {
    let token = call.bearer()?;
    let limit = call.world.rules.limits.api_requests_per_minute;
    call.usage = call.world.access_tokens.admit(token, limit, call.now)?;
    Ok(())
}

/// `GET /api/v2/webdeployments/deployments/{id}`. The configuration has the deployment's id (our choice).
pub(super) fn deployment(call: &mut Call<'_>, parts: &[&str]) -> Answer {
    admit(call)?;
    let id = parts[0];
    call.world.check_deployment(id)?;
    let rules = &call.world.rules;
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
pub(super) fn configuration(call: &mut Call<'_>, parts: &[&str]) -> Answer {
    admit(call)?;
    let (id, version) = (parts[0], parts[1]);
    call.world.check_deployment(id)?;
    if version != "1" {
        return Err(Problem::NOT_FOUND);
    }
    let public = cdn::configuration(call.world);
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
pub(super) fn message_details(call: &mut Call<'_>, parts: &[&str]) -> Answer {
    admit(call)?;
    let body = call.world.message_details(parts[0]).ok_or(Problem::NOT_FOUND)?;
    Ok(ok(&body))
}

pub(super) fn create_channel(call: &mut Call<'_>, _: &[&str]) -> Answer {
    admit(call)?;
    Ok(ok(&call.world.create_channel(call.now)))
}

/// `/api/v2/notifications/channels/{id}/subscriptions`: POST adds, PUT replaces, GET lists, DELETE clears.
pub(super) fn subscriptions(call: &mut Call<'_>, parts: &[&str]) -> Answer {
    admit(call)?;
    let (id, now) = (parts[0], call.now);
    let body = match *call.request.method() {
        Method::DELETE => {
            call.world.subscribe(id, &[], true, now)?;
            json!({})
        }
        Method::GET => call.world.subscriptions(id)?,
        ref method => {
            let topics = topics(call)?;
            call.world.subscribe(id, &topics, method == Method::PUT, now)?
        }
    };
    Ok(ok(&body))
}

fn topics(call: &mut Call<'_>) -> Result<Vec<String>, Problem> {
    #[derive(Deserialize)]
    struct Topic {
        id: String,
        #[serde(flatten)]
        unknown: Map<String, Value>,
    }
    let topics: Option<Vec<Topic>> = serde_json::from_slice(call.request.body()).ok();
    let valid = r#"The body has to be [{"id":"…"}], of at most 1000 topics."#;
    let topics = topics.filter(|topics| topics.len() <= MAX_TOPICS);
    let topics = topics.ok_or_else(|| Problem::bad_request(valid))?;
    for topic in &topics {
        call.check_fields(&topic.unknown, &[], "subscriptions");
    }
    Ok(topics.into_iter().map(|topic| topic.id).collect())
}
