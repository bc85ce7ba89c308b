//! Sign-in of guests: a code becomes a JWT, which is kept fresh and passed to the guest's conversations.
//!
//! The refresh token is stored, sealed with the session's secrets. The JWT is never stored.

use std::sync::Arc;

use audit::Actor;
use genesys_api::{SessionId, entropy};
use guest_conversation::client::{GuestAccount, RevokeError};
use guest_store::StoreErrorKind;
use secrecy::SecretString;
use url::Url;
use web_messaging::rest::sign_in::{AuthorizationRequest, Pkce};

use super::Direct;
use super::session_row::SessionRow;
use super::storage::Storage;
use crate::Error;

/// A sign-in that has begun in this process.
#[derive(Debug)]
pub struct SignIn {
    direct: Direct,
    owner: String,
    account: GuestAccount,
    /// The request that the guest takes to the identity provider.
    pub request: AuthorizationRequest,
}

impl Direct {
    /// Begins to sign in the guest of a session. The identity provider sends the guest back to `redirect_uri`.
    ///
    /// # Errors
    /// [`Error::SignInOff`], `ErrorCode::SessionEnded`, `ErrorCode::NotFound`, [`Error::InvalidValue`], or the store's.
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
            owner: owner.to_owned(),
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
        let (jwt, guests) = (self.jwt(&record).await?, &self.shared.signed_in);
        let refresh_token = guests.refresh_token(id);
        let revoked = match jwt {
            Some(_) => guests.revoke(id).await,
            None => None,
        };
        revoked.ok_or(Error::NotSignedIn)?.map_err(|error| match error {
            RevokeError::Token(error) => Error::Token(error),
            RevokeError::Call(error) => Error::SignIn(error),
        })?;
        guests.forget(id, &self.account(&record)?.storage, refresh_token);
        let entry = record.draft(self.clock().now(), Actor::client(owner), "guest.signed_out");
        Ok(self.audit_log().log(entry).await?)
    }

    /// The JWT of a signed-in guest. `None` for an anonymous guest.
    pub(super) async fn jwt(&self, record: &SessionRow) -> Result<Option<SecretString>, Error> {
        let guests = &self.shared.signed_in;
        if let Some(jwt) = guests.jwt(&record.row.id).await {
            return Ok(Some(jwt));
        }
        let Some(refresh_token) = record.row.secrets.refresh_token.clone() else {
            return Ok(None);
        };
        let restored = guests.restore(self.account(record)?, refresh_token).await;
        restored.map(Some).map_err(Error::SignIn)
    }

    fn account(&self, record: &SessionRow) -> Result<GuestAccount, Error> {
        Ok(GuestAccount {
            session: record.row.id.clone(),
            deployment: self.deployment(&record.row.channel)?.clone(),
            storage: Arc::new(Storage::of_sign_in(self, record)),
        })
    }
}

impl SignIn {
    /// Signs the guest in with the `code` and the `state` of the redirect. Later conversations of the session connect as
    /// the signed-in guest's; open ones need [`Direct::step_up`]. A code works once.
    ///
    /// # Errors
    /// [`Error::SignInForged`] if the state is of another sign-in, [`Error::SignIn`] if Genesys Cloud refuses the code,
    /// `ErrorCode::SessionEnded`, or the store's.
    pub async fn exchange(self, state: &str, code: SecretString) -> Result<(), Error> {
        let Self {
            direct,
            owner,
            account,
            request,
        } = self;
        let sent = direct.clock().now().instant;
        let call = request.exchange(account.deployment.clone(), state, code);
        let call = call.ok_or(Error::SignInForged)?;
        let guests = &direct.shared.signed_in;
        let tokens = guests.service().call(&call).await.map_err(Error::SignIn)?;
        let stored = direct.update(&owner, &account.session, |record, now| {
            record.ensure_live(now)?;
            let entry = record.draft(now, Actor::client(owner.as_str()), "guest.signed_in");
            Ok((record.with_refresh_token(tokens.refresh_token.clone(), entry), ()))
        });
        stored.await?;
        // the tokens were checked when they arrived
        let inserted = guests.insert(account, tokens.jwt, tokens.refresh_token, sent);
        inserted.map_err(|_| StoreErrorKind::Invalid.into())
    }
}
