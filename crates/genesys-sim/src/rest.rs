//! REST: a request in, a response out, over the world. Every host of Genesys is on the same listener.

mod authorize;
mod cdn;
mod control;
mod cors;
mod login;
mod messages;
mod notification;
mod origin;
mod platform;
mod problem;
mod push;
mod resource;
mod sign_in;
mod transfer;

use bytes::Bytes;
use genesys_api::Now;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde::Serialize;
use url::form_urlencoded;

use crate::config::attachment::LARGEST_KB;
use crate::world::limits::Usage;
use crate::world::{Oddity, World};

pub(crate) use origin::admits;
pub(crate) use problem::Problem;
use resource::Resource;

const CORRELATION: HeaderName = HeaderName::from_static("inin-correlation-id");

/// Largest body of a request, in bytes, unless it is an upload.
pub(crate) const LARGEST_BODY: usize = 64 * 1024;

/// Answers as the host that the path belongs to.
pub(crate) fn answer(world: &mut World, request: &Request<Bytes>, now: Now) -> Response<Bytes> {
    if request.body().len() > body_limit(world, request.method(), request.uri(), now) {
        return refuse(world, &Problem::too_large());
    }
    let answered = match cors::preflight(request) {
        Some(response) => Ok(response),
        None => route(world, request, now),
    };
    let mut response = match answered {
        Ok(mut response) => {
            let id = world.seed.uuid().to_string();
            correlate(&mut response, &id);
            response
        }
        Err(problem) => refuse(world, &problem),
    };
    cors::decorate(world, request, &mut response);
    response
}

/// The largest body read of a request: more for an upload that was granted than for any other.
pub(crate) fn body_limit(world: &World, method: &Method, uri: &Uri, now: Now) -> usize {
    if method == Method::PUT && world.expects_upload(uri, now) {
        return LARGEST_KB as usize * 1024;
    }
    LARGEST_BODY
}

/// Whether a path takes WebSocket handshakes.
pub(crate) fn takes_sockets(path: &str) -> bool {
    path == "/v1" || path.starts_with("/channels/")
}

/// A refusal in Genesys' standard error body.
pub(crate) fn refuse(world: &mut World, problem: &Problem) -> Response<Bytes> {
    let id = world.seed.uuid().to_string();
    let mut response = problem.response(&id);
    correlate(&mut response, &id);
    response
}

fn route(world: &mut World, request: &Request<Bytes>, now: Now) -> Result<Response<Bytes>, Problem> {
    const GET: &[Method] = &[Method::GET];
    const POST: &[Method] = &[Method::POST];
    const GET_POST: &[Method] = &[Method::GET, Method::POST];
    const FAULTS: &[Method] = &[Method::DELETE, Method::GET, Method::POST];
    let path = request.uri().path();
    if path.starts_with("/sim/") {
        control::admit(world, request)?;
    }
    world.strike_request(request, now)?;
    let allowed = match path {
        "/oauth/token" => POST,
        "/api/v2/webmessaging/messages" | "/sim/complaints" | "/sim/state" | "/v1" => GET,
        "/sim/clock" => GET_POST,
        "/sim/faults" => FAULTS,
        _ if cdn::document(path).is_some() || takes_sockets(path) => GET,
        _ => Resource::parse(path).map_or(&[][..], Resource::methods),
    };
    if !allowed.contains(request.method()) {
        let place = format!("{} {path}", request.method());
        world.complaints.add(Oddity::UnknownEndpoint, &place, now.utc);
        return match allowed {
            [] => Err(Problem::not_found()),
            _ => Ok(method_not_allowed(world, allowed)),
        };
    }
    match (path, request.method()) {
        ("/oauth/token", _) => login::token(world, request, now),
        ("/api/v2/webmessaging/messages", _) => messages::page(world, request, now),
        ("/sim/clock", &Method::GET) => Ok(control::clock(now)),
        ("/sim/clock", _) => control::advance(world, request, now),
        ("/sim/complaints", _) => Ok(control::complaints(world)),
        ("/sim/faults", &Method::DELETE) => control::disarm(world, request),
        ("/sim/faults", &Method::POST) => control::arm(world, request),
        ("/sim/faults", _) => Ok(control::faults(world)),
        ("/sim/state", _) => Ok(control::state(world, now)),
        (path, _) if takes_sockets(path) => Err(Problem::no_upgrade()),
        (path, _) => match Resource::parse(path) {
            Some(resource) => resource.answer(world, request, now),
            None => Ok(cdn::answer(world, path)),
        },
    }
}

fn method_not_allowed(world: &mut World, allowed: &[Method]) -> Response<Bytes> {
    let mut response = refuse(world, &Problem::method_not_allowed());
    let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
    let names = HeaderValue::from_str(&names.join(", ")).expect("method names are header text");
    response.headers_mut().insert(ALLOW, names);
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("bodies are plain structs and JSON values with text keys");
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn correlate(response: &mut Response<Bytes>, id: &str) {
    let id = HeaderValue::from_str(id).expect("a UUID is header text");
    response.headers_mut().insert(CORRELATION, id);
}

/// Genesys' headers that tell how much of a limit is used.
fn tell_usage(response: &mut Response<Bytes>, usage: Usage) {
    let headers = response.headers_mut();
    headers.insert("inin-ratelimit-count", HeaderValue::from(usage.count));
    headers.insert("inin-ratelimit-allowed", HeaderValue::from(usage.allowed));
    headers.insert("inin-ratelimit-reset", HeaderValue::from(usage.reset));
}

/// The first value of a parameter in a query or a form.
pub(crate) fn parameter(encoded: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(encoded.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// The value of an `Authorization` header of the given scheme.
fn authorization<'a>(request: &'a Request<Bytes>, scheme: &str) -> Option<&'a str> {
    let value = request
        .headers()
        .get(http::header::AUTHORIZATION)?
        .to_str()
        .ok()?;
    let (named, credentials) = value.split_once(' ')?;
    named.eq_ignore_ascii_case(scheme).then_some(credentials.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::tests::{get, now, send, world};

    #[test]
    fn every_answer_can_be_correlated() {
        let mut world = world();
        for path in [
            "/oauth/token",
            "/v1",
            "/nowhere",
            "/sim/state",
            "/webdeployments/v1/deployments/x/config.json",
        ] {
            let (response, _) = get(&mut world, path, now());
            assert!(response.headers().contains_key(CORRELATION), "{path}");
        }
    }

    #[test]
    fn an_error_has_the_standard_body() {
        let mut world = world();
        let (response, body) = get(&mut world, "/api/v2/nowhere", now());
        assert_eq!(response.status(), 404);
        assert_eq!(
            body,
            serde_json::json!({
                "message": "No resource is served at this path by the simulator.", "code": "not.found", "status": 404,
                "contextId": response.headers()[CORRELATION].to_str().unwrap(), "details": [], "errors": []
            })
        );
        assert_eq!(world.complaints()[0].place, "GET /api/v2/nowhere");
    }

    #[test]
    fn a_method_or_body_that_does_not_fit_is_refused() {
        let mut world = world();
        let (response, body) = get(&mut world, "/oauth/token", now());
        assert_eq!(
            (response.status().as_u16(), &body["code"]),
            (405, &"method.not.allowed".into())
        );
        assert_eq!(response.headers()[ALLOW], "POST");

        let request = Request::post("/sim/clock")
            .body(Bytes::from(vec![b' '; LARGEST_BODY + 1]))
            .unwrap();
        let (response, body) = send(&mut world, request, now());
        assert_eq!(
            (response.status().as_u16(), &body["code"]),
            (413, &"body.too.large".into())
        );

        let (response, _) = get(&mut world, "/v1?deploymentId=x", now());
        assert_eq!(response.status(), 400, "a plain GET of the socket's path");
    }
}
