//! The checks of a page's request: its address, its origin, and that a script of an allowed page made it.

use std::sync::Arc;

use genesys_api::{Now, Origin, SessionId};
use guest_sessions::ErrorCode;
use guest_suite::Error;
use guest_suite::direct::Admitted;
use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderMap, HeaderName, Method};

use ws_transport::OriginError;

use super::credential::{Credential, bad_credentials};
use super::{PageRules, Spa};
use crate::api::{App, Call, Refusal, RequestLog, bearer_token};

/// A page of another origin can send it only after a preflight request.
const CSRF: HeaderName = HeaderName::from_static("x-guest-sessions-csrf");
/// The relation of the page to this gateway, as the browser knows it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A request of an allowed page.
#[derive(Debug)]
pub(super) struct Page {
    /// The origin of the page. A page of the gateway's own origin sends none with a read.
    pub(super) origin: Option<Origin>,
    pub(super) now: Now,
}

impl Page {
    /// The origin, which every request has that changes something.
    pub(super) fn origin(&self) -> Result<&Origin, Refusal> {
        let missing = || Refusal::origin(&OriginError::Missing);
        self.origin.as_ref().ok_or_else(missing)
    }
}

/// A request of the browser of a live session.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(super) page: Page,
    pub(super) id: SessionId,
    pub(super) admitted: Admitted,
}

impl Visitor {
    pub(crate) fn into_session(self) -> (SessionId, Admitted) {
        (self.id, self.admitted)
    }
}

/// Whether a request has the credential of a browser. The access token of an API client's session comes first.
pub(crate) fn is_of_browser(call: &Call) -> bool {
    let Some(spa) = &call.app.spa else { return false };
    let headers = call.request.headers();
    match bearer_token(headers) {
        _ if spa.is_same_site() => !headers.contains_key(AUTHORIZATION) && Credential::is_in(headers),
        Ok(token) => spa.access_tokens.issued(token),
        Err(_) => false,
    }
}

/// The configuration, without which there are no such routes.
pub(super) fn spa(app: &App) -> Result<&Spa, Refusal> {
    app.spa.as_ref().ok_or_else(Refusal::not_found)
}

/// The rules of a request.
pub(super) fn rules(call: &Call) -> Result<Arc<PageRules>, Refusal> {
    call.settings.pages.clone().ok_or_else(Refusal::not_found)
}

/// Admits a request of an allowed page. A refusal is audited.
pub(super) fn admit_page(call: &Call) -> impl Future<Output = Result<Page, Refusal>> + use<> {
    let (app, checked) = (call.app.clone(), check_page(call));
    // without a borrow of the request, whose body is not `Sync`
    async move { audited(&app, checked).await }
}

/// Admits a request of the browser of a live session. A refusal is audited.
pub(crate) fn admit_visitor(call: &Call) -> impl Future<Output = Result<Visitor, Refusal>> + use<> {
    let app = call.app.clone();
    let checked = check_page(call).and_then(|page| {
        let presented = present(spa(&call.app)?, &page, call.request.headers())?;
        Ok((page, presented))
    });
    let log = RequestLog::of(&call.request);
    async move {
        let (page, presented) = audited(&app, checked).await?;
        admit_browser(&app, &log, page, presented).await
    }
}

/// Admits a page of the browser of a live session, and counts the request. A refusal is audited.
pub(super) async fn admit_browser(
    app: &App,
    log: &RequestLog,
    page: Page,
    presented: Presented,
) -> Result<Visitor, Refusal> {
    let (id, credential) = match presented {
        Presented::Credential(credential) => (credential.id.clone(), Some(credential)),
        Presented::Verified(id) => (id, None),
    };
    let is_valid = |key: &[u8; 32]| credential.is_none_or(|credential| credential.is_valid(key));
    let admitted = app.direct.admit_browser(&spa(app)?.owner, &id, is_valid).await;
    let admitted = audited(app, admitted.map_err(refusal)).await?;
    log.set_session(admitted.pseudonym());
    app.count_request(&id)?;
    Ok(Visitor { page, id, admitted })
}

/// The presented credential of a browser.
pub(super) enum Presented {
    /// To be verified with the key of its session.
    Credential(Credential),
    /// The session of a valid access token.
    Verified(SessionId),
}

fn present(spa: &Spa, page: &Page, headers: &HeaderMap) -> Result<Presented, Refusal> {
    if spa.is_same_site() {
        return Credential::of_cookie(headers).map(Presented::Credential);
    }
    if !headers.contains_key(AUTHORIZATION) {
        let code = ErrorCode::SessionRequired;
        return Err(Refusal::new(code, code.message()));
    }
    let token = bearer_token(headers).map_err(|_| bad_credentials())?;
    let verified = spa.access_tokens.verify(token, page.origin.as_ref(), page.now);
    verified.map(Presented::Verified)
}

/// The refusal of an operation on a browser's session.
pub(super) fn refusal(error: Error) -> Refusal {
    match error {
        Error::Refused(ErrorCode::BadCredentials) => bad_credentials(),
        Error::Refused(ErrorCode::SessionEnded) => {
            Refusal::new(ErrorCode::SessionGone, ErrorCode::SessionGone.message())
        }
        error => error.into(),
    }
}

/// Counts a refusal that can be an attack in the audit log.
pub(crate) async fn audited<T>(app: &App, result: Result<T, Refusal>) -> Result<T, Refusal> {
    if let Err(refusal) = &result
        && matches!(refusal.status(), 400 | 401 | 403)
    {
        app.log_refused_page(refusal.code()).await?;
    }
    result
}

fn check_page(call: &Call) -> Result<Page, Refusal> {
    let (spa, now) = (spa(&call.app)?, call.app.clock.now());
    let limited = rules(call)?.limits.count_request(call.address(), now.instant);
    limited.map_err(Refusal::too_many_of_address)?;
    let headers = call.request.headers();
    let is_read = matches!(*call.request.method(), Method::GET | Method::HEAD);
    let origin = match is_read && !headers.contains_key(ORIGIN) {
        true => None,
        false => {
            let admitted = call.settings.origins.admit(headers.get_all(ORIGIN).iter());
            let admitted = admitted.map_err(|error| Refusal::origin(&error))?;
            Some(admitted.origin().clone())
        }
    };
    if spa.is_same_site() {
        check_site(headers).inspect_err(|_| spa.log_other_site(origin.as_ref()))?;
    }
    if !is_read {
        check_csrf(headers)?;
    }
    Ok(Page { origin, now })
}

/// Whether the browser marks a request as one of a page with one of these relations, or is too old to mark it.
pub(crate) fn is_fetched_by(headers: &HeaderMap, relations: &[&str]) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    sites.all(|site| relations.iter().any(|relation| site == relation))
}

/// Refuses a request that the browser marks as one of another site, or as one that no script made.
fn check_site(headers: &HeaderMap) -> Result<(), Refusal> {
    if is_fetched_by(headers, &["same-origin", "same-site"]) {
        return Ok(());
    }
    let message = "invalid Sec-Fetch-Site: the page is of another site than this gateway, serve both from one site, or have \
                   the operator set `embedding = \"cross-site\"`";
    Err(Refusal::new(ErrorCode::CsrfRefused, message))
}

/// Refuses a request without the header that only a script can send.
pub(crate) fn check_csrf(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut values = headers.get_all(CSRF).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value == "1" => Ok(()),
        _ => {
            let message = "invalid X-Guest-Sessions-CSRF: send this header once, with the value 1";
            Err(Refusal::new(ErrorCode::CsrfRefused, message))
        }
    }
}
