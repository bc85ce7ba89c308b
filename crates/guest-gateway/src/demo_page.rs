//! The demo shop: a page of HTML and CSS with the component `<guest-chat>`, on the gateway's own origin.

use axum::Router;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{MethodRouter, get};
use genesys_api::{Host, Hosts};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use crate::api::{App, Refusal};

/// Path of the page. Its other files are below it.
pub(crate) const PATH: &str = "/demo/";

const PAGE: &str = include_str!("demo_page/index.html");
const SVG: &str = "image/svg+xml";
/// The other files, with their media types.
const FILES: [(&str, &str, &str); 5] = [
    ("bowls.svg", SVG, include_str!("demo_page/bowls.svg")),
    ("mug.svg", SVG, include_str!("demo_page/mug.svg")),
    (
        "shop.css",
        "text/css; charset=utf-8",
        include_str!("demo_page/shop.css"),
    ),
    ("teapot.svg", SVG, include_str!("demo_page/teapot.svg")),
    ("tin.svg", SVG, include_str!("demo_page/tin.svg")),
];

const SIMULATED: &str = "<strong>Simulation</strong>: this shop, its assistant and Genesys Cloud are simulated. No message \
                         leaves this machine.";
const CONNECTED: &str = "<strong>Demo</strong>: this shop sells nothing. Its chat is connected to Genesys Cloud, whose \
                         agents receive the messages.";

/// The page of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct DemoPage {
    html: String,
    /// The Content Security Policy: scripts, styles and connections of this gateway alone, pictures of Genesys too.
    policy: String,
}

impl DemoPage {
    pub(crate) fn new(public: &Host, hosts: &Hosts) -> Self {
        // Genesys Cloud has TLS, and plain HTTP is for loopback only
        let is_simulated = !hosts.messaging.is_secure();
        let notice = if is_simulated { SIMULATED } else { CONNECTED };
        // agents send pictures of any site
        let pictures = match is_simulated {
            true => hosts.api.to_string(),
            false => "https:".to_owned(),
        };
        let socket = public.websocket_url("");
        Self {
            html: PAGE.replace("{notice}", notice),
            policy: format!(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' {pictures}; media-src {pictures}; \
                 connect-src 'self' {socket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                 require-trusted-types-for 'script'"
            ),
        }
    }

    /// Adds the page and its files to the routes of the gateway.
    pub(crate) fn add_to(self, mut router: Router<App>) -> Router<App> {
        for (name, media_type, text) in FILES {
            let path = format!("{PATH}{name}");
            router = router.route(
                &path,
                file(move || ([(CONTENT_TYPE, media_type)], text).into_response()),
            );
        }
        let page = move || {
            let headers = [
                (CONTENT_TYPE, "text/html; charset=utf-8"),
                (CONTENT_SECURITY_POLICY, &self.policy),
            ];
            (headers, self.html.clone()).into_response()
        };
        let moved = || Redirect::permanent(PATH).into_response();
        router
            .route(PATH, file(page))
            .route(PATH.trim_end_matches('/'), file(moved))
    }
}

fn file(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> MethodRouter<App> {
    let other = || async { Refusal::method_not_allowed("GET, HEAD") };
    get(move || async move { answer() }).fallback(other)
}
