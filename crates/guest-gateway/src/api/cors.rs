//! Cross-origin resource sharing: the routes that pages of other origins may read.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use guest_sessions::{Operation, Route};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderValue, Method, StatusCode};

use super::App;
use crate::spa;

/// The share of the allowed origins in a route.
#[derive(Clone, Debug)]
pub(super) struct Sharing {
    app: App,
    methods: &'static str,
    headers: &'static str,
    /// Whether the requests have the cookie.
    credentials: bool,
}

impl Sharing {
    /// The sharing of a route. `None` if no page may read it.
    pub(super) fn of(app: &App, route: &'static Route) -> Option<Self> {
        let mut operations = route.operations.iter().map(|(_, operation)| *operation);
        let is_spa = spa::has(route);
        let is_of_guest = operations.any(|operation| {
            use Operation::{FetchAttachment, FetchMessages, SignIn};
            matches!(operation, FetchAttachment | FetchMessages | SignIn)
        });
        let is_same_site = app.spa.as_ref().is_some_and(spa::Spa::is_same_site);
        (is_spa || is_of_guest).then(|| Self {
            app: app.clone(),
            methods: route.allow,
            headers: match is_spa {
                true if is_same_site => "content-type, idempotency-key, x-guest-sessions-csrf",
                true => "authorization, content-type, idempotency-key, x-guest-sessions-csrf",
                false => "authorization, content-disposition, content-type, x-guest-sessions-csrf",
            },
            credentials: is_same_site,
        })
    }
}

/// Lets pages of the allowed origins read the answers, and answers their preflight requests. Other `OPTIONS` are a 405.
pub(super) async fn share(State(sharing): State<Sharing>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let admitted = sharing
        .app
        .settings()
        .origins
        .admit(headers.get_all(ORIGIN).iter())
        .is_ok();
    let origin = headers.get(ORIGIN).filter(|_| admitted).cloned();
    let is_preflight =
        request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight && admitted {
        let allowed = [
            (ACCESS_CONTROL_ALLOW_METHODS, sharing.methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, sharing.headers),
            (ACCESS_CONTROL_MAX_AGE, "600"),
        ];
        (StatusCode::NO_CONTENT, allowed).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("retry-after, inin-correlation-id");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        if sharing.credentials {
            let credentials = HeaderValue::from_static("true");
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
        }
    }
    response
}
