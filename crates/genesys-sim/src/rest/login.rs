//! The login host: access tokens for the API client.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::json;
use url::form_urlencoded;

use super::Problem;
use super::response::{Call, json, ok, with_usage};
use crate::query::parameter;
use crate::world::{Denial, LimitKey, MINUTE};

/// `POST /oauth/token` with HTTP Basic, which all official SDKs use. That every refusal has status 400, and that a 429
/// has the standard error body, are inferences.
pub(super) fn token(call: &mut Call<'_>, _: &[&str]) -> Result<Response<Bytes>, Problem> {
    let Some(form) = form(call.request) else {
        let description = "the body is not application/x-www-form-urlencoded";
        return Ok(refusal("invalid_request", description));
    };
    for (field, _) in form_urlencoded::parse(form.as_bytes()) {
        if field != "grant_type" {
            call.unknown_field(&format!("POST /oauth/token {field}"));
        }
    }
    let credentials = call.authorization("Basic").and_then(basic);
    let Some((id, secret)) = credentials.filter(|(id, _)| *id == call.world.client_id) else {
        return Ok(refusal("invalid_client", "client not found"));
    };
    let limit = call.world.rules.limits.tokens_per_minute;
    let usage = call
        .world
        .token_requests
        .take(limit, MINUTE, call.now.instant)
        .map_err(Denial::too_many(LimitKey::CLIENT))?;
    let response = if !call.world.is_secret(&secret) {
        tracing::debug!(client = id, "wrong client secret");
        refusal("invalid_client", "authentication failed")
    } else if parameter(&form, "grant_type").as_deref() != Some("client_credentials") {
        let description = "the simulator grants client_credentials only";
        refusal("unsupported_grant_type", description)
    } else {
        issue(call)
    };
    Ok(with_usage(response, usage))
}

fn issue(call: &mut Call<'_>) -> Response<Bytes> {
    let world = &mut *call.world;
    world.counters.tokens += 1;
    let token = world.seed.secret();
    let lifetime = world.rules.token_lifetime;
    let expires = time::Duration::try_from(lifetime).unwrap_or(time::Duration::MAX);
    let expires = call.now.utc.saturating_add(expires);
    world.access_tokens.insert(token.clone(), expires);
    let mut response = ok(&json!({
        "access_token": token,
        "token_type": "bearer",
        // Genesys counts from the moment of issue: a lifetime of 86400 becomes 86399
        "expires_in": lifetime.as_secs().saturating_sub(1),
    }));
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

fn refusal(error: &str, description: &str) -> Response<Bytes> {
    let body = json!({"error": error, "description": description, "error_description": description});
    json(StatusCode::BAD_REQUEST, &body)
}

fn form(request: &Request<Bytes>) -> Option<String> {
    let kind = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next()?.trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return None;
    }
    String::from_utf8(request.body().to_vec()).ok()
}

fn basic(credentials: &str) -> Option<(String, String)> {
    let decoded = STANDARD.decode(credentials).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use genesys_api::Now;
    use serde_json::Value;

    use super::*;
    use crate::world::World;
    use crate::world::tests::{at, now, send, world};

    fn ask(world: &mut World, credentials: &str, body: &'static str) -> (Response<Bytes>, Value) {
        ask_at(world, credentials, body, now())
    }

    fn ask_at(
        world: &mut World,
        credentials: &str,
        body: &'static str,
        now: Now,
    ) -> (Response<Bytes>, Value) {
        let request = Request::post("/oauth/token")
            .header("authorization", format!("Basic {}", STANDARD.encode(credentials)))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap();
        send(world, request, now)
    }

    #[test]
    fn right_secret_gets_a_token() {
        let mut world = world();
        let (response, body) = ask(&mut world, "client:s3cret", "grant_type=client_credentials");
        assert_eq!(response.status(), 200);
        assert_eq!(
            (&body["token_type"], &body["expires_in"]),
            (&json!("bearer"), &json!(86399))
        );
        assert_eq!(body.as_object().unwrap().len(), 3);
        let headers = response.headers();
        assert_eq!(headers["inin-ratelimit-count"], "1");
        assert_eq!(headers["inin-ratelimit-allowed"], "300");
        assert_eq!(headers["inin-ratelimit-reset"], "60");
        let (_, again) = ask(&mut world, "client:s3cret", "grant_type=client_credentials");
        assert_ne!(body["access_token"], again["access_token"]);
    }

    #[test]
    fn login_host_has_its_own_errors() {
        let mut world = world();
        let grant = "grant_type=client_credentials";
        for (credentials, body, error, description) in [
            ("client:wrong", grant, "invalid_client", "authentication failed"),
            ("other:s3cret", grant, "invalid_client", "client not found"),
            (
                "client:s3cret",
                "grant_type=password",
                "unsupported_grant_type",
                "the simulator grants client_credentials only",
            ),
        ] {
            let (response, answer) = ask(&mut world, credentials, body);
            assert_eq!(response.status(), 400);
            assert_eq!(
                answer,
                json!({"error": error, "description": description, "error_description": description})
            );
        }
        for request in [
            Request::post("/oauth/token").body(Bytes::new()).unwrap(),
            Request::post("/oauth/token")
                .header("content-type", "application/x-www-form-urlencoded")
                .header("authorization", "Basic %%%")
                .body(Bytes::from_static(b"grant_type=client_credentials"))
                .unwrap(),
        ] {
            assert_eq!(send(&mut world, request, now()).0.status(), 400);
        }
        assert_eq!(world.counters().tokens, 0);
    }

    #[test]
    fn scope_is_ignored_and_reported() {
        let mut world = world();
        let (response, _) = ask(
            &mut world,
            "client:s3cret",
            "grant_type=client_credentials&scope=webmessaging%3Aguest",
        );
        assert_eq!(response.status(), 200);
        assert_eq!(world.violations()[0].place, "POST /oauth/token scope");
    }

    #[test]
    fn token_request_over_the_limit_gets_retry_after() {
        let mut world = world();
        let grant = "grant_type=client_credentials";
        for _ in 0..300 {
            assert_eq!(ask(&mut world, "client:s3cret", grant).0.status(), 200);
        }
        let soon = at(now(), Duration::from_millis(17_500));
        let (response, body) = ask_at(&mut world, "client:s3cret", grant, soon);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "43");
        assert_eq!(response.headers()["inin-ratelimit-count"], "300");
        assert_eq!(body["code"], "too.many.requests");
        assert_eq!(
            body["limit"],
            json!({"key": "client.credentials.token.rate.per.minute", "namespace": "platform.api", "value": "300"})
        );
        let later = at(now(), Duration::from_secs(60));
        assert_eq!(ask_at(&mut world, "client:s3cret", grant, later).0.status(), 200);
    }
}
