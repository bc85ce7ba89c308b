//! What servers may ask of the platform API, with the access token of an API client.

use bytes::Bytes;
use genesys_api::Now;
use http::{Request, Response, StatusCode};
use serde_json::json;

use super::{Problem, authorization, json, tell_usage};
use crate::world::limits::Usage;
use crate::world::{AccessRefusal, World};

/// Admits a request by its access token, within the limits of token and client.
pub(super) fn admit(world: &mut World, request: &Request<Bytes>, now: Now) -> Result<Option<Usage>, Problem> {
    let token = authorization(request, "Bearer").ok_or_else(Problem::not_authenticated)?;
    let limit = world.rules.limits.api_requests_per_minute;
    world
        .access
        .admit(token, limit, now)
        .map_err(|refusal| match refusal {
            AccessRefusal::Expired => Problem::credentials_expired(),
            AccessRefusal::Invalid => Problem::bad_credentials(),
            AccessRefusal::ClientTooOften(usage) => {
                world.counters.rate_limited += 1;
                Problem::too_many("platform.api", "client.credentials.token.rate.per.minute", usage)
            }
            AccessRefusal::TokenTooOften(usage) => {
                world.counters.rate_limited += 1;
                Problem::too_many("platform.api", "token.rate.per.minute", usage)
            }
        })
}

/// A successful answer with the use of the limit.
pub(super) fn answer(body: &serde_json::Value, usage: Option<Usage>) -> Response<Bytes> {
    let mut response = json(StatusCode::OK, body);
    if let Some(usage) = usage {
        tell_usage(&mut response, usage);
    }
    response
}

/// `GET /api/v2/webdeployments/deployments/{id}`. The configuration bears the deployment's own id (our choice).
pub(super) fn deployment(
    world: &mut World,
    id: &str,
    request: &Request<Bytes>,
    now: Now,
) -> Result<Response<Bytes>, Problem> {
    let usage = admit(world, request, now)?;
    check(world, id)?;
    let domains = world.rules.allowed_domains.as_deref();
    let status = if world.rules.deployment_active {
        "Active"
    } else {
        "Inactive"
    };
    let body = json!({
        "id": id,
        "name": "genesys-sim",
        "allowAllDomains": domains.is_none(),
        "allowedDomains": domains.unwrap_or_default(),
        "configuration": {"id": id, "name": "genesys-sim", "version": "1"},
        "status": status,
        "selfUri": format!("/api/v2/webdeployments/deployments/{id}"),
    });
    Ok(answer(&body, usage))
}

/// `GET /api/v2/webdeployments/configurations/{id}/versions/{version}`: the parts that rules of the simulator set.
pub(super) fn configuration(
    world: &mut World,
    (id, version): (&str, &str),
    request: &Request<Bytes>,
    now: Now,
) -> Result<Response<Bytes>, Problem> {
    let usage = admit(world, request, now)?;
    check(world, id)?;
    if version != "1" {
        return Err(Problem::not_found());
    }
    let mut body = super::cdn::config(world);
    let auth = body["auth"].clone();
    let messenger = body["messenger"].take();
    let body = json!({
        "id": id,
        "name": "genesys-sim",
        "version": version,
        "status": "Active",
        "languages": body["languages"],
        "defaultLanguage": body["defaultLanguage"],
        "messenger": messenger,
        "authenticationSettings": {
            "enabled": auth["enabled"],
            "integrationId": id,
            "allowSessionUpgrade": auth["allowSessionUpgrade"],
        },
        "selfUri": format!("/api/v2/webdeployments/configurations/{id}/versions/{version}"),
    });
    Ok(answer(&body, usage))
}

/// `GET /api/v2/conversations/messages/{messageId}/details`: which conversation a message belongs to. Any id of the
/// message will do (inference).
pub(super) fn message_details(
    world: &mut World,
    id: &str,
    request: &Request<Bytes>,
    now: Now,
) -> Result<Response<Bytes>, Problem> {
    let usage = admit(world, request, now)?;
    let body = world.message_details(id).ok_or_else(Problem::not_found)?;
    Ok(answer(&body, usage))
}

fn check(world: &World, deployment: &str) -> Result<(), Problem> {
    if deployment == world.deployment.as_str() {
        return Ok(());
    }
    Err(Problem::not_found())
}
