//! The sessions of browsers: admission by a derived credential, and a lifetime that their use extends.

use std::time::Duration;

use genesys_api::{MAX_DURATION, SessionId, SessionStage};
use guest_payload::NewGuest;
use guest_sessions::ErrorCode;
use guest_store::{KeyedRequest, Resource, Session, SharedToken, StoreErrorKind};
use time::OffsetDateTime;

use super::session_row::SessionRow;
use super::update::Mutation;
use super::{Admitted, Direct, Party};
use crate::{Error, SessionInfo};

/// Shortest extension that is stored. Our choice: a session is then written at most once a minute for its use.
const MIN_EXTENSION: Duration = Duration::from_secs(60);

/// Extensions in one idle timeout while a socket is open. Our choice: a session outlives its last socket by at least 23 of 24
/// parts of the idle timeout.
const EXTENSIONS: u32 = 24;

impl Direct {
    /// Creates a session for a guest whose id is proven, or returns the live session of that guest, as for another browser.
    /// The guest's choices, and a lower age, are recorded there as a change of consent; attributes are not. The second value is
    /// whether the session is new. [`Direct::created_for_browser`] finds the new session of a repeated `request`. `proof` records
    /// that the proof of the id is used, and is stored with the session or the change.
    ///
    /// # Errors
    /// As [`Direct::create`] and [`Direct::change_consent`]. [`Conflict::TokenChanged`](guest_store::Conflict::TokenChanged) if
    /// `proof` was changed meanwhile: read it again.
    pub async fn create_or_join(
        &self,
        owner: &str,
        guest: NewGuest,
        request: Option<KeyedRequest>,
        proof: Option<SharedToken>,
    ) -> Result<(SessionInfo, bool), Error> {
        let party = Party::Guest { owner };
        let Some(proven) = guest.guest.clone() else {
            let created = self.create_allowed(party, guest, request, proof).await;
            return Ok((self.audit_denial(owner, created).await?.session, true));
        };
        let change = guest.consent.to_change().with_age(guest.age);
        let change = change.with_places(guest.jurisdictions.clone());
        let signals = guest.signals;
        let channel = guest.channel.clone();
        match self.create_allowed(party, guest, request, proof.clone()).await {
            Err(Error::Refused(ErrorCode::GuestIdInUse)) => {}
            created => return Ok((self.audit_denial(owner, created).await?.session, true)),
        }
        // it may end meanwhile
        let ended = || Error::from(StoreErrorKind::Busy);
        let rows = self.rows_of_guest(&proven, Some(owner)).await?;
        let live = rows.into_iter().find(|row| row.ended_at.is_none());
        let Session {
            id, channel: joined, ..
        } = live.ok_or_else(ended)?;
        // the conversation is that of another deployment
        if joined != channel {
            return Err(ErrorCode::GuestIdInUse.into());
        }
        match self.change_consent_by(party, &id, &change, signals, proof).await {
            Err(Error::Refused(ErrorCode::SessionEnded)) => Err(ended()),
            changed => Ok((changed?, false)),
        }
    }

    /// Returns the live session of `owner` that the same `request` created, as long as its guest has not opened a conversation.
    /// The answer was lost then, and the browser gets its credential again.
    ///
    /// # Errors
    /// [`ErrorCode::IdempotencyKeySpent`], [`ErrorCode::IdempotencyKeyReused`], or the store's.
    pub async fn created_for_browser(
        &self,
        owner: &str,
        request: &KeyedRequest,
    ) -> Result<Option<SessionInfo>, Error> {
        let row = match self.created_before(Some(request)).await? {
            None => return Ok(None),
            Some(Resource::Session(row)) if row.owner == owner && self.is_known(&row) => *row,
            Some(_) => return Err(ErrorCode::IdempotencyKeySpent.into()),
        };
        let (record, now) = (SessionRow::load(row)?, self.clock().now());
        let is_unused = record.document.journey.stage() == SessionStage::Created;
        if !is_unused || record.ensure_live(now).is_err() {
            return Err(ErrorCode::IdempotencyKeySpent.into());
        }
        let actor = Party::Guest { owner }.actor(&record.row);
        let entry = record.draft(now, actor, "token.replayed");
        self.audit_log().log_repeated(entry).await?;
        Ok(Some(record.info(now.utc)))
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
        let (record, at) = (Box::new(record), now.utc);
        Ok(Admitted { record, guard, at })
    }

    /// Extends a live session for its use by a browser: to the idle timeout from now on, and to at most `lifetime` from its
    /// creation. Returns the time of the next extension, if the browser still uses it then.
    ///
    /// # Errors
    /// [`ErrorCode::SessionEnded`], also after `lifetime`, [`ErrorCode::NotFound`], or the store's.
    pub async fn extend_browser(
        &self,
        owner: &str,
        id: &SessionId,
        lifetime: Duration,
    ) -> Result<OffsetDateTime, Error> {
        let idle_timeout = self.shared.config.idle_timeout;
        self.update(owner, id, |record, now| {
            record.ensure_live(now)?;
            let end = record.row.created_at + lifetime.min(MAX_DURATION);
            if end <= now.utc {
                return Err(ErrorCode::SessionEnded.into());
            }
            let next = end.min(now.utc + idle_timeout / EXTENSIONS);
            let idle_deadline = end.min(now.utc + idle_timeout);
            if idle_deadline < record.row.idle_deadline + MIN_EXTENSION {
                return Ok((Mutation::default(), next));
            }
            let mut extended = record.clone();
            extended.row.idle_deadline = idle_deadline;
            Ok((extended.store().into(), next))
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

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    //! The lifetime of a browser's session.

    use genesys_api::Hosts;
    use guest_payload::{Policy, Purpose, Reason};

    use super::*;
    use crate::direct::DirectConfig;

    fn config() -> DirectConfig {
        DirectConfig::new(Hosts::of_domain("mypurecloud.de").unwrap())
            .unwrap()
            .with_channel("shop-chat".parse().unwrap(), "d-1".parse().unwrap())
    }

    #[tokio::test]
    async fn join_of_child_switches_off_what_an_adult_granted() {
        let mut config = config();
        config.rules.policy = Policy::purpose_scoped().into();
        let direct = Direct::open(config).await.unwrap();
        let now = direct.clock().now().utc;
        let consents = [
            r#"{"marketing": true}"#,
            r#"{"marketing": true, "age": "under 13"}"#,
        ];
        let guests = consents.map(|consent| {
            let body = format!(
                r#"{{"channelConfigurationId": "shop-chat", "guestId": "g-1", "guestAttributes": {{"region": "DE"}},
                "consent": {consent}}}"#
            );
            NewGuest::parse(body.as_bytes(), Default::default(), now).unwrap()
        });
        let mut reasons = Vec::new();
        for guest in guests {
            let (session, _) = direct.create_or_join("shop", guest, None, None).await.unwrap();
            reasons.push(session.consent.purpose(Purpose::Marketing).reason);
        }
        assert_eq!(reasons, [Reason::Granted, Reason::GuardianNeeded]);
    }

    #[tokio::test]
    async fn join_from_another_place_is_under_the_rules_of_both() {
        let mut config = config();
        config.rules.policy = Policy::purpose_scoped().into();
        let direct = Direct::open(config).await.unwrap();
        let now = direct.clock().now().utc;
        let mut reasons = Vec::new();
        for place in ["US", "FR"] {
            let body = format!(
                r#"{{"channelConfigurationId": "shop-chat", "guestId": "g-1", "guestAttributes": {{"region": "{place}"}},
                "consent": {{}}}}"#
            );
            let guest = NewGuest::parse(body.as_bytes(), Default::default(), now).unwrap();
            let (session, _) = direct.create_or_join("shop", guest, None, None).await.unwrap();
            reasons.push(session.consent.purpose(Purpose::Marketing).reason);
        }
        assert_eq!(reasons, [Reason::NotObjected, Reason::NotGranted]);
    }

    #[tokio::test]
    async fn session_is_not_extended_after_its_lifetime() {
        let direct = Direct::open(config()).await.unwrap();
        let clock = direct.clock().clone();
        let body = br#"{"channelConfigurationId": "shop-chat", "guestAttributes": {"region": "EU"},
            "consent": {"marketing": true, "personalization": true, "analytics": false}}"#;
        let guest = NewGuest::parse(body, Default::default(), clock.now().utc).unwrap();
        let (session, _) = direct.create_or_join("shop", guest, None, None).await.unwrap();
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        clock.advance(hours(2));
        let next = direct
            .extend_browser("shop", &session.id, hours(3))
            .await
            .unwrap();
        // the store keeps microseconds
        assert!((session.created_at + hours(3) - next).abs() < Duration::from_micros(1));
        // the lifetime was made shorter
        let ended = direct.extend_browser("shop", &session.id, hours(1)).await;
        assert!(matches!(ended, Err(Error::Refused(ErrorCode::SessionEnded))));
    }
}
