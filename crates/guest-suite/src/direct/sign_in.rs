//! Sign-in of guests: a code becomes a JWT, which is kept fresh and passed to the guest's conversations.
//!
//! The refresh token is stored, sealed with the session's secrets. The JWT is never stored.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use genesys_api::{DeploymentId, SessionId, entropy};
use guest_conversation::GuestMachine as _;
use guest_conversation::client::{Handle, RevokeError, SignInService, supply_token};
use guest_store::{Change, StoreErrorKind};
use secrecy::{ExposeSecret, SecretString};
use token_window::{Jitter, RefreshError, Refresher, TokenManager, Tokens, Window};
use url::Url;
use web_messaging::rest::sign_in::{AuthorizationRequest, Pkce};

use super::session_row::SessionRow;
use super::update::Mutation;
use super::{Direct, Shared};
use crate::Error;

/// Token managers of the signed-in guests. The one of an ended session is removed at the next refresh.
pub(super) type SignedIn = Mutex<HashMap<SessionId, TokenManager>>;

/// A sign-in that has begun in this process.
#[derive(Debug)]
pub struct SignIn {
    direct: Direct,
    owner: String,
    id: SessionId,
    deployment: DeploymentId,
    /// The request that the guest takes to the identity provider.
    pub request: AuthorizationRequest,
}

impl Direct {
    /// Begins to sign in the guest of a session. The identity provider sends the guest back to `redirect_uri`.
    ///
    /// # Errors
    /// [`Error::SignInOff`], [`Error::Ended`], [`Error::NotFound`], [`Error::UnknownChannel`], or the store's.
    pub async fn begin_sign_in(
        &self,
        owner: &str,
        id: &SessionId,
        redirect_uri: &Url,
    ) -> Result<SignIn, Error> {
        let record = self.load(owner, id).await?;
        record.ensure_live(self.clock().now())?;
        let deployment = self.deployment(&record)?;
        let published = self.shared.deployments.published(deployment).await;
        if published.configuration.is_some_and(|known| !known.sign_in) {
            return Err(Error::SignInOff);
        }
        let pkce = Pkce::new(entropy::bytes());
        Ok(SignIn {
            direct: self.clone(),
            owner: owner.to_owned(),
            id: id.clone(),
            deployment: deployment.clone(),
            request: AuthorizationRequest::new(redirect_uri, pkce, entropy::bytes(), entropy::bytes()),
        })
    }

    /// Signs the guest in on the session's newest open conversation. The event `SignedIn` reports success. Genesys Cloud
    /// may close the session's other conversations.
    ///
    /// # Errors
    /// [`Error::NotSignedIn`], [`Error::SignInOff`], [`Error::StepUp`] if no conversation is ready, or the store's.
    pub async fn step_up(&self, owner: &str, id: &SessionId) -> Result<(), Error> {
        let record = self.load(owner, id).await?;
        let deployment = self.deployment(&record)?;
        let configuration = self.shared.deployments.published(deployment).await.configuration;
        if configuration.is_some_and(|known| !known.step_up) {
            return Err(Error::SignInOff);
        }
        let jwt = self.jwt(&record, deployment).await?.ok_or(Error::NotSignedIn)?;
        self.shared.live.sign_in(id, jwt).map_err(Error::StepUp)
    }

    /// Signs the guest out everywhere and deletes both tokens. Each conversation ends as logged out.
    ///
    /// # Errors
    /// [`Error::NotSignedIn`]; [`Error::SignIn`] if Genesys Cloud did not do it: the guest is still signed in.
    pub async fn sign_out(&self, owner: &str, id: &SessionId) -> Result<(), Error> {
        let record = self.load(owner, id).await?;
        let jwt = self.jwt(&record, self.deployment(&record)?).await?;
        let manager = jwt.and_then(|_| self.signed_in(id)).ok_or(Error::NotSignedIn)?;
        let refresh_token = manager.tokens().refresh().cloned();
        let revoked = self.shared.sign_in.revoke(&manager).await;
        revoked.map_err(|error| match error {
            RevokeError::Token(error) => Error::Token(error),
            RevokeError::Call(error) => Error::SignIn(error),
        })?;
        self.forget_sign_in(owner, id, refresh_token);
        Ok(())
    }

    /// The JWT of a signed-in guest. `None` for an anonymous guest.
    pub(super) async fn jwt(
        &self,
        record: &SessionRow,
        deployment: &DeploymentId,
    ) -> Result<Option<SecretString>, Error> {
        let id = &record.row.id;
        if let Some(manager) = self.signed_in(id) {
            let token = manager.token().await.map(|token| token.secret);
            // the service requires another one if this one is too old
            return Ok(Some(token.unwrap_or_else(|_| manager.tokens().access().clone())));
        }
        let Some(refresh_token) = record.row.secrets.refresh_token.clone() else {
            return Ok(None);
        };
        let owner = &record.row.owner;
        let sent = self.clock().now().instant;
        match self.shared.sign_in.refresh(deployment, &refresh_token).await {
            Ok(jwt) => {
                let manager = self.manager(owner, id, deployment, jwt, Some(refresh_token), sent)?;
                // an entry is of a guest who signed in meanwhile
                let mut signed_in = lock(&self.shared.signed_in);
                let manager = signed_in.entry(id.clone()).or_insert(manager);
                Ok(Some(manager.tokens().access().clone()))
            }
            Err(error) => {
                if SignInService::refresh_error(&error) == RefreshError::Refused {
                    self.forget_sign_in(owner, id, Some(refresh_token));
                }
                Err(Error::SignIn(error))
            }
        }
    }

    /// Passes another JWT to a conversation whose JWT the service did not accept.
    pub(super) fn supply_jwt(&self, id: &SessionId, conversation: Handle) {
        match self.signed_in(id) {
            Some(manager) => drop(tokio::spawn(supply_token(manager, conversation))),
            None => conversation.with(|machine, now| machine.decline_token(now)),
        }
    }

    /// The refresh token that is in use now, if there is one.
    pub(super) fn current_refresh_token(&self, id: &SessionId) -> Option<SecretString> {
        self.signed_in(id)?.tokens().refresh().cloned()
    }

    /// Deletes both tokens of the sign-in with `refresh_token`: the JWT now, the stored one as soon as the store can.
    /// A later sign-in of the guest is kept.
    pub(super) fn forget_sign_in(&self, owner: &str, id: &SessionId, refresh_token: Option<SecretString>) {
        if let Entry::Occupied(held) = lock(&self.shared.signed_in).entry(id.clone())
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
                let is_stored = are_same(record.row.secrets.refresh_token.as_ref(), refresh_token.as_ref());
                let mutation = is_stored.then(|| with_refresh_token(record, None));
                Ok((mutation.unwrap_or_default(), ()))
            });
            if let Err(error) = forgotten.await {
                tracing::warn!(session = %id, %error, "cannot delete an invalid refresh token from the store");
            }
        });
    }

    fn signed_in(&self, id: &SessionId) -> Option<TokenManager> {
        lock(&self.shared.signed_in).get(id).cloned()
    }

    fn manager(
        &self,
        owner: &str,
        id: &SessionId,
        deployment: &DeploymentId,
        jwt: SecretString,
        refresh_token: Option<SecretString>,
        sent: Instant,
    ) -> Result<TokenManager, Error> {
        // tokens of the service are checked when they arrive, so an invalid one is from the store
        let tokens = Tokens::new(jwt, refresh_token, SignInService::JWT_LIFETIME)
            .map_err(|_| StoreErrorKind::Corrupt)?;
        let jitter = Jitter::of(id.as_str());
        let refresh = token_window::Refresh::new(tokens, Window::default(), jitter, sent);
        let refresher = JwtRefresher {
            shared: Arc::downgrade(&self.shared),
            owner: owner.to_owned(),
            id: id.clone(),
            deployment: deployment.clone(),
        };
        Ok(TokenManager::spawn_with(refresh, refresher, self.clock().clone()))
    }
}

impl SignIn {
    /// Signs the guest in with the `code` and the `state` of the redirect. Later conversations of the session connect as
    /// the signed-in guest's; open ones need [`Direct::step_up`]. A code works once.
    ///
    /// # Errors
    /// [`Error::SignInForged`] if the state is of another sign-in, [`Error::SignIn`] if Genesys Cloud refuses the code,
    /// [`Error::Ended`], or the store's.
    pub async fn exchange(self, state: &str, code: SecretString) -> Result<(), Error> {
        let sent = self.direct.clock().now().instant;
        let call = self.request.exchange(self.deployment.clone(), state, code);
        let call = call.ok_or(Error::SignInForged)?;
        let signed_in = self
            .direct
            .shared
            .sign_in
            .call(&call)
            .await
            .map_err(Error::SignIn)?;
        let (jwt, refresh) = (signed_in.jwt, signed_in.refresh_token);
        self.direct
            .update(&self.owner, &self.id, |record, now| {
                record.ensure_live(now)?;
                Ok((with_refresh_token(record, refresh.clone()), ()))
            })
            .await?;
        let manager = self
            .direct
            .manager(&self.owner, &self.id, &self.deployment, jwt, refresh, sent)?;
        lock(&self.direct.shared.signed_in).insert(self.id, manager);
        Ok(())
    }
}

/// Replaces the stored refresh token.
fn with_refresh_token(record: &SessionRow, token: Option<SecretString>) -> Mutation {
    let mut row = record.row.clone();
    row.secrets.refresh_token = token;
    Change::UpdateSession(row).into()
}

fn are_same(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(SecretString::expose_secret) == other.map(SecretString::expose_secret)
}

pub(super) fn lock(signed_in: &SignedIn) -> MutexGuard<'_, HashMap<SessionId, TokenManager>> {
    signed_in.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refreshes the JWT of one session.
#[derive(Debug)]
struct JwtRefresher {
    shared: Weak<Shared>,
    owner: String,
    id: SessionId,
    deployment: DeploymentId,
}

impl Refresher for JwtRefresher {
    async fn refresh(&self, current: &Tokens) -> Result<Tokens, RefreshError> {
        let direct = Direct {
            shared: self.shared.upgrade().ok_or(RefreshError::Refused)?,
        };
        let is_live = match direct.load(&self.owner, &self.id).await {
            Ok(record) => record.ensure_live(direct.clock().now()).is_ok(),
            Err(Error::NotFound) => false,
            Err(error) => {
                tracing::warn!(session = %self.id, %error, "cannot read the session of a signed-in guest");
                return Err(RefreshError::Transient { retry_after: None });
            }
        };
        let refresh_token = current.refresh().cloned();
        let Some(refresh_token) = refresh_token.clone().filter(|_| is_live) else {
            direct.forget_sign_in(&self.owner, &self.id, refresh_token);
            return Err(RefreshError::Refused);
        };
        match direct
            .shared
            .sign_in
            .refresh(&self.deployment, &refresh_token)
            .await
        {
            Ok(jwt) => {
                direct.shared.live.update_token(&self.id, &jwt);
                Ok(Tokens::new(
                    jwt,
                    Some(refresh_token),
                    SignInService::JWT_LIFETIME,
                )?)
            }
            Err(error) => {
                tracing::warn!(session = %self.id, %error, "cannot refresh the JWT of a guest");
                let error = SignInService::refresh_error(&error);
                if error == RefreshError::Refused {
                    direct.forget_sign_in(&self.owner, &self.id, Some(refresh_token));
                }
                Err(error)
            }
        }
    }
}
