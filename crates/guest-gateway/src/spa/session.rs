//! The operations of a browser's session.

use axum::response::{IntoResponse as _, Response};
use genesys_api::{IdempotencyKey, Now, Origin, SessionId};
use guest_payload::{Actor, Evidence, NewGuest, Purpose, Signals};
use guest_sessions::{
    BrowserAccess, BrowserSession, ConsentChangeBody, CreateBrowserSessionBody, DetailCode, ErrorCode,
    ResumeBrowserSessionBody, Ticket,
};
use guest_suite::direct::Admitted;
use guest_suite::store::{Conflict, KeyedRequest, StoreErrorKind};
use guest_suite::{Error, SessionInfo};
use http::StatusCode;
use http::header::SET_COOKIE;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use session_metrics::EndReason;
use time::OffsetDateTime;
use ws_transport::AdmittedOrigin;

use super::admission::{
    Page, Presented, admit_browser, admit_page, admit_visitor, audited, refusal, rules, spa,
};
use super::credential::{Binding, Credential, remove_cookie, set_cookie};
use super::ticket::LIFETIME;
use super::{PageRules, Spa, access_token};
use crate::api::{App, Call, Caller, Refusal, RequestLog, json_answer, socket_url};

/// Fewest characters of the key of a creation: 128 random bits in base64.
const MIN_KEY: usize = 22;
/// Largest number of attempts to store the use of an assertion, which other requests can change meanwhile. Our choice.
const ATTEMPTS: usize = 16;

pub(crate) async fn create(mut call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let page = admit_page(&call).await?;
    let (spa, rules, address) = (spa(&app)?, rules(&call)?, call.address());
    let signals = Signals::from_headers(call.request.headers());
    let body = call.body("application/json").await?;
    // the keys of pages are apart from those of the API client, whose id has no space
    let keys_of_pages = Caller {
        client: format!("{} pages", spa.owner),
        now: page.now,
    };
    let request = call.keyed_request(&keys_of_pages, &body)?;
    if let Some(request) = &request {
        ensure_secret(&request.key)?;
    }
    if let Some(request) = &request
        && let Some(session) = app.direct.created_for_browser(&spa.owner, request).await?
    {
        return credentials(&app, &page, StatusCode::CREATED, session).await;
    }
    let body = CreateBrowserSessionBody::parse(&body, spa.channel.clone(), signals, page.now.utc)?;
    let limited = rules.limits.count_session(address, page.now.instant);
    limited.map_err(Refusal::too_many_of_address)?;
    let guest = body.guest;
    // the choices of a creation have the same evidence
    ensure_of_guest(&guest.consent.purpose(Purpose::Marketing).evidence, "consent.")?;
    let (session, is_new) = match body.assertion {
        Some(assertion) => create_proven(&app, &rules, &page, &assertion, guest, request).await?,
        None if rules.anonymous => {
            let created = app.direct.create_or_join(&spa.owner, guest, request, None);
            created.await?
        }
        None => {
            let code = ErrorCode::AssertionRequired;
            return audited(&app, Err(Refusal::new(code, code.message()))).await;
        }
    };
    let status = match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    credentials(&app, &page, status, session).await
}

/// Creates or joins the session of the guest that an assertion names. The assertion is used only if that is stored.
async fn create_proven(
    app: &App,
    rules: &PageRules,
    page: &Page,
    assertion: &SecretString,
    mut guest: NewGuest,
    request: Option<KeyedRequest>,
) -> Result<(SessionInfo, bool), Refusal> {
    let (owner, store) = (&spa(app)?.owner, &**app.direct.store());
    for _ in 0..ATTEMPTS {
        let accepted = rules.assertions.accept(assertion, page.now, store).await;
        let (id, used) = audited(app, accepted).await?;
        guest.guest = Some(id);
        let created = app
            .direct
            .create_or_join(owner, guest.clone(), request.clone(), Some(used));
        match created.await {
            // by this assertion, or by another one of the same row
            Err(Error::Store(error)) if error.kind() == StoreErrorKind::Conflict(Conflict::TokenChanged) => {}
            created => return Ok(created?),
        }
    }
    Err(Error::from(StoreErrorKind::Busy).into())
}

/// Refuses a key that another guest's page may choose too: it brings the credential of a session.
fn ensure_secret(key: &IdempotencyKey) -> Result<(), Refusal> {
    if key.as_str().len() >= MIN_KEY {
        return Ok(());
    }
    let message = format!(
        "invalid Idempotency-Key: shorter than {MIN_KEY} characters, send a new random UUID, and the same one to repeat this \
         creation"
    );
    let detail = DetailCode::FieldValue;
    Err(Refusal::new(detail.error_code(), message).detail(detail.as_str(), "Idempotency-Key"))
}

/// The answer with a session and the credential of its browser.
async fn credentials(
    app: &App,
    page: &Page,
    status: StatusCode,
    session: SessionInfo,
) -> Result<Response, Refusal> {
    let (spa, id) = (spa(app)?, &session.id);
    let admitted = app.direct.admit_browser(&spa.owner, id, |_| true).await;
    let browser_key = admitted.map_err(refusal)?.browser_key();
    if spa.is_same_site() {
        let cookie = set_cookie(id, &browser_key);
        let mut response = answer(app, status, session, None);
        response.headers_mut().insert(SET_COOKIE, cookie);
        return Ok(response);
    }
    let origin = page.origin()?;
    let handle = Binding::Handle(origin.clone()).credential(id, &browser_key);
    let access = access(spa, id, origin, page.now, Some(handle.into()));
    Ok(answer(app, status, session, Some(access)))
}

/// Exchanges the resume handle of a page for a new access token.
pub(crate) async fn resume(mut call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let page = admit_page(&call).await?;
    let spa = spa(&app)?;
    if spa.is_same_site() {
        let message =
            "cannot resume by a handle: the cookie of this gateway is the credential, read /spa/session";
        return Err(Refusal::new(ErrorCode::NotFound, message));
    }
    let body = call.body("application/json").await?;
    let handle = ResumeBrowserSessionBody::parse(&body)?.resume_handle;
    let credential = Credential::of_handle(handle.expose_secret(), page.origin()?.clone());
    let credential = audited(&app, credential).await?;
    let presented = Presented::Credential(credential);
    let visitor = admit_browser(&app, &RequestLog::of(&call.request), page, presented).await?;
    let access = access(spa, &visitor.id, visitor.page.origin()?, visitor.page.now, None);
    let session = visitor.admitted.info();
    Ok(answer(&app, StatusCode::OK, session, Some(access)))
}

pub(crate) async fn fetch_settings(call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    admit_page(&call).await?;
    let spa = spa(&app)?;
    let embedding = match spa.is_same_site() {
        true => "same-site",
        false => "cross-site",
    };
    let settings = json!({ "embedding": embedding, "anonymous": rules(&call)?.anonymous });
    Ok(json_answer(StatusCode::OK, &settings))
}

pub(crate) async fn fetch(call: Call) -> Result<Response, Refusal> {
    let visitor = admit_visitor(&call).await?;
    Ok(answer(&call.app, StatusCode::OK, visitor.admitted.info(), None))
}

pub(crate) async fn change_consent(mut call: Call) -> Result<Response, Refusal> {
    let visitor = admit_visitor(&call).await?;
    let signals = Signals::from_headers(call.request.headers());
    let body = call.body("application/json").await?;
    let (change, signals) = ConsentChangeBody::parse(&body, signals, visitor.page.now.utc)?;
    ensure_of_guest(change.evidence(), "")?;
    let direct = &call.app.direct;
    let changed = direct.change_consent(visitor.admitted.guest(), &visitor.id, &change, signals);
    Ok(answer(
        &call.app,
        StatusCode::OK,
        changed.await.map_err(refusal)?,
        None,
    ))
}

/// Refuses what a page cannot attest, because its guest controls it.
fn ensure_of_guest(evidence: &Evidence, parent: &str) -> Result<(), Refusal> {
    let field = match evidence {
        Evidence {
            guardian: Some(_), ..
        } => "guardian",
        Evidence {
            actor: Actor::Guest, ..
        } => return Ok(()),
        Evidence { .. } => "actor",
    };
    let field = format!("{parent}{field}");
    let message = format!(
        "invalid {field}: a page can speak for its guest only, send it from a backend as an API client"
    );
    let detail = DetailCode::FieldValue;
    Err(Refusal::new(detail.error_code(), message).detail(detail.as_str(), &field))
}

pub(crate) async fn end(call: Call) -> Result<Response, Refusal> {
    let visitor = admit_visitor(&call).await?;
    let direct = &call.app.direct;
    let ended = direct.end(visitor.admitted.guest(), &visitor.id, EndReason::Guest);
    ended.await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if spa(&call.app)?.is_same_site() {
        response.headers_mut().insert(SET_COOKIE, remove_cookie());
    }
    Ok(response)
}

pub(crate) async fn create_ticket(call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let visitor = admit_visitor(&call).await?;
    extend(&app, &visitor.id).await.map_err(refusal)?;
    let page = visitor.page;
    let origin = page.origin()?.clone();
    let issued = spa(&app)?.tickets.issue(visitor.id, origin, page.now.instant);
    let ticket = issued
        .ok_or_else(|| Refusal::unavailable("cannot issue a ticket: too many are unused, try again later"))?;
    let expires_in = LIFETIME.as_secs();
    Ok(json_answer(StatusCode::OK, &Ticket { ticket, expires_in }))
}

/// Admits the socket of a session by a ticket.
///
/// # Errors
/// `ticket.invalid`, or the refusal of the session.
pub(crate) async fn admit_by_ticket(
    app: &App,
    id: &SessionId,
    ticket: &SecretString,
    origin: &AdmittedOrigin,
) -> Result<Admitted, Refusal> {
    let now = app.clock.now().instant;
    let spa = app.spa.as_ref();
    match spa.filter(|spa| spa.tickets.redeem(ticket, id, origin.origin(), now)) {
        Some(spa) => Ok(app.direct.admit_browser(&spa.owner, id, |_| true).await?),
        None => Err(Refusal::new(
            ErrorCode::TicketInvalid,
            ErrorCode::TicketInvalid.message(),
        )),
    }
}

/// Extends a session for its use. Returns the end of the lifetime of its sockets.
///
/// # Errors
/// If the session has ended, or the store's.
pub(crate) async fn extend(app: &App, id: &SessionId) -> Result<OffsetDateTime, Error> {
    let rules = app.settings().pages.clone();
    let (spa, rules) = app.spa.as_ref().zip(rules).ok_or(ErrorCode::NotFound)?;
    // boxed: an idle socket or stream would use the memory of a large future
    Box::pin(app.direct.extend_browser(&spa.owner, id, rules.lifetime)).await
}

/// The credentials of a page of another site.
fn access(
    spa: &Spa,
    id: &SessionId,
    origin: &Origin,
    now: Now,
    resume_handle: Option<SecretString>,
) -> BrowserAccess {
    BrowserAccess {
        access_token: spa.access_tokens.issue(id, origin, now),
        expires_in: access_token::LIFETIME.as_secs(),
        resume_handle,
    }
}

fn answer(app: &App, status: StatusCode, session: SessionInfo, access: Option<BrowserAccess>) -> Response {
    let url = socket_url(app, &session.id);
    json_answer(status, &BrowserSession::new(session, url, access))
}
