//! The listener for operators: health, metrics and operation of this gateway.
//!
//! A route for operators is added in [`operator_routes`]. Its handler finds the [`Operator`](login::Operator) in the
//! extensions of the request.

mod dashboard;
mod host;
mod login;
mod page;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use genesys_api::Host;
use guest_sessions::ErrorCode;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;

use self::dashboard::Snapshots;
pub(crate) use self::login::Login;
use crate::api::{self, App, Listener, Refusal};
use crate::health::Reader;
use crate::metrics::{self, Format};
use crate::settings::{ReloadError, Reloader};

/// The state of the listener for operators.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    app: App,
    login: Arc<Login>,
    reloader: Arc<Reloader>,
    /// Slots of pages that watch the dashboard.
    watchers: Arc<Semaphore>,
    snapshots: Arc<Snapshots>,
    /// The URL by which browsers reach it.
    url: Host,
}

impl FromRef<Admin> for App {
    fn from_ref(admin: &Admin) -> Self {
        admin.app.clone()
    }
}

impl Admin {
    pub(crate) fn new(login: Arc<Login>, reloader: Arc<Reloader>, url: Host) -> Self {
        Self {
            app: reloader.app.clone(),
            login,
            reloader,
            watchers: Arc::new(Semaphore::new(dashboard::WATCHERS)),
            snapshots: Arc::default(),
            url,
        }
    }

    pub(crate) fn router(self) -> Router {
        let listener = Listener {
            app: self.app.clone(),
            name: "admin",
            is_secure: self.url.is_secure(),
        };
        let require_login = middleware::from_fn_with_state(self.clone(), login::require);
        page::routes()
            .route("/login", post(login::log_in))
            .merge(operator_routes().route_layer(require_login))
            .fallback(|| async {
                Refusal::new(
                    ErrorCode::NotFound,
                    "invalid path: the page at / leads to what there is",
                )
            })
            .method_not_allowed_fallback(|| async {
                let message = "invalid method: use one in the header Allow";
                Refusal::new(ErrorCode::MethodNotAllowed, message)
            })
            .layer(middleware::from_fn_with_state(self.url.clone(), host::check))
            .layer(middleware::from_fn_with_state(listener, api::finish))
            .with_state(self)
    }
}

/// The routes that need a login.
fn operator_routes() -> Router<Admin> {
    Router::new()
        .route("/health/live", get(api::live))
        .route("/health/ready", get(ready))
        .route("/logout", post(login::log_out))
        .route("/metrics", get(metrics))
        .route("/reload", post(reload))
        .merge(dashboard::routes())
}

async fn ready(State(app): State<App>) -> Response {
    api::readiness(&app, Reader::Operator).await
}

/// Reloads the configuration. Answers with the outcome.
async fn reload(State(admin): State<Admin>) -> Result<Response, Refusal> {
    let reloaded = admin.reloader.reload().await;
    let reloaded = reloaded.map_err(|error| match error {
        ReloadError::Store(error) => guest_suite::Error::Store(error).into(),
        invalid => Refusal::bad_request(invalid.to_string()),
    })?;
    Ok(api::json_answer(StatusCode::OK, &reloaded))
}

async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let (media_type, text) = metrics::page(&app, Format::of(&headers)).await;
    ([(CONTENT_TYPE, media_type)], text).into_response()
}
