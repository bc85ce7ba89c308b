//! The pages of the listener and their files.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use super::{Admin, login};

/// Scripts, styles and connections of this listener alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const SCRIPT: &str = "text/javascript; charset=utf-8";
/// The files of the pages, which need no login, with their media types.
const FILES: [(&str, &str, &str); 8] = [
    (
        "/admin.css",
        "text/css; charset=utf-8",
        include_str!("page/admin.css"),
    ),
    (
        "/dashboard.css",
        "text/css; charset=utf-8",
        include_str!("dashboard/dashboard.css"),
    ),
    ("/dashboard.js", SCRIPT, include_str!("dashboard/dashboard.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/login.js", SCRIPT, include_str!("page/login.js")),
    ("/logout.js", SCRIPT, include_str!("page/logout.js")),
    ("/render.js", SCRIPT, include_str!("dashboard/render.js")),
    ("/webhook.js", SCRIPT, include_str!("dashboard/webhook.js")),
];

pub(super) fn routes() -> Router<Admin> {
    FILES.into_iter().fold(
        Router::new().route("/", get(show)),
        |router, (path, media_type, text)| {
            router.route(path, get(move || async move { file(media_type, text) }))
        },
    )
}

/// The page of an operator, or the login.
async fn show(State(admin): State<Admin>, request: Request) -> Response {
    let page = match login::is_logged_in(&admin, &request) {
        true => concat!(
            include_str!("page/head.html"),
            include_str!("dashboard/index.html")
        ),
        false => concat!(include_str!("page/head.html"), include_str!("page/login.html")),
    };
    file("text/html; charset=utf-8", page)
}

fn file(media_type: &'static str, text: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, media_type), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, text).into_response()
}
