//! The `guest-sessions` contract over HTTP: the routes, and the headers of every answer.

mod access;
mod attachments;
mod audit;
mod cors;
mod documents;
mod failures;
mod framing;
mod guests;
mod messages;
mod oauth;
mod page;
mod query;
mod refusal;
mod request;
mod request_log;
mod sessions;
mod sign_in;
mod socket;
mod transport;
mod webhooks;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use genesys_api::{Clock, Host, SessionId};
use genesys_http::server::{AboveLimit, AddressLimit};
use guest_payload::iso27560::Controller;
use guest_sessions::{ErrorCode, Operation, ROUTES};
use guest_suite::direct::Direct;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tracing::Instrument as _;
use tracing::field::Empty;
use webhook::Dispatcher;

pub(crate) use self::access::{Clients, open_claims, sign_claims};
pub(crate) use self::attachments::FILE_MEMORY;
pub(crate) use self::failures::{FailureLimiter, PrefixLimiter, SessionLimiter};
pub(crate) use self::refusal::FaultLog;
pub(crate) use self::refusal::{Refusal, RefusedOrigin};
use self::request::ClientGone;
pub(crate) use self::request::{Call, Caller, bearer_token, peer};
pub(crate) use self::request_log::RequestLog;
pub(crate) use self::sessions::socket_url;
pub(crate) use self::transport::{CloseReason, GuestRequest, Outputs, frame_limiter, read_frame};
pub(crate) use self::webhooks::{delivery_query, resume_webhook};
use crate::checkpoints::Audit;
use crate::demo_page::DemoPage;
use crate::health::{Health, Reader};
use crate::metrics::{Requests, known_method};
use crate::relay::Hub;
use crate::settings::{Current, Settings};
use crate::spa::{self, Spa};

pub(crate) type App = Arc<Parts>;

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) direct: Direct,
    pub(crate) hub: Hub,
    /// Refused codes of sign-ins, by session.
    pub(crate) sign_in_failures: Mutex<FailureLimiter>,
    /// Memory for the files of guests, in KiB.
    pub(crate) file_memory: Arc<Semaphore>,
    pub(crate) clock: Clock,
    /// The settings that a reload changes.
    pub(crate) current: Current,
    /// The sender of webhooks, with the networks that they may reach.
    pub(crate) dispatcher: Dispatcher,
    /// The controller of consent records.
    pub(crate) controller: Controller,
    pub(crate) fault_log: FaultLog,
    pub(crate) health: Health,
    pub(crate) requests: Requests,
    /// Refused connections of guests.
    pub(crate) address_limit: AddressLimit,
    pub(crate) store_file: Option<PathBuf>,
    /// The publication of checkpoints.
    pub(crate) audit: Audit,
    /// The public base URL of this gateway.
    pub(crate) public: Host,
    /// Sessions of pages without a backend, if they are configured.
    pub(crate) spa: Option<Spa>,
    /// The demo shop, if it is configured.
    pub(crate) demo_page: Option<DemoPage>,
}

impl Parts {
    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.current.get()
    }

    /// Counts a request of an admitted guest.
    ///
    /// # Errors
    /// If the limit of the session is reached.
    pub(crate) fn count_request(&self, session: &SessionId) -> Result<(), Refusal> {
        let counted = self
            .settings()
            .session_requests
            .count(session, self.clock.now().instant);
        counted.map_err(Refusal::too_many_of_session)
    }
}

/// The routes of the contract. An unknown path is a 404, another method a 405, both with the contract's error body.
pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    let has_spa = app.spa.is_some();
    let routes = ROUTES.iter().filter(|route| has_spa || !spa::has(route));
    for route in routes {
        let other = || async { Refusal::method_not_allowed(route.allow) };
        let methods = route.operations.iter().fold(
            MethodRouter::new().fallback(other),
            |methods, (method, operation)| methods.merge(handler(*operation, method)),
        );
        let methods = match cors::Sharing::of(&app, route) {
            Some(sharing) => methods.layer(middleware::from_fn_with_state(sharing, cors::share)),
            None => methods,
        };
        router = router.route(route.path, methods);
    }
    if let Some(page) = app.demo_page.clone() {
        router = page.add_to(router);
    }
    router
        .fallback(|| async {
            Refusal::new(
                ErrorCode::NotFound,
                "invalid path: see /openapi.json for the paths",
            )
        })
        .layer(middleware::from_fn_with_state(Listener::of_guests(&app), finish))
        .with_state(app)
}

fn handler(operation: Operation, method: &Method) -> MethodRouter<App> {
    let method = MethodFilter::try_from(method.clone()).expect("the contract has methods of RFC 9110");
    let router = match operation {
        Operation::ChangeBrowserConsent => on(method, spa::change_consent),
        Operation::ChangeConsent => on(method, sessions::change_consent),
        Operation::CreateBrowserSession => on(method, spa::create),
        Operation::CreateTicket => on(method, spa::create_ticket),
        Operation::EndBrowserSession => on(method, spa::end),
        Operation::FetchBrowserSession => on(method, spa::fetch),
        Operation::CheckHealth => on(method, ready),
        Operation::CheckLiveness => on(method, live),
        Operation::DeleteAttachment => on(method, attachments::delete),
        Operation::FetchAttachment => on(method, attachments::fetch),
        Operation::UploadAttachment => on(method, attachments::upload),
        Operation::CreateSession => on(method, sessions::create),
        Operation::EndSession => on(method, sessions::end),
        Operation::FetchAuditCheckpoint => on(method, audit::checkpoint),
        Operation::FetchAuditConsistency => on(method, audit::consistency),
        Operation::FetchAuditEntries => on(method, audit::entries),
        Operation::FetchAuditProof => on(method, audit::proof),
        Operation::FetchAuditTrail => on(method, sessions::audit_trail),
        Operation::FetchConsentRecords => on(method, audit::consent_records),
        Operation::EraseGuest => on(method, guests::erase),
        Operation::FetchGuest => on(method, guests::fetch),
        Operation::FetchDocument => documents::route(method, documents::OPENAPI),
        Operation::FetchEventsSchema => documents::route(method, documents::EVENTS),
        Operation::FetchFramesSchema => documents::route(method, documents::FRAMES),
        Operation::FetchGuestChat => documents::component(method),
        Operation::FetchMessages => on(method, messages::fetch),
        Operation::FetchMetrics => on(method, sessions::metrics),
        Operation::FetchSession => on(method, sessions::fetch),
        Operation::FetchSpaSettings => on(method, spa::fetch_settings),
        Operation::FetchToken => on(method, oauth::token),
        Operation::FetchWebhook => on(method, webhooks::fetch),
        Operation::ListWebhooks => on(method, webhooks::list),
        Operation::OpenSocket => on(method, socket::open),
        Operation::OpenStream => on(method, spa::open_stream),
        Operation::RefreshSession => on(method, sessions::refresh),
        Operation::ResumeBrowserSession => on(method, spa::resume),
        Operation::RegisterWebhook => on(method, webhooks::register),
        Operation::RemoveWebhook => on(method, webhooks::remove),
        Operation::ReplaceWebhook => on(method, webhooks::replace),
        Operation::FetchDelivery => on(method, webhooks::fetch_delivery),
        Operation::ListDeliveries => on(method, webhooks::list_deliveries),
        Operation::PauseWebhook => on(method, webhooks::pause),
        Operation::PreviewWebhook => on(method, webhooks::preview),
        Operation::ReplayDeliveries => on(method, webhooks::replay_all),
        Operation::ReplayDelivery => on(method, webhooks::replay_one),
        Operation::ResumeWebhook => on(method, webhooks::resume),
        Operation::TestWebhook => on(method, webhooks::test),
        Operation::RotateWebhookSecret => on(method, webhooks::rotate),
        Operation::SendFrame => on(method, spa::send_frame),
        Operation::SignIn => on(method, sign_in::sign_in),
        Operation::SignOut => on(method, sign_in::sign_out),
    };
    router.route_layer(middleware::from_fn_with_state(operation, query::check))
}

async fn ready(State(app): State<App>) -> Response {
    readiness(&app, Reader::Public).await
}

/// The answer about the readiness.
pub(crate) async fn readiness(app: &App, reader: Reader) -> Response {
    let readiness = app.health.check().await;
    let status = match readiness.is_ready() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    json_answer(status, &readiness.to_json(reader, &app.audit.warnings()))
}

/// The answer of a process that runs.
pub(crate) async fn live() -> Response {
    json_answer(StatusCode::OK, &json!({ "ok": true }))
}

/// A listener, whose answers have these in common.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) app: App,
    pub(crate) name: &'static str,
    /// Whether its clients use TLS.
    pub(crate) is_secure: bool,
}

impl Listener {
    fn of_guests(app: &App) -> Self {
        Self {
            app: app.clone(),
            name: "guests",
            is_secure: app.public.is_secure(),
        }
    }
}

/// Logs the request under the id of its answer, by the template of its path, and adds the headers that every answer has. The
/// path has ids of sessions, and the query may have a token.
pub(crate) async fn finish(State(listener): State<Listener>, mut request: Request, next: Next) -> Response {
    let app = &listener.app;
    let (started_at, log) = (app.clock.now().instant, RequestLog::default());
    request.extensions_mut().insert(log.clone());
    let address = request::address_of(&request, &app.settings().trusted_proxies);
    let method = request.method().clone();
    let template = request.extensions().get::<MatchedPath>();
    let path = template.map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let known_method = known_method(&method);
    let span = tracing::info_span!(
        target: "otlp",
        "request",
        otel.name = format!("{known_method} {path}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = known_method,
        http.route = path,
        http.response.status_code = Empty,
        session = Empty,
    );
    // dropped with this future, if the client closes the connection
    let (_open, gone) = watch::channel(());
    request.extensions_mut().insert(ClientGone(gone));
    // in a task of its own: a closed connection must not cancel a change between its commit and its effects
    let admitted = match request.extensions().get::<AboveLimit>() {
        Some(AboveLimit { .. }) => Err(Refusal::too_many_connections()),
        None => framing::check(request.version(), request.headers()),
    };
    let answer = match admitted {
        Ok(()) => tokio::spawn(next.run(request).instrument(span.clone())).await,
        Err(refusal) => Ok(refusal.into_response()),
    };
    let mut response = match answer {
        Ok(response) => response,
        Err(panic) => {
            tracing::error!(%panic, %method, path, "cannot complete a request: its handler panicked");
            Refusal::new(
                ErrorCode::InternalServerError,
                "cannot complete the request: check whether it took effect before sending it again",
            )
            .into_response()
        }
    };
    if response.extensions().get::<refusal::FoundDamage>().is_some() {
        app.direct.audit_log().monitor().verify_now();
    }
    let (fault, now) = (response.extensions().get(), app.clock.now().instant);
    app.fault_log.record(fault, now);
    let refused = response.extensions().get::<RefusedOrigin>();
    app.requests
        .record(&method, &path, response.status(), refused, now - started_at);
    span.record("http.response.status_code", response.status().as_u16());
    span.record("session", log.session());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    add_headers(response.headers_mut(), listener.is_secure);
    let id = response.headers().get(refusal::CORRELATION);
    tracing::info!(
        id = id.and_then(|id| id.to_str().ok()),
        listener = listener.name,
        client = log.caller(),
        pseudonym = log.session(),
        network = request_log::network(address),
        %method,
        path,
        status = response.status().as_u16(),
        milliseconds = now.saturating_duration_since(started_at).as_millis() as u64,
        "request"
    );
    response
}

/// Adds the headers of every answer, except those that the answer has.
fn add_headers(headers: &mut HeaderMap, is_secure: bool) {
    for (name, value) in DEFAULT_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if is_secure {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    headers.entry(refusal::CORRELATION).or_insert_with(|| {
        HeaderValue::from_str(&genesys_api::entropy::uuid().to_string()).expect("a UUID is plain ASCII")
    });
}

pub(crate) fn json_answer(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("bodies are plain structs with text keys");
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Headers that an answer has unless it has its own. The demo shop has its own Content Security Policy, the component its
/// own resource policy. Pages of other sites read the contract's answers by CORS, which no resource policy affects.
const DEFAULT_HEADERS: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (CROSS_ORIGIN_RESOURCE_POLICY, "same-site"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

pub(crate) const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// One year, for the host of the public URL only. Not sent over plain HTTP (RFC 6797 section 7.2).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");
