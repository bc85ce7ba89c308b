//! The sessions of browsers: admission by a derived credential, and a lifetime that their use extends.

use std::time::Duration;

use genesys_api::{MAX_DURATION, SessionId};
use guest_payload::NewGuest;
use guest_sessions::ErrorCode;
use guest_store::StoreErrorKind;
use time::OffsetDateTime;

use super::update::Mutation;
use super::{Admitted, Direct};
use crate::{Error, SessionInfo};

/// Shortest extension that is stored. Our choice: a session is then written at most once a minute for its use.
const MIN_EXTENSION: Duration = Duration::from_secs(60);

impl Direct {
    /// Creates a session for a guest whose id is proven, or returns the live session of that guest, as for another browser.
    /// The guest's choices are recorded there as a change of consent; attributes are not. The second value is whether the
    /// session is new.
    ///
    /// # Errors
    /// As [`Direct::create`] and [`Direct::change_consent`].
    pub async fn create_or_join(&self, owner: &str, guest: NewGuest) -> Result<(SessionInfo, bool), Error> {
        let Some(proven) = guest.guest.clone() else {
            return Ok((self.create(owner, guest, None).await?.session, true));
        };
        let (change, signals) = (guest.consent.to_change(), guest.signals);
        match self.create_allowed(owner, guest, None).await {
            Err(Error::Refused(ErrorCode::GuestIdInUse)) => {}
            created => return Ok((self.audit_denial(owner, created).await?.session, true)),
        }
        // it may end meanwhile
        let ended = || Error::from(StoreErrorKind::Busy);
        let rows = self.rows_of_guest(&proven, Some(owner)).await?;
        let live = rows.into_iter().find(|row| row.ended_at.is_none());
        let id = live.ok_or_else(ended)?.id;
        match self.change_consent(owner, &id, &change, signals).await {
            Err(Error::Refused(ErrorCode::SessionEnded)) => Err(ended()),
            changed => Ok((changed?, false)),
        }
    }

    /// Admits the browser of a live session of `owner`. `is_valid` verifies its credential with a key of the session that is
    /// stored nowhere else, and is lost with its erasure.
    ///
    /// # Errors
    /// [`ErrorCode::BadCredentials`], also for an unknown session, [`ErrorCode::SessionEnded`], or the store's.
    pub async fn admit_browser(
        &self,
        owner: &str,
        id: &SessionId,
        is_valid: impl FnOnce(&[u8; 32]) -> bool,
    ) -> Result<Admitted, Error> {
        // before the session is read, so that no end is missed
        let guard = self.shared.live.guard(id);
        let record = self.load(owner, id).await.map_err(|error| match error {
            Error::Refused(ErrorCode::NotFound) => ErrorCode::BadCredentials.into(),
            error => error,
        })?;
        if !is_valid(&record.row.secrets.browser_key()) {
            return Err(ErrorCode::BadCredentials.into());
        }
        let now = self.clock().now();
        record.ensure_live(now)?;
        let at = now.utc;
        Ok(Admitted { record, guard, at })
    }

    /// Extends a live session for its use by a browser: to the idle timeout from now on, and to at most `lifetime` from its
    /// creation. Returns the end of the lifetime of its sockets.
    ///
    /// # Errors
    /// [`ErrorCode::SessionEnded`], [`ErrorCode::NotFound`], or the store's.
    pub async fn extend_browser(
        &self,
        owner: &str,
        id: &SessionId,
        lifetime: Duration,
    ) -> Result<OffsetDateTime, Error> {
        let config = &self.shared.config;
        self.update(owner, id, |record, now| {
            record.ensure_live(now)?;
            let end = record.row.created_at + lifetime.min(MAX_DURATION);
            let idle_deadline = end.min(now.utc + config.idle_timeout);
            let expires_at = end.min(now.utc + config.access_token_lifetime);
            let is_extended = idle_deadline < record.row.idle_deadline + MIN_EXTENSION
                && expires_at < record.row.expires_at + MIN_EXTENSION
                && record.row.expires_at > now.utc;
            if is_extended {
                return Ok((Mutation::default(), record.row.expires_at));
            }
            let mut extended = record.clone();
            extended.row.idle_deadline = idle_deadline.max(record.row.idle_deadline);
            extended.row.expires_at = expires_at.max(record.row.expires_at);
            let until = extended.row.expires_at;
            Ok((extended.store().into(), until))
        })
        .await
    }
}

impl Admitted {
    /// The key from which the credentials of the session's browser are derived.
    #[must_use]
    pub fn browser_key(&self) -> [u8; 32] {
        self.record.row.secrets.browser_key()
    }
}
