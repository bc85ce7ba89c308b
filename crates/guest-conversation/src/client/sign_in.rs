//! The tokens of signed-in guests.

use std::time::Duration;

use genesys_api::{Call, DeploymentId, Host, limits};
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

    /// The error of a failed refresh. A refusal is 400, 401 or 404 with a code of the platform; any other failure is retried.
    /// Our choice; Genesys' mobile SDK discards both tokens.
    #[must_use]
    pub fn refresh_error(error: &CallError) -> RefreshError {
        match error.problem() {
            // a proxy sends no code
            Some(problem) if matches!(problem.status, 400 | 401 | 404) && problem.code != "unknown" => {
                RefreshError::Refused
            }
            Some(problem) => problem.into(),
            None => RefreshError::Unknown { retry_after: None },
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
