//! The listener for operators: health, metrics and operation of this gateway.
//!
//! A route for operators is added in [`operator_routes`]. Its handler finds the [`Operator`](login::Operator) in the
//! extensions of the request.

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
use serde_json::json;

use self::login::Login;
use crate::api::{self, App, Listener, Refusal};
use crate::config::{self, ConfigError};

/// The state of the listener for operators.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    app: App,
    login: Arc<Login>,
    /// The URL by which browsers reach it.
    url: Host,
}

impl FromRef<Admin> for App {
    fn from_ref(admin: &Admin) -> Self {
        admin.app.clone()
    }
}

impl Admin {
    /// # Errors
    /// If the token cannot be read.
    pub(crate) fn new(app: App, config: &config::Admin, url: Host) -> Result<Self, ConfigError> {
        Ok(Self {
            app,
            login: Arc::new(Login::new(config.token()?, url.is_secure())),
            url,
        })
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
        .route("/health/live", get(live))
        .route("/health/ready", get(api::health))
        .route("/logout", post(login::log_out))
        .route("/metrics", get(metrics))
}

async fn live() -> Response {
    api::json_answer(http::StatusCode::OK, &json!({ "ok": true }))
}

async fn metrics(State(app): State<App>) -> Response {
    let mut text = String::new();
    session_metrics::render_prometheus(&app.direct.metrics(), &mut text);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
