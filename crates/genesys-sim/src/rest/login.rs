//! The login host: access tokens for the API client, and the simulated identity provider of guests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::json;
use url::{Url, form_urlencoded};

use super::response::{Context, HandlerResult, json, ok};
use crate::cloud::{AuthorizationRequest, LimitKey, Problem, ViolationKind, later};
use crate::query::parameter;

/// Longest value of a parameter of an authorization request, in bytes. Our choice.
const MAX_VALUE: usize = 512;

/// `POST /oauth/token` with HTTP Basic, which all official SDKs use. That every refusal has status 400, and that a 429
/// has the standard error body, are inferences.
pub(super) fn token(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    let Some(form) = form(context.request) else {
        let description = "the body is not application/x-www-form-urlencoded";
        return Ok(refusal("invalid_request", description));
    };
    for (field, _) in form_urlencoded::parse(form.as_bytes()) {
        if field != "grant_type" {
            context.violation(ViolationKind::UnknownField, &format!("POST /oauth/token {field}"));
        }
    }
    let credentials = context.authorization("Basic").and_then(basic);
    let Some((id, secret)) = credentials.filter(|(id, _)| *id == context.cloud.client_id) else {
        return Ok(refusal("invalid_client", "client not found"));
    };
    let limit = context.cloud.rules.limits.tokens_per_minute;
    let requests = &mut context.cloud.token_requests;
    context.usage = requests.take(limit, context.now, Problem::too_many(LimitKey::CLIENT))?;
    if secret != context.cloud.client_secret.expose_secret() {
        tracing::debug!(client = id, "wrong client secret");
        return Ok(refusal("invalid_client", "authentication failed"));
    }
    if parameter(&form, "grant_type").as_deref() != Some("client_credentials") {
        let description = "the simulator grants client_credentials only";
        return Ok(refusal("unsupported_grant_type", description));
    }
    Ok(issue(context))
}

fn issue(context: &mut Context<'_>) -> Response<Bytes> {
    let cloud = &mut *context.cloud;
    cloud.counters.tokens += 1;
    let token = cloud.rng.secret();
    let lifetime = cloud.rules.token_lifetime;
    let expires = later(context.now, lifetime).utc;
    cloud.access_tokens.insert(token.clone(), expires);
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

/// `GET /oauth/authorize` (RFC 6749, section 4.1.1; RFC 7636, section 4.3; OpenID Connect Core, section 3).
pub(super) fn authorize(context: &mut Context<'_>, _: &[&str]) -> HandlerResult {
    let valid = |value: &String| (1..=MAX_VALUE).contains(&value.len());
    let query = |name| context.query(name).filter(valid);
    let (Some(client_id), Some(redirect_uri)) = (query("client_id"), query("redirect_uri")) else {
        return Ok(refusal_page("client_id and redirect_uri are required"));
    };
    let rules = &context.cloud.rules.sign_in;
    let enabled = rules.enabled;
    let allowed = rules.redirect_uris.as_ref();
    let allowed = allowed.is_none_or(|uris| uris.contains(&redirect_uri));
    let target = Url::parse(&redirect_uri).ok();
    let valid = |url: &Url| allowed && !url.cannot_be_a_base() && url.fragment().is_none();
    let Some(mut target) = target.filter(valid) else {
        return Ok(refusal_page("the redirect_uri is not allowed"));
    };
    let kind = query("response_type");
    let method = query("code_challenge_method");
    let state = query("state");
    let authorization = AuthorizationRequest {
        client_id,
        redirect_uri,
        challenge: query("code_challenge"),
        nonce: query("nonce"),
        login_hint: query("login_hint"),
    };
    let is_pkce_wrong = authorization.challenge.is_some() && method.as_deref() != Some("S256");
    let (name, value) = match kind.as_deref() {
        _ if !enabled => ("error", "access_denied".to_owned()),
        _ if is_pkce_wrong => ("error", "invalid_request".to_owned()),
        Some("code") => ("code", context.cloud.issue_code(authorization, context.now)),
        Some("id_token") if authorization.nonce.is_some() => (
            "id_token",
            context.cloud.issue_id_token(authorization, context.now),
        ),
        Some("id_token") => ("error", "invalid_request".to_owned()),
        _ => ("error", "unsupported_response_type".to_owned()),
    };
    let pairs = std::iter::once((name, value)).chain(state.map(|state| ("state", state)));
    if kind.as_deref() == Some("id_token") {
        let mut fragment = form_urlencoded::Serializer::new(String::new());
        target.set_fragment(Some(&fragment.extend_pairs(pairs).finish()));
    } else {
        target.query_pairs_mut().extend_pairs(pairs);
    }
    let Ok(location) = HeaderValue::from_str(target.as_str()) else {
        return Ok(refusal_page("the redirect_uri is not allowed"));
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn refusal_page(description: &str) -> Response<Bytes> {
    let body = json!({"error": "invalid_request", "error_description": description});
    json(StatusCode::BAD_REQUEST, &body)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use genesys_api::Now;
    use serde_json::Value;

    use super::*;
    use crate::cloud::Cloud;
    use crate::cloud::tests::{at, cloud, now, send};

    fn ask(cloud: &mut Cloud, credentials: &str, body: &'static str) -> (Response<Bytes>, Value) {
        ask_at(cloud, credentials, body, now())
    }

    fn ask_at(
        cloud: &mut Cloud,
        credentials: &str,
        body: &'static str,
        now: Now,
    ) -> (Response<Bytes>, Value) {
        let request = Request::post("/oauth/token")
            .header("authorization", format!("Basic {}", STANDARD.encode(credentials)))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap();
        send(cloud, request, now)
    }

    #[test]
    fn right_secret_gets_a_token() {
        let mut cloud = cloud();
        let (response, body) = ask(&mut cloud, "client:s3cret", "grant_type=client_credentials");
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
        let (_, again) = ask(&mut cloud, "client:s3cret", "grant_type=client_credentials");
        assert_ne!(body["access_token"], again["access_token"]);
    }

    #[test]
    fn login_host_has_its_own_errors() {
        let mut cloud = cloud();
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
            let (response, answer) = ask(&mut cloud, credentials, body);
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
            assert_eq!(send(&mut cloud, request, now()).0.status(), 400);
        }
        assert_eq!(cloud.counters().tokens, 0);
    }

    #[test]
    fn scope_is_ignored_and_reported() {
        let mut cloud = cloud();
        let (response, _) = ask(
            &mut cloud,
            "client:s3cret",
            "grant_type=client_credentials&scope=webmessaging%3Aguest",
        );
        assert_eq!(response.status(), 200);
        assert_eq!(cloud.violations.list()[0].location, "POST /oauth/token scope");
    }

    #[test]
    fn token_request_over_the_limit_gets_retry_after() {
        let mut cloud = cloud();
        let grant = "grant_type=client_credentials";
        for _ in 0..300 {
            assert_eq!(ask(&mut cloud, "client:s3cret", grant).0.status(), 200);
        }
        let soon = at(now(), Duration::from_millis(17_500));
        let (response, body) = ask_at(&mut cloud, "client:s3cret", grant, soon);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "43");
        assert_eq!(response.headers()["inin-ratelimit-count"], "300");
        assert_eq!(body["code"], "too.many.requests");
        assert_eq!(
            body["limit"],
            json!({"key": "client.credentials.token.rate.per.minute", "namespace": "platform.api", "value": "300"})
        );
        let later = at(now(), Duration::from_secs(60));
        assert_eq!(ask_at(&mut cloud, "client:s3cret", grant, later).0.status(), 200);
    }
}
