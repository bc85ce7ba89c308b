//! The checks of a page's request: its address, its origin, and that a script of an allowed page made it.

use genesys_api::{Now, Origin, SessionId};
use guest_sessions::ErrorCode;
use guest_suite::Error;
use guest_suite::direct::Admitted;
use http::header::ORIGIN;
use http::{HeaderMap, HeaderName, Method};

use super::Spa;
use super::credential::{Credential, bad_credentials};
use crate::api::{App, Call, Refusal};

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

/// A request of the browser of a live session.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) page: Page,
    pub(super) id: SessionId,
    pub(super) admitted: Admitted,
}

/// The configuration, without which there are no such routes.
pub(super) fn spa(app: &App) -> Result<&Spa, Refusal> {
    app.spa.as_ref().ok_or_else(Refusal::not_found)
}

/// Admits a request of an allowed page. A refusal is audited.
pub(super) fn admit_page(call: &Call) -> impl Future<Output = Result<Page, Refusal>> + use<> {
    let (app, checked) = (call.app.clone(), check_page(call));
    // without a borrow of the request, whose body is not `Sync`
    async move { audited(&app, checked).await }
}

/// Admits a request of the browser of a live session. A refusal is audited.
pub(super) fn admit_visitor(call: &Call) -> impl Future<Output = Result<Visitor, Refusal>> + use<> {
    let app = call.app.clone();
    let checked = check_page(call).and_then(|page| {
        let credential = Credential::of_cookie(call.request.headers())?;
        Ok((page, credential))
    });
    async move {
        let (page, credential) = audited(&app, checked).await?;
        let owner = &spa(&app)?.owner;
        let is_valid = |key: &[u8; 32]| credential.is_valid(key);
        let admitted = app.direct.admit_browser(owner, &credential.id, is_valid).await;
        let admitted = audited(&app, admitted.map_err(refusal)).await?;
        Ok(Visitor {
            page,
            id: credential.id,
            admitted,
        })
    }
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
pub(super) async fn audited<T>(app: &App, result: Result<T, Refusal>) -> Result<T, Refusal> {
    if let Err(refusal) = &result
        && matches!(refusal.status(), 400 | 401 | 403)
    {
        app.log_refused_page(refusal.code()).await?;
    }
    result
}

fn check_page(call: &Call) -> Result<Page, Refusal> {
    let (spa, now) = (spa(&call.app)?, call.app.clock.now());
    let limited = spa.limits.count_request(call.address(), now.instant);
    limited.map_err(Refusal::too_many_of_address)?;
    let headers = call.request.headers();
    let is_read = matches!(*call.request.method(), Method::GET | Method::HEAD);
    let origin = match is_read && !headers.contains_key(ORIGIN) {
        true => None,
        false => {
            let admitted = call.app.origins.admit(headers.get_all(ORIGIN).iter());
            let admitted =
                admitted.map_err(|error| Refusal::new(ErrorCode::OriginNotAllowed, error.to_string()))?;
            Some(admitted.origin().clone())
        }
    };
    check_site(headers)?;
    if !is_read {
        check_csrf(headers)?;
    }
    Ok(Page { origin, now })
}

/// Refuses a request that the browser marks as one of another site, or as one that no script made.
fn check_site(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    if sites.all(|site| site == "same-origin" || site == "same-site") {
        return Ok(());
    }
    let message =
        "invalid Sec-Fetch-Site: the page is of another site than this gateway, serve both from one site";
    Err(Refusal::new(ErrorCode::CsrfRefused, message))
}

fn check_csrf(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut values = headers.get_all(CSRF).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value == "1" => Ok(()),
        _ => {
            let message = "invalid X-Guest-Sessions-CSRF: send this header once, with the value 1";
            Err(Refusal::new(ErrorCode::CsrfRefused, message))
        }
    }
}
