//! REST on top of a cloud: a request in, a response out. One listener serves every host of Genesys.

mod cdn;
mod control;
mod cors;
mod guest;
mod login;
mod platform;
mod response;
mod transfer;

use bytes::Bytes;
use genesys_api::{Now, limits};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};

use crate::cloud::{Cloud, Problem, SocketId, ViolationKind};
use response::{Context, HandlerResult, add_usage};

const CORRELATION: HeaderName = HeaderName::from_static("inin-correlation-id");

/// Largest body of a request, in bytes, unless it is an upload.
pub(crate) const MAX_BODY: usize = 64 * 1024;

type Handler = fn(&mut Context<'_>, &[&str]) -> HandlerResult;

/// Every path that is served, with its methods. The handler gets the parts of the path that match `*`.
#[rustfmt::skip]
const ROUTES: &[(&[Method], &str, Handler)] = &[
    (&[Method::GET], "/api/v2/conversations/messages/*/details", platform::message_details),
    (&[Method::GET], "/api/v2/notifications/channels", platform::channels),
    (&[Method::POST], "/api/v2/notifications/channels", platform::create_channel),
    (&[Method::DELETE, Method::GET, Method::POST, Method::PUT], "/api/v2/notifications/channels/*/subscriptions",
        platform::subscriptions),
    (&[Method::GET], "/api/v2/webdeployments/configurations/*/versions/*", platform::configuration),
    (&[Method::GET], "/api/v2/webdeployments/deployments/*", platform::deployment),
    (&[Method::POST], "/api/v2/webdeployments/token/oauthcodegrantjwtexchange", guest::exchange),
    (&[Method::POST], "/api/v2/webdeployments/token/refresh", guest::refresh),
    (&[Method::DELETE], "/api/v2/webdeployments/token/revoke", guest::revoke),
    (&[Method::DELETE, Method::PATCH, Method::POST], "/api/v2/webmessaging/deployments/*/pushdevices/*", guest::device),
    (&[Method::GET], "/api/v2/webmessaging/messages", guest::history),
    (&[Method::GET], "/channels/*", |_, _| Err(Problem::NO_UPGRADE)),
    (&[Method::GET], "/download/*", transfer::download),
    (&[Method::GET], "/oauth/authorize", login::authorize),
    (&[Method::POST], "/oauth/token", login::token),
    (&[Method::GET], "/sim/clock", control::clock),
    (&[Method::POST], "/sim/clock", control::advance),
    (&[Method::GET], "/sim/complaints", control::violations),
    (&[Method::DELETE], "/sim/faults", control::remove_faults),
    (&[Method::GET], "/sim/faults", control::faults),
    (&[Method::POST], "/sim/faults", control::add_fault),
    (&[Method::GET], "/sim/state", control::state),
    (&[Method::PUT], "/upload/*", transfer::upload),
    (&[Method::GET], "/v1", |_, _| Err(Problem::NO_UPGRADE)),
    (&[Method::GET], "/webdeployments/v1/deployments/*/config.json", cdn::config),
    (&[Method::GET], "/webdeployments/v1/deployments/*/domains.json", cdn::domains),
];

impl Cloud {
    /// Answers a REST request.
    pub fn handle_request(&mut self, request: Request<Bytes>, now: Now) -> Response<Bytes> {
        self.handle_timeout(now);
        let answer = if request.body().len() > body_limit(self, request.method(), request.uri(), now) {
            Err(Problem::TOO_LARGE)
        } else if let Some(response) = cors::preflight(&request) {
            Ok(response)
        } else {
            route(self, &request, now)
        };
        let limited = |problem: &Problem| problem.limit.is_some();
        self.counters.rate_limited += u64::from(answer.as_ref().is_err_and(limited));
        let mut response = respond(self, answer);
        cors::decorate(self, &request, &mut response);
        response
    }

    /// Admits or refuses a WebSocket handshake: on `/v1` by its query, its origin and the limits, on `/channels/{id}`
    /// by the id. An unknown deployment is admitted, as at Genesys, and refused later.
    ///
    /// # Errors
    /// The refusal: 400 without a deployment, 403 for the origin or an inactive deployment, 404 for an unknown
    /// channel, 429 or 503 at a limit.
    pub fn handle_handshake<B>(
        &mut self,
        request: &Request<B>,
        now: Now,
    ) -> Result<SocketId, Box<Response<Bytes>>> {
        self.handle_timeout(now);
        let socket = if let Some(channel) = request.uri().path().strip_prefix("/channels/") {
            self.open_channel(channel, now)
        } else {
            self.open_socket(request, now)
        };
        socket.map_err(|problem| {
            self.counters.refused += 1;
            Box::new(respond(self, Err(problem)))
        })
    }
}

/// The largest body of a request: a granted upload may have a larger one.
pub(crate) fn body_limit(cloud: &Cloud, method: &Method, uri: &Uri, now: Now) -> usize {
    if method == Method::PUT && cloud.expects_upload(uri, now) {
        return limits::ATTACHMENT_KILOBYTES as usize * 1024;
    }
    MAX_BODY
}

pub(crate) fn accepts_sockets(path: &str) -> bool {
    path == "/v1" || path.starts_with("/channels/")
}

pub(crate) fn respond(cloud: &mut Cloud, answer: HandlerResult) -> Response<Bytes> {
    let id = cloud.rng.uuid().to_string();
    let mut response = answer.unwrap_or_else(|problem| response::refusal(&problem, &id));
    let id = HeaderValue::from_str(&id).expect("a UUID is header text");
    response.headers_mut().insert(CORRELATION, id);
    response
}

fn route(cloud: &mut Cloud, request: &Request<Bytes>, now: Now) -> HandlerResult {
    let mut context = Context {
        cloud,
        request,
        now,
        usage: None,
    };
    let path = request.uri().path();
    if path.starts_with("/sim/") {
        control::admit(&context)?;
    } else {
        let bearer = context.bearer().ok();
        let refused = context.cloud.trigger_request(path, bearer, now);
        refused.map_err(|problem| guest::device_problem(problem, request))?;
    }
    let mut allowed = Vec::new();
    for (methods, pattern, handler) in ROUTES {
        if let Some(parts) = matched(pattern, path) {
            if methods.contains(request.method()) {
                let mut response = handler(&mut context, &parts)?;
                add_usage(&mut response, context.usage);
                return Ok(response);
            }
            allowed.extend(methods.iter().map(Method::as_str));
        }
    }
    let location = format!("{} {path}", request.method());
    context.violation(ViolationKind::UnknownEndpoint, &location);
    match &*allowed {
        [] => Err(Problem::NOT_FOUND),
        allowed => Err(Problem::method_not_allowed(allowed)),
    }
}

fn matched<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let mut parts = Vec::new();
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        match expected {
            "*" if !segment.is_empty() => parts.push(segment),
            _ if expected != segment => return None,
            _ => {}
        }
    }
    segments.next().is_none().then_some(parts)
}

#[cfg(test)]
mod tests {
    use http::header::ALLOW;

    use super::*;
    use crate::cloud::tests::{cloud, get, now, send};

    #[test]
    fn response_has_a_correlation_id() {
        let mut cloud = cloud();
        for path in [
            "/oauth/token",
            "/v1",
            "/nowhere",
            "/sim/state",
            "/webdeployments/v1/deployments/x/config.json",
        ] {
            let (response, _) = get(&mut cloud, path, now());
            assert!(response.headers().contains_key(CORRELATION), "{path}");
        }
    }

    #[test]
    fn error_has_the_standard_body() {
        let mut cloud = cloud();
        let (response, body) = get(&mut cloud, "/api/v2/nowhere", now());
        assert_eq!(response.status(), 404);
        assert_eq!(
            body,
            serde_json::json!({
                "message": "cannot find the resource: the simulator serves none at this path", "code": "not.found", "status": 404,
                "contextId": response.headers()[CORRELATION].to_str().unwrap(), "details": [], "errors": []
            })
        );
        assert_eq!(cloud.violations.list()[0].location, "GET /api/v2/nowhere");
    }

    #[test]
    fn request_with_wrong_method_or_large_body_is_refused() {
        let mut cloud = cloud();
        let (response, body) = get(&mut cloud, "/oauth/token", now());
        assert_eq!(
            (response.status().as_u16(), &body["code"]),
            (405, &"method.not.allowed".into())
        );
        assert_eq!(response.headers()[ALLOW], "POST");

        let request = Request::post("/sim/clock")
            .body(Bytes::from(vec![b' '; MAX_BODY + 1]))
            .unwrap();
        let (response, body) = send(&mut cloud, request, now());
        assert_eq!(
            (response.status().as_u16(), &body["code"]),
            (413, &"body.too.large".into())
        );

        let (response, _) = get(&mut cloud, "/v1?deploymentId=x", now());
        assert_eq!(response.status(), 400, "a plain GET of the socket's path");
    }
}
