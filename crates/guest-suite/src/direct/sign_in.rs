//! Sign-in of guests: a code becomes a JWT, which is kept fresh and passed to the guest's conversations.
//!
//! The refresh token is stored, sealed with the session's secrets. The JWT is never stored.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use audit::{Actor, Draft};
use genesys_api::{DeploymentId, SessionId, entropy};
use genesys_http::CallError;
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
    account: Account,
    /// The request that the guest takes to the identity provider.
    pub request: AuthorizationRequest,
}

/// The guest of a session at the sign-in service of a deployment.
#[derive(Clone, Debug)]
struct Account {
    owner: String,
    id: SessionId,
    deployment: DeploymentId,
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
        let account = self.account(&record)?;
        let published = self.shared.deployments.published(&account.deployment).await;
        if published.configuration.is_some_and(|known| !known.sign_in) {
            return Err(Error::SignInOff);
        }
        let pkce = Pkce::new(entropy::bytes());
        Ok(SignIn {
            direct: self.clone(),
            account,
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
        let deployment = self.deployment(&record.row.channel)?;
        let configuration = self.shared.deployments.published(deployment).await.configuration;
        if configuration.is_some_and(|known| !known.step_up) {
            return Err(Error::SignInOff);
        }
        let jwt = self.jwt(&record).await?.ok_or(Error::NotSignedIn)?;
        self.shared.live.sign_in(id, jwt).map_err(Error::StepUp)
    }

    /// Signs the guest out everywhere and deletes both tokens. Each conversation ends as logged out.
    ///
    /// # Errors
    /// [`Error::NotSignedIn`]; [`Error::SignIn`] if Genesys Cloud did not do it: the guest is still signed in.
    pub async fn sign_out(&self, owner: &str, id: &SessionId) -> Result<(), Error> {
        let record = self.load(owner, id).await?;
        let jwt = self.jwt(&record).await?;
        let manager = jwt.and_then(|_| self.signed_in(id)).ok_or(Error::NotSignedIn)?;
        let refresh_token = manager.tokens().refresh().cloned();
        let revoked = self.shared.sign_in.revoke(&manager).await;
        revoked.map_err(|error| match error {
            RevokeError::Token(error) => Error::Token(error),
            RevokeError::Call(error) => Error::SignIn(error),
        })?;
        self.delete_tokens(owner, id, refresh_token);
        let entry = record.draft(self.clock().now(), Actor::client(owner), "guest.signed_out");
        self.log_entry(entry).await
    }

    /// The JWT of a signed-in guest. `None` for an anonymous guest.
    pub(super) async fn jwt(&self, record: &SessionRow) -> Result<Option<SecretString>, Error> {
        let id = &record.row.id;
        if let Some(manager) = self.signed_in(id) {
            let token = manager.token().await.map(|token| token.secret);
            // the service requires another one if this one is too old
            return Ok(Some(token.unwrap_or_else(|_| manager.tokens().access().clone())));
        }
        let Some(refresh_token) = record.row.secrets.refresh_token.clone() else {
            return Ok(None);
        };
        let account = self.account(record)?;
        let sent = self.clock().now().instant;
        let jwt = self.refresh_jwt(&account, &refresh_token).await;
        let manager = self.manager(account, jwt.map_err(Error::SignIn)?, Some(refresh_token), sent)?;
        // an entry is of a guest who signed in meanwhile
        let mut signed_in = lock(&self.shared.signed_in);
        let manager = signed_in.entry(id.clone()).or_insert(manager);
        Ok(Some(manager.tokens().access().clone()))
    }

    /// Gets a new JWT. A refused refresh token is deleted.
    async fn refresh_jwt(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<SecretString, CallError> {
        let service = &self.shared.sign_in;
        let refreshed = service.refresh(&account.deployment, refresh_token).await;
        refreshed.inspect_err(|error| {
            if SignInService::refresh_error(error) == RefreshError::Refused {
                self.delete_tokens(&account.owner, &account.id, Some(refresh_token.clone()));
            }
        })
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
    pub(super) fn delete_tokens(&self, owner: &str, id: &SessionId, refresh_token: Option<SecretString>) {
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
            let deleted = direct.update(&owner, &id, |record, now| {
                let is_stored = are_same(record.row.secrets.refresh_token.as_ref(), refresh_token.as_ref());
                let mutation = is_stored.then(|| {
                    let entry = record.draft(now, Actor::system("guest-suite"), "guest.token_deleted");
                    with_refresh_token(record, None, entry)
                });
                Ok((mutation.unwrap_or_default(), ()))
            });
            if let Err(error) = deleted.await {
                tracing::warn!(session = %id, %error, "cannot delete an invalid refresh token from the store");
            }
        });
    }

    fn signed_in(&self, id: &SessionId) -> Option<TokenManager> {
        lock(&self.shared.signed_in).get(id).cloned()
    }

    fn account(&self, record: &SessionRow) -> Result<Account, Error> {
        Ok(Account {
            owner: record.row.owner.clone(),
            id: record.row.id.clone(),
            deployment: self.deployment(&record.row.channel)?.clone(),
        })
    }

    fn manager(
        &self,
        account: Account,
        jwt: SecretString,
        refresh_token: Option<SecretString>,
        sent: Instant,
    ) -> Result<TokenManager, Error> {
        // tokens of the service are checked when they arrive, so an invalid one is from the store
        let tokens = Tokens::new(jwt, refresh_token, SignInService::JWT_LIFETIME)
            .map_err(|_| StoreErrorKind::Corrupt)?;
        let jitter = Jitter::of(account.id.as_str());
        let refresh = token_window::Refresh::new(tokens, Window::default(), jitter, sent);
        let shared = Arc::downgrade(&self.shared);
        Ok(TokenManager::spawn_with(
            refresh,
            JwtRefresher { shared, account },
            self.clock().clone(),
        ))
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
        let Self {
            direct,
            account,
            request,
        } = self;
        let sent = direct.clock().now().instant;
        let call = request.exchange(account.deployment.clone(), state, code);
        let call = call.ok_or(Error::SignInForged)?;
        let tokens = direct.shared.sign_in.call(&call).await.map_err(Error::SignIn)?;
        let owner = account.owner.as_str();
        direct
            .update(owner, &account.id, |record, now| {
                record.ensure_live(now)?;
                let entry = record.draft(now, Actor::client(owner), "guest.signed_in");
                Ok((
                    with_refresh_token(record, tokens.refresh_token.clone(), entry),
                    (),
                ))
            })
            .await?;
        let id = account.id.clone();
        let manager = direct.manager(account, tokens.jwt, tokens.refresh_token, sent)?;
        lock(&direct.shared.signed_in).insert(id, manager);
        Ok(())
    }
}

/// Replaces the stored refresh token.
fn with_refresh_token(record: &SessionRow, token: Option<SecretString>, entry: Draft) -> Mutation {
    let mut row = record.row.clone();
    row.secrets.refresh_token = token;
    Mutation {
        entry: Some(entry),
        ..Change::UpdateSession(row).into()
    }
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
    account: Account,
}

impl Refresher for JwtRefresher {
    async fn refresh(&self, current: &Tokens) -> Result<Tokens, RefreshError> {
        let shared = self.shared.upgrade().ok_or(RefreshError::Refused)?;
        let direct = Direct { shared };
        let Account { owner, id, .. } = &self.account;
        let is_live = match direct.load(owner, id).await {
            Ok(record) => record.ensure_live(direct.clock().now()).is_ok(),
            Err(Error::NotFound) => false,
            Err(error) => {
                tracing::warn!(session = %id, %error, "cannot read the session of a signed-in guest");
                return Err(RefreshError::Transient { retry_after: None });
            }
        };
        let refresh_token = current.refresh().cloned();
        let Some(refresh_token) = refresh_token.clone().filter(|_| is_live) else {
            direct.delete_tokens(owner, id, refresh_token);
            return Err(RefreshError::Refused);
        };
        let jwt = direct.refresh_jwt(&self.account, &refresh_token).await;
        let jwt = jwt.map_err(|error| {
            tracing::warn!(session = %id, %error, "cannot refresh the JWT of a guest");
            SignInService::refresh_error(&error)
        })?;
        direct.shared.live.update_token(id, &jwt);
        let lifetime = SignInService::JWT_LIFETIME;
        Ok(Tokens::new(jwt, Some(refresh_token), lifetime)?)
    }
}
