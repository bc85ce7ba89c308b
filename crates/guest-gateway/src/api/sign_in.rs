//! `…/{id}/sign-in`: sign-in and sign-out of a session's guest, for its API client and for the guest.

use std::sync::PoisonError;

use axum::response::{IntoResponse as _, Response};
use genesys_api::SessionId;
use guest_sessions::{ErrorCode, SignInBody};
use guest_suite::direct::{Admitted, Party};
use http::StatusCode;

use super::request::Call;
use super::{Refusal, page};
use crate::config::WRITE;

pub(super) async fn sign_in(mut call: Call) -> Result<Response, Refusal> {
    let (app, address) = (call.app.clone(), call.address());
    let (subject, id) = admit(&call).await?;
    let result = SignInBody::parse(&call.body("application/json").await?)?.0;
    let now = app.clock.now().instant;
    let failures = || {
        app.sign_in_failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    };
    let checked = failures().check(id.as_str(), address, now);
    checked.map_err(Refusal::too_many_sign_ins)?;
    if let Err(error) = app.direct.sign_in(subject.party(), &id, result).await {
        if error.code() == Some(ErrorCode::SignInRefused) {
            // the answer is the same for each refused code
            let _ = failures().count(Some(id.as_str()), address, now);
        }
        return Err(error.into());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn sign_out(call: Call) -> Result<Response, Refusal> {
    let (app, admitted) = (call.app.clone(), admit(&call));
    drop(call);
    let (subject, id) = admitted.await?;
    match app.direct.sign_out(subject.party(), &id).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) if error.code() == Some(ErrorCode::SignInRefused) => {
            Err(Refusal::unavailable(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The sender of an admitted request.
#[derive(Debug)]
enum Subject {
    Client(String),
    Guest(Box<Admitted>),
}

impl Subject {
    fn party(&self) -> Party<'_> {
        match self {
            Self::Client(client) => client.into(),
            Self::Guest(admitted) => admitted.guest(),
        }
    }
}

/// Admits the API client of the session, or its guest. A failure is audited.
fn admit(call: &Call) -> impl Future<Output = Result<(Subject, SessionId), Refusal>> + Send + use<> {
    let client = call.has_client_token().then(|| (call.admit(WRITE), call.id()));
    let guest = page::admit(call);
    // without a borrow of the request, whose body is not `Sync`
    async move {
        if let Some((caller, id)) = client {
            let owner = caller.await?.client;
            return Ok((Subject::Client(owner), id?));
        }
        let guest = guest.await?;
        Ok((Subject::Guest(Box::new(guest.admitted)), guest.id))
    }
}
