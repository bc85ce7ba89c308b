//! The row of a session with its parsed document.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use audit::{Actor, Draft, Pseudonym};
use bytes::Bytes;
use genesys_api::{ChannelId, Now, SessionState, WebhookId, entropy};
use guest_conversation::client::SessionUpdate;
use guest_payload::{ConsentUpdate, GuestData, Policy};
use guest_sessions::{ErrorCode, SessionEvent};
use guest_store::{Change, Event, Leased, Payload, Session, StoreErrorKind, Webhook};
use serde::{Deserialize, Serialize};
use session_metrics::{EndReason, Group, Journey, Metrics};
use time::OffsetDateTime;
use time::serde::timestamp::milliseconds::option as milliseconds;
use token_window::RefreshTokenFamily;
use web_messaging::CustomAttributes;
use webhook::{Conditions, EventName, Subscription};

use super::consent_mix;
use super::update::{Deadline, Mutation};
use crate::{Error, SessionInfo};

/// A row of the store with its parsed document.
#[derive(Clone, Debug)]
pub(super) struct SessionRow {
    /// The row. Its `document` holds the bytes that were loaded.
    pub(super) row: Session,
    pub(super) document: Document,
}

/// The part of a session that no query needs. The store seals it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Document {
    /// Stands beside the other fields, as in documents of earlier versions.
    #[serde(flatten)]
    pub(super) data: GuestData,
    #[serde(flatten)]
    pub(super) journey: Journey,
    /// Service timestamp of the last delivered message.
    #[serde(default, alias = "heard", with = "milliseconds")]
    pub(super) read_marker: Option<OffsetDateTime>,
    /// Id of the last delivered message. Documents of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) read_message: Option<String>,
    /// The family of its tokens. Documents of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<RefreshTokenFamily>,
    /// Whether the guest signed in. The session at Genesys Cloud cannot be anonymous again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) signed_in: bool,
    /// The receivers of webhooks with conditions on attributes that it met once.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) followers: BTreeSet<String>,
    /// The organization of its channel. Documents of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) organization: Option<String>,
}

/// The labels of a session's figures.
#[derive(Debug)]
pub(super) struct Labels {
    channel: ChannelId,
    jurisdiction: &'static str,
}

impl Labels {
    pub(super) fn group(&self, metrics: &Metrics) -> Group {
        metrics.group(self.channel.as_str(), self.jurisdiction)
    }
}

impl SessionRow {
    pub(super) fn load(row: Session) -> Result<Self, Error> {
        let document = serde_json::from_slice(&row.document).map_err(|_| StoreErrorKind::Corrupt)?;
        Ok(Self { row, document })
    }

    /// The row with the current document.
    pub(super) fn into_row(self) -> Session {
        let document = serde_json::to_vec(&self.document).expect("a document is plain data with text keys");
        Session {
            document: document.into(),
            ..self.row
        }
    }

    /// The change that stores this state. The version is then the stored one.
    pub(super) fn store(&mut self) -> Change {
        let change = Change::UpdateSession(self.clone().into_row());
        self.row.version += 1;
        change
    }

    /// An audit entry on this session.
    pub(super) fn draft(&self, now: Now, actor: Actor, action: &'static str) -> Draft {
        Draft::new(now.utc, actor, action).subject(self.row.pseudonym())
    }

    /// The labels of its figures.
    pub(super) fn labels(&self) -> Labels {
        Labels {
            channel: self.row.channel.clone(),
            jurisdiction: consent_mix::label(self.document.data.consent()),
        }
    }

    /// Replaces the guest's data after a change of consent. The webhooks get `events`.
    ///
    /// # Errors
    /// As [`custom_attributes`].
    pub(super) fn with_data(
        &self,
        update: ConsentUpdate,
        entry: Draft,
        events: bool,
        now: Now,
    ) -> Result<(Mutation, Self), Error> {
        let entry = entry.details(update.audit_details());
        let mut changed = self.clone();
        changed.document.data = update.data;
        let attributes = SessionUpdate::Attributes(custom_attributes(&changed.document.data)?);
        let names = [EventName::Updated, EventName::ConsentChanged];
        let names = names.into_iter().filter(|_| events);
        let mutation = Mutation {
            entries: vec![entry],
            events: names.map(|name| changed.event(name, now.utc)).collect(),
            update: Some((self.row.id.clone(), attributes)),
            totals: consent_mix::additions(
                Some(self.document.data.consent()),
                changed.document.data.consent(),
            ),
            ..changed.store().into()
        };
        Ok((mutation, changed))
    }

    /// The end of the idle timeout, or the time at which another decision than the one of `now` is possible.
    pub(super) fn next_deadline(&self, policy: &Policy, now: Now) -> OffsetDateTime {
        let due = self.document.data.reevaluation_due(policy, now.utc);
        due.into_iter().fold(self.row.idle_deadline, OffsetDateTime::min)
    }

    /// Its next deadline after a decision by `policy`.
    pub(super) fn deadline(&self, policy: Arc<Policy>, now: Now) -> Deadline {
        Deadline {
            id: self.row.id.clone(),
            at: self.next_deadline(&policy, now),
            policy,
        }
    }

    /// Fails if the session has ended, or its idle timeout has passed.
    pub(super) fn ensure_live(&self, now: Now) -> Result<(), Error> {
        let is_live = self.row.ended_at.is_none() && self.row.idle_deadline > now.utc;
        Ok(is_live.then_some(()).ok_or(ErrorCode::SessionEnded)?)
    }

    /// The session as it is at `now`. One whose idle timeout has passed has ended, also before that is stored.
    pub(super) fn info(&self, now: OffsetDateTime) -> SessionInfo {
        let row = &self.row;
        let lapsed = self
            .has_lapsed(now)
            .then_some((row.idle_deadline, EndReason::Expired));
        let end = row.ended_at.map(|at| (at, self.end_reason())).or(lapsed);
        SessionInfo {
            id: row.id.clone(),
            guest_id: row.guest.clone(),
            state: match end {
                Some(_) => SessionState::Ended,
                None => SessionState::Live(self.document.journey.stage()),
            },
            created_at: row.created_at,
            expires_at: row.expires_at,
            ended_at: end.map(|(at, _)| at),
            end_reason: end.map(|(_, reason)| reason.name().to_owned()),
            consent: self.document.data.consent().clone(),
        }
    }

    /// Whether the session meets the conditions now, with the attributes that may be sent.
    pub(super) fn meets(&self, conditions: &Conditions) -> bool {
        let data = &self.document.data;
        let places = data.consent().jurisdictions.iter();
        let places = places
            .flat_map(|place| place.ancestors())
            .map(|place| place.as_str());
        let attribute = |name: &str| data.attributes().find(|(key, _)| *key == name);
        conditions.are_met(places, |name| attribute(name).map(|(_, value)| value))
    }

    /// The receiver of a webhook, as `followers` has it: another URL is another one, which was sent nothing.
    pub(super) fn receiver(&self, webhook: &WebhookId, subscription: &Subscription) -> String {
        let name = format!("{webhook} {}", subscription.target.as_str());
        Pseudonym::of(&self.row.secrets.subject_key, &name).to_string()
    }

    /// Whether the session is live in the store although its idle timeout has passed.
    pub(super) fn has_lapsed(&self, now: OffsetDateTime) -> bool {
        self.row.ended_at.is_none() && self.row.idle_deadline <= now
    }

    fn end_reason(&self) -> EndReason {
        self.document.journey.end_reason().unwrap_or(EndReason::Error)
    }

    /// Time from the creation to `end`.
    pub(super) fn lifetime(&self, end: OffsetDateTime) -> Duration {
        Duration::try_from(end - self.row.created_at).unwrap_or_default()
    }

    /// An event for webhooks. `sequence` grows with each change of the session, because deliveries may arrive in another
    /// order.
    pub(super) fn event(&self, name: EventName, at: OffsetDateTime) -> Event {
        let row = &self.row;
        Event {
            id: entropy::ordered_uuid(at).to_string(),
            owner: row.owner.clone(),
            session: row.id.clone(),
            sequence: row.version + 1,
            name: name.as_str().to_owned(),
            at,
        }
    }

    /// The body of a delivery about this session at `now`, and the audit entry of its disclosure. An event that this version
    /// does not know has none.
    ///
    /// The entry has the id of the delivery under the subject key: the receiver's log, which has the id too, links it to the
    /// session no longer than that key exists.
    pub(super) fn delivery_body(
        &self,
        delivery: &Leased,
        subscription: &Subscription,
        now: Now,
    ) -> Option<(Bytes, Draft)> {
        let (name, at, sequence, range) = match &delivery.payload {
            Payload::Event { name, sequence, .. } => (name.parse().ok()?, delivery.at, *sequence, None),
            Payload::Snapshot { range, .. } => (EventName::Snapshot, now.utc, self.row.version, Some(range)),
            Payload::Erased { .. } => return None,
        };
        let session = self.info(now.utc);
        let event = self.session_event(&session, subscription, sequence, range);
        let id = Pseudonym::of(&self.row.secrets.subject_key, &delivery.id);
        let entry = self
            .draft(now, Actor::system("guest-suite"), "webhook.delivered")
            .detail("webhook", delivery.webhook.id.as_str())
            .detail("delivery", id.to_string())
            .detail("event", name.as_str())
            .detail("sequence", sequence);
        Some((
            event.to_bytes(name, at),
            entry.details(event.disclosure_details()),
        ))
    }

    /// The body that an `updated` event of this session would have at `now`, and the audit entry of showing it.
    pub(super) fn preview(&self, webhook: &Webhook, subscription: &Subscription, now: Now) -> (Bytes, Draft) {
        let session = self.info(now.utc);
        let event = self.session_event(&session, subscription, self.row.version, None);
        let entry = self
            .draft(now, Actor::client(webhook.owner.as_str()), "webhook.previewed")
            .detail("webhook", webhook.id.as_str());
        (
            event.to_bytes(EventName::Updated, now.utc),
            entry.details(event.disclosure_details()),
        )
    }

    fn session_event<'a>(
        &'a self,
        session: &'a SessionInfo,
        subscription: &'a Subscription,
        sequence: u64,
        range: Option<&'a RangeInclusive<u64>>,
    ) -> SessionEvent<'a> {
        SessionEvent {
            session,
            channel: &self.row.channel,
            data: &self.document.data,
            sequence,
            range,
            fields: &subscription.fields,
            // a constant may stand for the attribute that a condition chooses
            with_constants: self.meets(&subscription.conditions),
        }
    }
}

/// The attributes that may be sent to Genesys.
///
/// # Errors
/// If the stored attributes exceed the limit, which the store's own writes do not.
pub(super) fn custom_attributes(data: &GuestData) -> Result<CustomAttributes, Error> {
    let owned = data
        .attributes()
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    CustomAttributes::new(owned.collect()).map_err(|_| Error::Store(StoreErrorKind::Corrupt.into()))
}

#[cfg(test)]
mod tests {
    use genesys_api::parse_rfc3339;
    use std::time::Instant;

    use genesys_api::SessionStage;
    use guest_payload::{Choice, Consent, Evidence, NewGuest, Policy};
    use guest_store::{SessionSecrets, StoreErrorKind, TokenHash};
    use secrecy::ExposeSecret as _;

    use super::*;

    fn at() -> OffsetDateTime {
        parse_rfc3339("2026-11-22T12:30:00.125Z").unwrap()
    }

    /// An EU guest who agreed to all but marketing, as the store has it.
    fn row() -> Session {
        let choices = [Choice::Denied, Choice::Granted, Choice::Granted];
        let consent = Consent::together(choices, Evidence::at(at()));
        let mut guest = NewGuest::new("c".parse().unwrap(), "EU".parse().unwrap(), consent);
        guest.attributes.insert("source", "web").unwrap();
        guest.attributes.insert("marketing.segment", "canary").unwrap();
        let new = guest.decide(Policy::purpose_scoped(), at()).unwrap();
        let (mut journey, _) = Journey::begin(at());
        let _ = journey.reach(SessionStage::FirstGuestMessage, at());
        let _ = journey.reach(SessionStage::FirstReply, at() + Duration::from_millis(40));
        let document = Document {
            data: new.data().clone(),
            journey,
            read_marker: Some(at()),
            read_message: Some("m-1".to_owned()),
            tokens: None,
            signed_in: false,
            followers: BTreeSet::new(),
            organization: None,
        };
        Session {
            id: "s-1".parse().unwrap(),
            owner: "o".to_owned(),
            guest: "g".parse().unwrap(),
            channel: new.channel().clone(),
            created_at: at(),
            expires_at: at(),
            idle_deadline: at() + Duration::from_secs(60),
            ended_at: None,
            access: TokenHash::of("a"),
            refresh: TokenHash::of("r"),
            previous_refresh: None,
            generation: 1,
            version: 4,
            secrets: SessionSecrets::random(),
            document: serde_json::to_vec(&document).unwrap().into(),
        }
    }

    #[test]
    fn session_row_reads_back() {
        let row = row();
        let record = SessionRow::load(row.clone()).unwrap();
        assert_eq!(record.document.journey.stage(), SessionStage::FirstReply);
        assert_eq!(record.document.read_marker, Some(at()));
        assert_eq!(
            record.info(at()).state,
            SessionState::Live(SessionStage::FirstReply)
        );
        let again = record.clone().into_row();
        assert_eq!(again.document, row.document);
        assert_eq!(
            SessionRow::load(again).unwrap().row.pseudonym(),
            record.row.pseudonym()
        );
    }

    #[test]
    fn document_of_earlier_version_is_read() {
        let mut row = row();
        let journey = SessionRow::load(row.clone()).unwrap().document.journey;
        let mut document: serde_json::Value = serde_json::from_slice(&row.document).unwrap();
        let fields = document.as_object_mut().unwrap();
        assert!(
            fields.contains_key("consent") && fields.contains_key("attributes"),
            "{fields:?}"
        );
        for (name, earlier) in [
            ("read_marker", "heard"),
            ("since", "asked_at"),
            ("reply_time_ms", "waited_ms"),
        ] {
            let value = fields.remove(name).unwrap();
            fields.insert(earlier.to_owned(), value);
        }
        row.document = document.to_string().into();
        let read = SessionRow::load(row).unwrap().document;
        assert_eq!((read.read_marker, read.journey), (Some(at()), journey));
    }

    #[test]
    fn refresh_token_is_sealed_with_secrets_until_removed() {
        let row = row();
        let mut record = SessionRow::load(row.clone()).unwrap();
        assert!(record.row.secrets.refresh_token.is_none());
        record.row.secrets.refresh_token = Some("canary".into());
        let mut again = SessionRow::load(record.into_row()).unwrap();
        let refresh_token = again.row.secrets.refresh_token.as_ref();
        assert_eq!(refresh_token.unwrap().expose_secret(), "canary");
        assert!(!format!("{again:?}").contains("canary"));
        again.row.secrets.refresh_token = None;
        let out = again.into_row();
        assert!(out.secrets.refresh_token.is_none());
        assert_eq!(out.secrets.subject_key, row.secrets.subject_key);
    }

    #[test]
    fn attributes_without_consent_are_not_stored() {
        let row = row();
        assert!(!String::from_utf8_lossy(&row.document).contains("canary"));
    }

    #[test]
    fn session_is_live_until_end_or_idle_timeout() {
        let mut record = SessionRow::load(row()).unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        let instant = Instant::now();
        let after = |seconds| Now {
            instant,
            utc: at() + Duration::from_secs(seconds),
        };
        assert!(record.ensure_live(after(59)).is_ok());
        assert!(matches!(
            record.ensure_live(after(60)),
            Err(Error::Refused(ErrorCode::SessionEnded))
        ));
        record.row.ended_at = Some(at());
        assert!(matches!(
            record.ensure_live(after(0)),
            Err(Error::Refused(ErrorCode::SessionEnded))
        ));
    }

    #[test]
    fn session_is_shown_as_expired_from_its_idle_timeout_on() {
        let record = SessionRow::load(row()).unwrap();
        let deadline = record.row.idle_deadline;
        let before = record.info(deadline - Duration::from_micros(1));
        assert_eq!(before.state, SessionState::Live(SessionStage::FirstReply));
        assert_eq!((before.ended_at, before.end_reason), (None, None));
        let after = record.info(deadline);
        assert_eq!(after.state, SessionState::Ended);
        assert_eq!(after.ended_at, Some(deadline));
        assert_eq!(after.end_reason.as_deref(), Some("expired"));
    }

    #[test]
    fn damaged_document_is_corrupt() {
        for document in ["", "{}", "[]", "\"nowhere\""] {
            let mut row = row();
            row.document = document.into();
            let error = SessionRow::load(row).unwrap_err();
            let corrupt = matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Corrupt);
            assert!(corrupt, "{error:?}");
        }
    }

    #[test]
    fn session_row_debug_holds_no_secret() {
        let record = SessionRow::load(row()).unwrap();
        let shown = format!("{record:?}");
        let secret = record.row.secrets.genesys_token.expose_secret();
        assert!(secret.len() >= 36 && !shown.contains(secret), "{shown}");
    }
}
