//! Operations on stored sessions: creation, consent, end, erasure.

use std::collections::BTreeSet;
use std::sync::Arc;

use audit::{Actor, Draft, Outcome};
use genesys_api::{Now, SessionId, entropy};
use guest_conversation::client::SessionUpdate;
use guest_payload::{AttributeWarning, ConsentChange, NewGuest, Signals};
use guest_sessions::{ErrorCode, RefreshedTokens};
use guest_store::{
    Change, KeyedRequest, Resource, Session, SessionPages, SessionQuery, SharedToken, StoredEntry, Trail,
    trail,
};
use session_metrics::{EndReason, Journey};
use time::OffsetDateTime;
use token_window::RefreshTokenFamily;
use webhook::EventName;

use super::session_row::{Document, SessionRow};
use super::update::Mutation;
use super::{Direct, Party, consent_mix};
use crate::{AuditQuery, AuditTrail, Error, SessionInfo};

/// A created session with the only copy of its tokens.
#[derive(Clone, Debug)]
pub struct Created {
    /// The session.
    pub session: SessionInfo,
    /// Its tokens.
    pub tokens: RefreshedTokens,
    /// Attributes whose names suggest sensitive data that the policy does not declare. A repeated answer has only those that
    /// were kept.
    pub warnings: Vec<AttributeWarning>,
}

impl Direct {
    /// Creates a session for `owner`, if the policy allows it. A refusal is audited. A repeated `request` with a key brings
    /// the same session with the same tokens as long as they are unused, with a new lifetime if the access token has ended.
    ///
    /// # Errors
    /// [`Error::ConsentRequired`], [`Error::InvalidValue`] for an unknown channel, [`Error::Full`], the codes of the
    /// contract, or the store's.
    pub async fn create(
        &self,
        owner: &str,
        guest: NewGuest,
        request: Option<KeyedRequest>,
    ) -> Result<Created, Error> {
        match self.created_before(request.as_ref()).await? {
            Some(Resource::Session(row)) if self.is_known(&row) => {
                return self.created_again(owner, SessionRow::load(*row)?).await;
            }
            Some(_) => return Err(ErrorCode::IdempotencyKeySpent.into()),
            None => {}
        }
        let created = self.create_allowed(owner.into(), guest, request, None).await;
        self.audit_denial(owner, created).await
    }

    /// Logs a refusal of a session.
    pub(super) async fn audit_denial(
        &self,
        owner: &str,
        created: Result<Created, Error>,
    ) -> Result<Created, Error> {
        let details = match created.as_ref().err() {
            None | Some(Error::Refused(ErrorCode::IdempotencyKeyInProgress) | Error::Store(_)) => {
                return created;
            }
            Some(Error::ConsentRequired(refused)) => refused.audit_details(),
            Some(error) => {
                let code = error.code().map_or("other", ErrorCode::as_str);
                vec![("reason".to_owned(), code.to_owned())]
            }
        };
        let now = self.clock().now().utc;
        let denial = Draft::new(now, Actor::client(owner), "session.denied").outcome(Outcome::Denied);
        self.audit_log().log_repeated(denial.details(details)).await?;
        created
    }

    /// Issues the first tokens of a session again, if they are unused.
    async fn created_again(&self, owner: &str, record: SessionRow) -> Result<Created, Error> {
        self.update_record(record, |record, now| {
            let family = record.unused_family().filter(|_| record.ensure_live(now).is_ok());
            let family = family.ok_or(ErrorCode::IdempotencyKeySpent)?;
            let entry = record.draft(now, Actor::client(owner), "token.replayed");
            let entry = entry.detail("generation", 1_i64);
            Ok(record.reissue(family, self, entry, now))
        })
        .await
    }

    pub(super) async fn create_allowed(
        &self,
        party: Party<'_>,
        mut guest: NewGuest,
        request: Option<KeyedRequest>,
        token: Option<SharedToken>,
    ) -> Result<Created, Error> {
        let config = &self.shared.config;
        let (services, _) = self.channel_of(party.owner(), &guest.channel)?;
        let rules = self.rules();
        let limit = rules.limit;
        if usize::try_from(self.shared.metrics.open()).map_or(true, |open| open >= limit) {
            return Err(Error::Full { limit });
        }
        let now = self.clock().now();
        let id = guest.guest.get_or_insert_with(|| entropy::uuid().into()).clone();
        let policy = Arc::clone(&rules.policy);
        let new = guest
            .decide(&policy, now.utc)
            .map_err(|refused| Error::ConsentRequired(Box::new(refused)))?;
        let (journey, created) = Journey::begin(now.utc);
        let mut record = SessionRow {
            row: Session::new(party.owner(), id, new.channel().clone(), now.utc),
            document: Document {
                data: new.data().clone(),
                journey,
                read_marker: None,
                read_message: None,
                tokens: None,
                signed_in: false,
                followers: BTreeSet::new(),
                organization: Some(services.organization.name.clone()),
            },
        };
        let family = RefreshTokenFamily::new(entropy::bytes());
        let tokens = record.issue(family, config, now);
        let session = record.info(now.utc);
        let metric = (record.labels(), created);
        let actor = party.actor(&record.row);
        let entry = record.draft(now, actor.clone(), "session.created");
        let entry = entry.detail("token", record.row.fingerprint(&record.row.refresh).to_string());
        let guardian = session.consent.guardian_details().map(|details| {
            let entry = record.draft(now, actor, "consent.guardian");
            entry.details(details)
        });
        let warnings = new.warnings().to_vec();
        for warning in &warnings {
            // the name of the attribute is a text of the client, and may be personal
            let category = warning.category.as_str();
            tracing::warn!(session = %session.id, category, "an undeclared attribute suggests sensitive data");
        }
        self.commit(Mutation {
            token,
            entries: [entry.details(session.consent.audit_details())]
                .into_iter()
                .chain(guardian)
                .collect(),
            events: vec![record.event(EventName::Created, now.utc)],
            deadline: Some(record.deadline(policy, now)),
            change: Some(Change::CreateSession(record.into_row())),
            request,
            metric: Some(metric),
            totals: consent_mix::additions(None, &session.consent),
            ..Mutation::default()
        })
        .await?;
        Ok(Created {
            session,
            tokens,
            warnings,
        })
    }

    /// Records a change of consent. No policy refuses a withdrawal: the attributes of the purpose are deleted here and
    /// absent from later events.
    ///
    /// # Errors
    /// [`ErrorCode::SessionEnded`], [`ErrorCode::NotFound`], [`Error::ConsentOutdated`], or the store's.
    pub async fn change_consent(
        &self,
        party: impl Into<Party<'_>>,
        id: &SessionId,
        change: &ConsentChange,
        signals: Signals,
    ) -> Result<SessionInfo, Error> {
        self.change_consent_by(party.into(), id, change, signals, None)
            .await
    }

    /// As [`Direct::change_consent`], with a token that is stored with the change.
    pub(super) async fn change_consent_by(
        &self,
        party: Party<'_>,
        id: &SessionId,
        change: &ConsentChange,
        signals: Signals,
        token: Option<SharedToken>,
    ) -> Result<SessionInfo, Error> {
        self.update(party.owner(), id, |record, now| {
            let policy = self.policy();
            let update = record.document.data.change(change, signals, &policy, now.utc);
            let update = match update {
                // the data of an ended session is still kept and sent to webhooks
                Ok(update) if update.is_withdrawal() => update,
                other => {
                    record.ensure_live(now)?;
                    other.map_err(Error::ConsentOutdated)?
                }
            };
            let action = match update.is_withdrawal() {
                true => "consent.withdrawn",
                false => "consent.changed",
            };
            let actor = party.actor(&record.row);
            let entry = record.draft(now, actor.clone(), action);
            let guardian = update.guardian_details().map(|details| {
                let entry = record.draft(now, actor, "consent.guardian");
                entry.details(details)
            });
            let (mut mutation, changed) = record.with_data(update, entry, true, now)?;
            mutation.entries.extend(guardian);
            mutation.deadline = Some(changed.deadline(policy, now));
            mutation.token.clone_from(&token);
            Ok((mutation, changed.info(now.utc)))
        })
        .await
    }

    /// Ends a session: revokes its tokens and ends its conversations in this process. Does nothing if it has ended. Its data
    /// is kept until it is erased, so that each webhook gets its events.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's.
    pub async fn end(
        &self,
        party: impl Into<Party<'_>>,
        id: &SessionId,
        reason: EndReason,
    ) -> Result<(), Error> {
        let party = party.into();
        let record = self.load(party.owner(), id).await?;
        let actor = party.actor(&record.row);
        self.end_if(record, reason, actor, None).await.map(drop)
    }

    /// As [`Direct::end`], for an admitted guest, also if the owner may no longer use the organization of the session.
    ///
    /// # Errors
    /// As [`Direct::end`].
    pub async fn end_admitted(&self, id: &SessionId, reason: EndReason) -> Result<(), Error> {
        let record = self.load_any(id).await?;
        let actor = match reason {
            EndReason::Guest => Actor::guest(record.row.pseudonym()),
            _ => Actor::system("guest-suite"),
        };
        self.end_if(record, reason, actor, None).await.map(drop)
    }

    /// Ends a live session, and returns whether it did. A session whose idle deadline was moved after `due` stays live.
    pub(super) async fn end_if(
        &self,
        record: SessionRow,
        reason: EndReason,
        actor: Actor,
        due: Option<OffsetDateTime>,
    ) -> Result<bool, Error> {
        // the event of the end has the attributes that are allowed now
        let record = self.reevaluated(record).await?;
        self.update_record(record, |record, now| {
            let is_due = due.is_none_or(|due| record.row.idle_deadline <= due);
            Ok(match record.row.ended_at.is_none() && is_due {
                true => (record.end(reason, actor.clone(), now, None), true),
                false => (Mutation::default(), false),
            })
        })
        .await
    }

    /// Erases sessions whose retention has passed, and returns their number. The webhooks of the owner get an `erased`
    /// event. The audit log keeps the entries under pseudonyms that can no longer be linked to a session. A failure of one
    /// session does not affect the others.
    ///
    /// # Errors
    /// If the sessions cannot be read.
    pub async fn erase_old(&self) -> Result<usize, Error> {
        let now = self.clock().now().utc;
        let time = now - self.shared.config.retention;
        let (mut erased, mut pages) = (0, SessionPages::of(SessionQuery::EndedBefore(time)));
        while let Some(page) = pages.next(&**self.store()).await? {
            let before = erased;
            for session in page {
                let tombstone = Draft::new(now, Actor::system("guest-suite"), "session.erased");
                match self.erase(&session, tombstone).await {
                    Ok(_) => erased += 1,
                    Err(error) => {
                        if let Some(unlogged) = self.admit_fault_line() {
                            tracing::error!(session = %session.id, %error, unlogged, "cannot erase a session");
                        }
                    }
                }
            }
            // the next page would have the same sessions
            if erased == before {
                break;
            }
        }
        Ok(erased)
    }

    /// Records this read, and returns a page of the audit entries of one session, newest first. The read is the newest
    /// entry.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's.
    pub async fn audit_trail(
        &self,
        owner: &str,
        id: &SessionId,
        query: AuditQuery,
    ) -> Result<AuditTrail<StoredEntry>, Error> {
        let record = self.load(owner, id).await?;
        self.read_trail(&record, Actor::client(owner), query).await
    }

    /// As [`Direct::audit_trail`], for an operator, who may read the sessions of all owners. Returns the session too.
    ///
    /// # Errors
    /// As [`Direct::audit_trail`].
    pub async fn operator_trail(
        &self,
        operator: Actor,
        id: &SessionId,
        query: AuditQuery,
    ) -> Result<(SessionInfo, AuditTrail<StoredEntry>), Error> {
        let record = self.load_any(id).await?;
        let trail = self.read_trail(&record, operator, query).await?;
        Ok((record.info(self.clock().now().utc), trail))
    }

    async fn read_trail(
        &self,
        record: &SessionRow,
        reader: Actor,
        query: AuditQuery,
    ) -> Result<AuditTrail<StoredEntry>, Error> {
        let read = record.draft(self.clock().now(), reader, "audit.read");
        self.commit(read.into()).await?;
        let page = Trail {
            subject: record.row.pseudonym(),
            before: query.before,
            since: query.since,
            limit: query.bounded_limit(),
        };
        let (entries, next) = trail(&**self.store(), page).await?;
        Ok(AuditTrail { entries, next })
    }
}

impl SessionRow {
    /// The end of a live session. The entry of a reuse that is the reason is stored with it.
    pub(super) fn end(&self, reason: EndReason, actor: Actor, now: Now, reuse: Option<Draft>) -> Mutation {
        // to its readers the session ended at its deadline
        let (reason, ended_at) = match self.has_lapsed(now.utc) {
            true => (EndReason::Expired, self.row.idle_deadline),
            false => (reason, now.utc),
        };
        let (actor, action) = match reason {
            EndReason::Expired => (Actor::system("guest-suite"), "session.expired"),
            _ => (actor, "session.ended"),
        };
        let mut ended = self.clone();
        let metric = ended.document.journey.end(reason, self.lifetime(ended_at));
        let entry = self
            .draft(now, actor, action)
            .detail("reason", reason.name())
            .detail("token", self.row.fingerprint(&self.row.refresh).to_string())
            .detail("stage", ended.document.journey.stage().name());
        let expired = (reason == EndReason::Expired).then_some(EventName::Expired);
        let events = [EventName::Ended].into_iter().chain(expired);
        ended.row.secrets.refresh_token = None;
        ended.row.ended_at = Some(ended_at);
        Mutation {
            entries: reuse.into_iter().chain([entry]).collect(),
            events: events.map(|name| ended.event(name, now.utc)).collect(),
            metric: metric.map(|event| (self.labels(), event)),
            update: Some((self.row.id.clone(), SessionUpdate::Ended(reason))),
            ..ended.store().into()
        }
    }
}
