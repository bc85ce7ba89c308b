//! The tokens of signed-in guests.

use std::time::Duration;

use genesys_api::{Call, DeploymentId, Host, Problem, limits};
use genesys_http::{CallError, Client};
use secrecy::SecretString;
use token_window::{RefreshError, TokenError, TokenManager};
use web_messaging::rest::sign_in::{Refresh, Revoke};

use super::Handle;
use crate::GuestMachine;

/// Attempts to revoke a JWT, each with a newer one (Genesys' mobile SDK).
const REVOKE_ATTEMPTS: u8 = 3;

/// The sign-in service of Genesys Cloud.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the caller")]
pub struct SignInService {
    /// HTTP client.
    pub http: Client,
    /// Host of the platform API.
    pub host: Host,
}

impl SignInService {
    /// Longest lifetime of a JWT. The service refuses one that ends earlier.
    pub const JWT_LIFETIME: Duration = limits::SIGNED_IN_JWT;

    /// Gets a new JWT.
    ///
    /// # Errors
    /// If the service does not accept the refresh token, or cannot be reached: see [`Self::refresh_error`].
    pub async fn refresh(
        &self,
        deployment: &DeploymentId,
        refresh_token: &SecretString,
    ) -> Result<SecretString, CallError> {
        self.call(&Refresh {
            deployment: deployment.clone(),
            refresh_token: refresh_token.clone(),
        })
        .await
    }

    /// The error of a failed refresh. Only 401 `bad.credentials`, 401 `credentials.expired` and 400 `invalid_grant` are a
    /// refusal. Any other failure is retried, because a proxy or a wrong configuration can also cause it.
    ///
    /// Our choice, from the errors of the platform API; Genesys' mobile SDK discards both tokens after any failure.
    #[must_use]
    pub fn refresh_error(error: &CallError) -> RefreshError {
        match error.problem() {
            Some(problem) => error_of(problem),
            None => RefreshError::Unknown {
                retry_after: error.retry_after(),
            },
        }
    }

    /// Revokes the tokens of `manager`. A JWT that is not accepted is refreshed, at most twice.
    ///
    /// # Errors
    /// If the guest is still signed in.
    pub async fn revoke(&self, manager: &TokenManager) -> Result<(), RevokeError> {
        // one that is too old is refused, then refreshed
        let token = manager.token().await.map(|token| token.secret);
        let mut jwt = token.unwrap_or_else(|_| manager.tokens().access().clone());
        let mut attempt = 1;
        loop {
            match self.call(&Revoke { jwt }).await {
                Ok(()) => return Ok(()),
                Err(error) if is_unauthorized(&error) && attempt < REVOKE_ATTEMPTS => {}
                Err(error) => return Err(RevokeError::Call(error)),
            }
            attempt += 1;
            jwt = match manager.refresh_now().await {
                Ok(token) => token.secret,
                Err(error @ TokenError::Failed { .. }) => return Err(RevokeError::Token(error)),
                // without a valid refresh token the guest is signed out
                Err(_) => return Ok(()),
            };
        }
    }

    /// Sends a call.
    ///
    /// # Errors
    /// If the service refuses it, or cannot be reached.
    pub async fn call<C: Call + Sync>(&self, call: &C) -> Result<C::Reply, CallError> {
        self.http.call(call, &self.host, None).await
    }
}

/// The error of a failed sign-out: the guest is still signed in.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "an attempt ends in one of both")]
pub enum RevokeError {
    /// The service did not revoke the JWT.
    #[error(transparent)]
    Call(CallError),
    /// The service did not accept the JWT, and it cannot be refreshed now.
    #[error(transparent)]
    Token(TokenError),
}

fn error_of(problem: &Problem) -> RefreshError {
    match (problem.status, problem.code.as_str()) {
        (401, "bad.credentials" | "credentials.expired") => RefreshError::Refused,
        _ => problem.into(),
    }
}

fn is_unauthorized(error: &CallError) -> bool {
    error.problem().is_some_and(|problem| problem.status == 401)
}

/// Refreshes the token that a service did not accept, and passes the new one to the conversation.
pub async fn supply_token<M: GuestMachine>(manager: TokenManager, conversation: Handle<M>) {
    match manager.refresh_now().await {
        Ok(token) => conversation.with(|machine, _| machine.update_token(token.secret)),
        // the manager retries, and the conversation waits
        Err(TokenError::Failed { .. }) => {}
        Err(error) => {
            tracing::warn!(%error, "cannot refresh the token of the conversation");
            conversation.with(GuestMachine::decline_token);
        }
    }
}

#[cfg(test)]
mod tests {
    //! Replies that end a sign-in.

    use bytes::Bytes;
    use http::Response;

    use super::*;

    #[test]
    fn only_listed_codes_refuse_the_refresh_token() {
        for (status, body, is_refusal) in [
            (401, r#"{"code":"bad.credentials","status":401}"#, true),
            (401, r#"{"code":"credentials.expired","status":401}"#, true),
            (400, r#"{"error":"invalid_grant"}"#, true),
            // a proxy
            (401, r#"{"error":"unauthorized"}"#, false),
            (401, r#"{"code":"authentication.required"}"#, false),
            (403, r#"{"code":"bad.credentials"}"#, false),
            (404, r#"{"code":"not.found"}"#, false),
            (404, r#"{"error":"Not Found"}"#, false),
            (400, r#"{"code":"bad.request"}"#, false),
            (400, r#"{"error":"invalid_request"}"#, false),
            (401, "<html>", false),
        ] {
            let response = Response::builder().status(status);
            let response = response.body(Bytes::from_static(body.as_bytes())).unwrap();
            let error = error_of(&Problem::read(&response));
            let expected = match is_refusal {
                true => RefreshError::Refused,
                false => RefreshError::Unknown { retry_after: None },
            };
            assert_eq!(error, expected, "{status} {body}");
        }
    }
}
