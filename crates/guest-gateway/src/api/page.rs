//! Requests of a guest's page, with the access token of its session or the credential of its browser.

use genesys_api::SessionId;
use guest_sessions::ErrorCode;
use guest_suite::Error;
use guest_suite::direct::Admitted;
use http::header::ORIGIN;
use secrecy::SecretString;
use ws_transport::AdmittedOrigin;

use super::Refusal;
use super::request::{Call, bearer_token};
use super::request_log::RequestLog;
use crate::spa;

/// The guest of an admitted request.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) id: SessionId,
    pub(super) admitted: Admitted,
    /// The origin of the conversation, if this request opens it.
    pub(super) origin: AdmittedOrigin,
}

/// Admits the guest of the session in the path, by the access token and the origin, or as the browser of the session. A
/// failure is audited.
pub(super) fn admit(call: &Call) -> impl Future<Output = Result<Guest, Refusal>> + Send + use<> {
    let browser = spa::is_of_browser(call).then(|| (spa::admit_visitor(call), page_origin(call)));
    let (app, id, presented) = (call.app.clone(), call.id::<SessionId>(), present(call));
    let log = RequestLog::of(&call.request);
    // without a borrow of the request, whose body is not `Sync`
    async move {
        let id = id?;
        if let Some((visitor, origin)) = browser {
            let (visitor_id, admitted) = visitor.await.map_err(of_guest)?.into_session();
            if visitor_id != id {
                let refused = Err(Error::from(ErrorCode::BadCredentials).into());
                return spa::audited(&app, refused).await;
            }
            let origin = origin?;
            return Ok(Guest { id, admitted, origin });
        }
        let admitted = match presented {
            Ok((token, origin)) => {
                let admitted = app.direct.admit(&id, &token).await.map_err(Refusal::from);
                admitted.map(|admitted| (admitted, origin))
            }
            Err(refusal) => Err(refusal),
        };
        match admitted {
            Ok((admitted, origin)) => {
                log.set_session(admitted.pseudonym());
                app.count_request(&id)?;
                Ok(Guest { id, admitted, origin })
            }
            Err(refusal) => {
                app.log_auth_failure(None, refusal.code()).await?;
                Err(refusal)
            }
        }
    }
}

/// The refusal of a browser as these routes have it.
fn of_guest(refusal: Refusal) -> Refusal {
    match refusal.code() == ErrorCode::SessionGone.as_str() {
        true => Error::from(ErrorCode::SessionEnded).into(),
        false => refusal,
    }
}

fn present(call: &Call) -> Result<(SecretString, AdmittedOrigin), Refusal> {
    let headers = call.request.headers();
    Ok((bearer_token(headers)?.into(), page_origin(call)?))
}

/// The origin of the conversation, if this request opens it. A page of the gateway's own origin sends none.
fn page_origin(call: &Call) -> Result<AdmittedOrigin, Refusal> {
    let (headers, origins) = (call.request.headers(), &call.settings.origins);
    let (allowed, public) = (origins.origins(), call.app.public.to_string());
    let own = allowed.iter().find(|origin| origin.to_string() == public);
    // a backend has none either
    let own = own.or(allowed.first()).filter(|_| !headers.contains_key(ORIGIN));
    let admitted = match own {
        Some(own) => origins.admit_own(own),
        None => origins.admit(headers.get_all(ORIGIN).iter()),
    };
    admitted.map_err(|error| Refusal::origin(&error))
}
