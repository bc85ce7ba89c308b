//! Sign-in of guests: a code becomes a JWT, which is kept fresh and passed to the guest's conversations.
//!
//! The refresh token is stored, sealed with the session's secrets. The JWT is never stored.

use std::sync::Arc;

use genesys_api::{SessionId, SessionStage};
use guest_conversation::client::{GuestAccount, RevokeError, SignInService};
use guest_store::StoreErrorKind;
use secrecy::SecretString;
use session_metrics::EndReason;
use token_window::RefreshError;
use web_messaging::rest::sign_in::{Exchange, OauthResult};

use super::session_row::SessionRow;
use super::storage::Storage;
use super::update::Mutation;
use super::{Direct, Party};
use crate::Error;

impl Direct {
    /// Signs the guest of a session in by the result of a sign-in at the identity provider. A code works once.
    ///
    /// Later conversations of the session connect as the signed-in guest's. The newest open one goes on as that of the
    /// signed-in guest (step-up); Genesys Cloud may close the others. The event `SignedIn` or `Refused` reports it.
    ///
    /// # Errors
    /// [`Error::SignInOff`] if the deployment does not allow it, [`Error::SignIn`] if Genesys Cloud refuses the code or is
    /// not reached, `ErrorCode::SessionEnded`, `ErrorCode::NotFound`, or the store's.
    pub async fn sign_in(
        &self,
        party: impl Into<Party<'_>>,
        id: &SessionId,
        result: OauthResult,
    ) -> Result<(), Error> {
        let party = party.into();
        let record = self.load(party.owner(), id).await?;
        record.ensure_live(self.clock().now())?;
        let account = self.account(&record)?;
        let (services, _) = self.channel(&record.row.channel)?;
        let published = services.published.published(&account.deployment).await;
        let is_step_up =
            !record.document.signed_in && record.document.journey.stage() >= SessionStage::Configured;
        if let Some(known) = published.configuration
            && (!known.sign_in || (is_step_up && !known.step_up))
        {
            return Err(Error::SignInOff);
        }
        let guests = &services.signed_in;
        let sent = self.clock().now().instant;
        let call = Exchange {
            deployment: account.deployment.clone(),
            oauth: result,
            journey_context: None,
        };
        let tokens = guests.service().call(&call).await.map_err(Error::SignIn)?;
        let stored = self.update(party.owner(), id, |record, now| {
            record.ensure_live(now)?;
            let entry = record.draft(now, party.actor(&record.row), "guest.signed_in");
            let mut changed = record.clone();
            changed.document.signed_in = true;
            changed.row.secrets.refresh_token = tokens.refresh_token.clone();
            let mutation = Mutation {
                entries: vec![entry],
                ..changed.store().into()
            };
            Ok((mutation, ()))
        });
        stored.await?;
        // the tokens were checked when they arrived
        let inserted = guests.insert(account, tokens.jwt.clone(), tokens.refresh_token, sent);
        inserted.map_err(|_| Error::from(StoreErrorKind::Invalid))?;
        if let Err(error) = self.shared.live.sign_in(id, tokens.jwt) {
            tracing::debug!(session = %id, %error, "no conversation is open for the sign-in");
        }
        Ok(())
    }

    /// Signs the guest out everywhere and ends the session, which cannot go on anonymously.
    ///
    /// # Errors
    /// [`Error::NotSignedIn`]; [`Error::SignIn`] or [`Error::Token`] if Genesys Cloud did not do it: the guest is still
    /// signed in. `ErrorCode::SessionEnded`, `ErrorCode::NotFound`, or the store's.
    pub async fn sign_out(&self, party: impl Into<Party<'_>>, id: &SessionId) -> Result<(), Error> {
        let party = party.into();
        let record = self.load(party.owner(), id).await?;
        record.ensure_live(self.clock().now())?;
        if !record.document.signed_in {
            return Err(Error::NotSignedIn);
        }
        // without a valid token the guest is signed out at Genesys
        if self.jwt(&record).await?.is_some()
            && let Some(revoked) = self.channel(&record.row.channel)?.0.signed_in.revoke(id).await
        {
            revoked.map_err(|error| match error {
                RevokeError::Token(error) => Error::Token(error),
                RevokeError::Call(error) => Error::SignIn(error),
            })?;
        }
        // the event of the end has the attributes that are allowed now
        let record = self.reevaluated(record).await?;
        self.update_record(record, |record, now| {
            let actor = party.actor(&record.row);
            let entry = record.draft(now, actor.clone(), "guest.signed_out");
            let mutation = match record.row.ended_at {
                None => record.end(EndReason::SignedOut, actor, now, Some(entry)),
                // its conversation ended it
                Some(_) => entry.into(),
            };
            Ok((mutation, ()))
        })
        .await
    }

    /// The JWT of a signed-in guest. `None` for an anonymous guest, and for one whose refresh token is not accepted any
    /// more.
    pub(super) async fn jwt(&self, record: &SessionRow) -> Result<Option<SecretString>, Error> {
        let channel = self.channel(&record.row.channel);
        if let Ok((services, _)) = &channel
            && let Some(jwt) = services.signed_in.jwt(&record.row.id).await
        {
            return Ok(Some(jwt));
        }
        let Some(refresh_token) = record.row.secrets.refresh_token.clone() else {
            return Ok(None);
        };
        let guests = &channel?.0.signed_in;
        match guests.restore(self.account(record)?, refresh_token).await {
            Ok(jwt) => Ok(Some(jwt)),
            Err(error) if SignInService::refresh_error(&error) == RefreshError::Refused => Ok(None),
            Err(error) => Err(Error::SignIn(error)),
        }
    }

    fn account(&self, record: &SessionRow) -> Result<GuestAccount, Error> {
        Ok(GuestAccount {
            session: record.row.id.clone(),
            deployment: self.channel(&record.row.channel)?.1.clone(),
            storage: Arc::new(Storage::of_sign_in(self, record)),
        })
    }
}
