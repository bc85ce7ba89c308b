//! Guests who sign in: a code becomes a JWT, which is kept fresh and handed to the guest's conversations.
//!
//! The refresh token is stored, sealed with the session's secrets; the JWT never is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesys_api::{DeploymentId, SessionId, entropy};
use genesys_http::CallError;
use guest_conversation::Machine as _;
use guest_conversation::client::Handle;
use guest_store::{Change, StoreErrorKind};
use secrecy::{ExposeSecret, SecretString};
use token_window::{Jitter, RefreshError, Refresher, TokenError, TokenManager, Window};
use url::Url;
use web_messaging::rest::sign_in::{Exchange, OauthResult, Pkce, Refresh, Revoke};

use super::session_row::SessionRow;
use super::update::Mutation;
use super::{Direct, DirectError, Shared};

/// Longest life of a JWT at Genesys Cloud. One that ends earlier is found out by the service's refusal.
const JWT_LIFETIME: Duration = genesys_api::limits::SIGNED_IN_JWT;
/// Attempts to revoke a JWT, each with a newer one (Genesys' mobile SDK).
const ATTEMPTS: u8 = 3;

/// A sign-in that has begun: the guest is at the identity provider. It lives in this process only.
pub struct SignIn {
    direct: Direct,
    owner: String,
    id: SessionId,
    deployment: DeploymentId,
    redirect_uri: String,
    pkce: Pkce,
    nonce: String,
    state: String,
}

impl Direct {
    /// Begins to sign in the guest of a session. The identity provider sends the guest back to `redirect_uri`.
    ///
    /// # Errors
    /// [`DirectError::SignInOff`] if the deployment signs nobody in, [`DirectError::Ended`],
    /// [`DirectError::NotFound`], [`DirectError::UnknownChannel`], or the store's.
    pub async fn begin_sign_in(
        &self,
        owner: &str,
        id: &SessionId,
        redirect_uri: &Url,
    ) -> Result<SignIn, DirectError> {
        let record = self.load(owner, id).await?;
        record.ensure_live(self.clock().now())?;
        let deployment = self.deployment(&record)?;
        let configuration = self.published(deployment).await.configuration;
        if configuration.is_some_and(|known| !known.sign_in) {
            return Err(DirectError::SignInOff);
        }
        Ok(SignIn {
            direct: self.clone(),
            owner: owner.to_owned(),
            id: id.clone(),
            deployment: deployment.clone(),
            redirect_uri: redirect_uri.to_string(),
            pkce: Pkce::new(entropy::bytes()),
            nonce: URL_SAFE_NO_PAD.encode(entropy::bytes::<16>()),
            state: URL_SAFE_NO_PAD.encode(entropy::bytes::<16>()),
        })
    }

    /// Signs the guest in on the session's newest open conversation, which began as an anonymous guest's.
    /// [`ConnectionEvent::SignedIn`](guest_conversation::ConnectionEvent::SignedIn) tells that it was done; Genesys Cloud may close the session's
    /// other conversations then.
    ///
    /// # Errors
    /// [`DirectError::NotSignedIn`], [`DirectError::SignInOff`] if the deployment does not allow it,
    /// [`DirectError::StepUp`] if a conversation is not ready for it, or there is none.
    pub async fn step_up(&self, owner: &str, id: &SessionId) -> Result<(), DirectError> {
        let record = self.load(owner, id).await?;
        let deployment = self.deployment(&record)?;
        let configuration = self.published(deployment).await.configuration;
        if configuration.is_some_and(|known| !known.step_up) {
            return Err(DirectError::SignInOff);
        }
        let jwt = self.jwt(&record, deployment).await?;
        let jwt = jwt.ok_or(DirectError::NotSignedIn)?;
        self.shared.live.step_up(id, &jwt).map_err(DirectError::StepUp)
    }

    /// Signs the guest out everywhere. Both tokens are gone then, and each conversation ends with
    /// [`Ending::LoggedOut`](guest_conversation::Ending::LoggedOut).
    ///
    /// # Errors
    /// [`DirectError::NotSignedIn`]; [`DirectError::SignIn`] if Genesys Cloud did not do it: the guest is still signed
    /// in.
    pub async fn sign_out(&self, owner: &str, id: &SessionId) -> Result<(), DirectError> {
        let record = self.load(owner, id).await?;
        let jwt = self.jwt(&record, self.deployment(&record)?).await?;
        let mut jwt = jwt.ok_or(DirectError::NotSignedIn)?;
        let refresh_token = self.held_refresh_token(id);
        let config = &self.shared.config;
        let mut attempt = 1;
        loop {
            let revoked = config.http.call(&Revoke { jwt }, &config.hosts.api, None).await;
            match revoked {
                Ok(()) => break,
                Err(error) if is_unauthorized(&error) && attempt < ATTEMPTS => {}
                Err(error) => return Err(DirectError::SignIn(error)),
            }
            attempt += 1;
            let Some(manager) = self.shared.signed_in.manager(id) else {
                return Ok(());
            };
            jwt = match manager.refresh_now().await {
                Ok(token) => token.secret,
                Err(error @ TokenError::Failed { .. }) => return Err(DirectError::Token(error)),
                // it cannot be refreshed: that is to be signed out
                Err(_) => break,
            };
        }
        self.forget_sign_in(owner, id, refresh_token);
        Ok(())
    }

    /// The JWT of a signed-in guest. `None` for an anonymous guest.
    pub(super) async fn jwt(
        &self,
        record: &SessionRow,
        deployment: &DeploymentId,
    ) -> Result<Option<SecretString>, DirectError> {
        let id = &record.row.id;
        if let Some(manager) = self.shared.signed_in.manager(id) {
            let token = manager.token().await.map(|token| token.secret);
            // one that is too old is asked for again by the service
            return Ok(Some(token.unwrap_or_else(|_| manager.tokens().access().clone())));
        }
        let Some(refresh_token) = record.refresh_token() else {
            return Ok(None);
        };
        let config = &self.shared.config;
        let sent = self.clock().now().instant;
        let call = Refresh {
            deployment: deployment.clone(),
            refresh_token: refresh_token.clone(),
        };
        let refresh_token = Some(refresh_token.clone());
        match config.http.call(&call, &config.hosts.api, None).await {
            Ok(jwt) => {
                let manager =
                    self.manager(record.owner(), id, deployment, (jwt.clone(), refresh_token), sent)?;
                match self.shared.signed_in.lock().entry(id.clone()) {
                    // the guest signed in meanwhile
                    Entry::Occupied(newer) => Ok(Some(newer.get().tokens().access().clone())),
                    Entry::Vacant(place) => {
                        place.insert(manager);
                        Ok(Some(jwt))
                    }
                }
            }
            Err(error) => {
                if failure(&error) == RefreshError::Refused {
                    self.forget_sign_in(record.owner(), id, refresh_token);
                }
                Err(DirectError::SignIn(error))
            }
        }
    }

    /// The service wants another JWT than it got, on this conversation.
    pub(super) fn mend(&self, id: &SessionId, conversation: Handle) {
        let Some(manager) = self.shared.signed_in.manager(id) else {
            return conversation.with(|machine, _| machine.decline_token());
        };
        tokio::spawn(async move {
            match manager.refresh_now().await {
                Ok(token) => conversation.with(|machine, _| machine.update_token(token.secret)),
                // it is tried again, and the conversation waits for it
                Err(TokenError::Failed { .. }) => {}
                Err(_) => conversation.with(|machine, _| machine.decline_token()),
            }
        });
    }

    /// The refresh token that is in use now, if there is one.
    pub(super) fn held_refresh_token(&self, id: &SessionId) -> Option<SecretString> {
        let manager = self.shared.signed_in.manager(id)?;
        manager.tokens().refresh().cloned()
    }

    /// Drops both tokens of the sign-in that `refresh_token` is of: the JWT now, the stored one as soon as the store
    /// can. What a guest has who signed in again meanwhile stays.
    pub(super) fn forget_sign_in(&self, owner: &str, id: &SessionId, refresh_token: Option<SecretString>) {
        if let Entry::Occupied(held) = self.shared.signed_in.lock().entry(id.clone())
            && are_same(held.get().tokens().refresh(), refresh_token.as_ref())
        {
            held.remove();
        }
        if refresh_token.is_none() {
            return;
        }
        let (direct, owner, id) = (self.clone(), owner.to_owned(), id.clone());
        tokio::spawn(async move {
            let forgotten = direct.update(&owner, &id, |record, _| {
                if !are_same(record.refresh_token(), refresh_token.as_ref()) {
                    return Ok((Mutation::default(), ()));
                }
                Ok((refresh_token_of(record, None), ()))
            });
            if let Err(error) = forgotten.await {
                tracing::warn!(session = %id, %error, "a refresh token that is worth nothing stays in the store");
            }
        });
    }

    fn manager(
        &self,
        owner: &str,
        id: &SessionId,
        deployment: &DeploymentId,
        (jwt, refresh): (SecretString, Option<SecretString>),
        sent: Instant,
    ) -> Result<TokenManager, DirectError> {
        // the service's tokens are checked as they come, so it is the store's
        let tokens = token_window::Tokens::new(jwt, refresh, JWT_LIFETIME)
            .map_err(|_| DirectError::Store(StoreErrorKind::Corrupt.into()))?;
        let jitter = Jitter::of(id.as_str());
        let refresh = token_window::Refresh::new(tokens, Window::default(), jitter, sent);
        let refresher = RefreshJwt {
            shared: Arc::downgrade(&self.shared),
            owner: owner.to_owned(),
            id: id.clone(),
            deployment: deployment.clone(),
        };
        Ok(TokenManager::spawn_with(refresh, refresher, self.clock().clone()))
    }
}

impl SignIn {
    /// Parameters of the authorization request beside `client_id` and `scope`: OAuth's authorization code flow with
    /// PKCE (RFC 7636) and the `nonce` of `OpenID` Connect.
    #[must_use]
    pub fn parameters(&self) -> [(&'static str, &str); 6] {
        [
            ("response_type", "code"),
            ("redirect_uri", &self.redirect_uri),
            ("code_challenge", &self.pkce.challenge),
            ("code_challenge_method", "S256"),
            ("nonce", &self.nonce),
            ("state", &self.state),
        ]
    }

    /// The URL of the provider's authorization endpoint with all parameters. The guest is sent there.
    #[must_use]
    pub fn authorization_url(&self, endpoint: &Url, client_id: &str, scope: &str) -> Url {
        let mut url = endpoint.clone();
        url.query_pairs_mut()
            .extend_pairs(self.parameters())
            .append_pair("client_id", client_id)
            .append_pair("scope", scope);
        url
    }

    /// The guest came back with a `code` and a `state`: signs the guest in. From here on the session's conversations
    /// connect as the signed-in guest's; those that are open need [`Direct::step_up`]. A code works once.
    ///
    /// # Errors
    /// [`DirectError::SignInForged`] if the state is not this sign-in's, [`DirectError::SignIn`] if Genesys Cloud does
    /// not take the code, [`DirectError::Ended`], or the store's.
    pub async fn exchange(self, state: &str, code: SecretString) -> Result<(), DirectError> {
        if state != self.state {
            return Err(DirectError::SignInForged);
        }
        let config = &self.direct.shared.config;
        let sent = self.direct.clock().now().instant;
        let call = Exchange {
            deployment: self.deployment.clone(),
            oauth: OauthResult {
                code: Some(code),
                redirect_uri: Some(self.redirect_uri),
                code_verifier: Some(self.pkce.verifier),
                nonce: Some(self.nonce),
                ..OauthResult::default()
            },
            journey_context: None,
        };
        let signed_in = config
            .http
            .call(&call, &config.hosts.api, None)
            .await
            .map_err(DirectError::SignIn)?;
        let refresh = signed_in.refresh_token;
        self.direct
            .update(&self.owner, &self.id, |record, now| {
                record.ensure_live(now)?;
                Ok((refresh_token_of(record, refresh.clone()), ()))
            })
            .await?;
        let tokens = (signed_in.jwt, refresh);
        let manager = self
            .direct
            .manager(&self.owner, &self.id, &self.deployment, tokens, sent)?;
        self.direct
            .shared
            .signed_in
            .lock()
            .insert(self.id.clone(), manager);
        Ok(())
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("session", &self.id)
            .field("deployment", &self.deployment)
            .finish_non_exhaustive()
    }
}

/// Stores another refresh token, or none.
fn refresh_token_of(record: &SessionRow, token: Option<SecretString>) -> Mutation {
    let row = record.clone().with_refresh_token(token).into_row();
    Change::UpdateSession(row).into()
}

fn are_same(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(SecretString::expose_secret) == other.map(SecretString::expose_secret)
}

/// The signed-in guests of this process. A guest whose session has ended is removed at the next refresh.
#[derive(Debug, Default)]
pub(super) struct SignedIn {
    guests: Mutex<HashMap<SessionId, TokenManager>>,
}

impl SignedIn {
    pub(super) fn remove(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    fn manager(&self, id: &SessionId) -> Option<TokenManager> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, TokenManager>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refreshes the JWT of one session.
#[derive(Debug)]
struct RefreshJwt {
    shared: Weak<Shared>,
    owner: String,
    id: SessionId,
    deployment: DeploymentId,
}

impl Refresher for RefreshJwt {
    async fn refresh(&self, current: &token_window::Tokens) -> Result<token_window::Tokens, RefreshError> {
        let direct = Direct {
            shared: self.shared.upgrade().ok_or(RefreshError::Refused)?,
        };
        let config = &direct.shared.config;
        let lives = match direct.load(&self.owner, &self.id).await {
            Ok(record) => record.ensure_live(direct.clock().now()).is_ok(),
            Err(DirectError::NotFound) => false,
            Err(error) => {
                tracing::warn!(session = %self.id, %error, "the session of a signed-in guest cannot be read");
                return Err(RefreshError::Transient { retry_after: None });
            }
        };
        let Some(refresh_token) = current.refresh().cloned().filter(|_| lives) else {
            direct.forget_sign_in(&self.owner, &self.id, current.refresh().cloned());
            return Err(RefreshError::Refused);
        };
        let call = Refresh {
            deployment: self.deployment.clone(),
            refresh_token: refresh_token.clone(),
        };
        let jwt = config
            .http
            .call(&call, &config.hosts.api, None)
            .await
            .map_err(|error| {
                let failure = failure(&error);
                tracing::warn!(session = %self.id, %error, "the sign-in of a guest could not be refreshed");
                if failure == RefreshError::Refused {
                    direct.forget_sign_in(&self.owner, &self.id, Some(refresh_token.clone()));
                }
                failure
            })?;
        direct.shared.live.update_token(&self.id, &jwt);
        Ok(token_window::Tokens::new(jwt, Some(refresh_token), JWT_LIFETIME)?)
    }
}

/// The error of a failed refresh. The refresh token can be used again and again, so a lost reply costs nothing; and
/// a service in trouble has not decided anything, which is our choice: Genesys' mobile SDK gives both tokens up.
fn failure(error: &CallError) -> RefreshError {
    match error.problem().map(RefreshError::from) {
        Some(RefreshError::Unknown) | None => RefreshError::Transient { retry_after: None },
        Some(failure) => failure,
    }
}

fn is_unauthorized(error: &CallError) -> bool {
    error.problem().is_some_and(|problem| problem.status == 401)
}
