//! The row of one session as the storage of its conversation and of its sign-in.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use audit::Actor;
use genesys_api::{SessionId, SessionStage};
use guest_conversation::client::{Activity, ReadMarker, SessionStorage, StorageFuture};
use guest_sessions::ErrorCode;
use guest_store::{Change, StoreErrorKind};
use secrecy::{ExposeSecret as _, SecretString};
use token_window::RefreshError;
use webhook::EventName;

use super::session_row::SessionRow;
use super::update::Mutation;
use super::{Direct, Shared};
use crate::Error;

/// The row of one session.
#[derive(Debug)]
pub(super) struct Storage {
    shared: Weak<Shared>,
    /// Keeps the sessions for a conversation. They own the storage of a sign-in, which must not keep them.
    _sessions: Option<Direct>,
    owner: String,
    id: SessionId,
    /// The last version of the row that was read or written, until the session is configured.
    record: Mutex<Option<Box<SessionRow>>>,
}

impl Storage {
    pub(super) fn of_conversation(sessions: &Direct, record: SessionRow) -> Self {
        Self {
            _sessions: Some(sessions.clone()),
            record: Mutex::new(unconfigured(record.clone())),
            ..Self::of_sign_in(sessions, &record)
        }
    }

    pub(super) fn of_sign_in(sessions: &Direct, record: &SessionRow) -> Self {
        Self {
            shared: Arc::downgrade(&sessions.shared),
            _sessions: None,
            owner: record.row.owner.clone(),
            id: record.row.id.clone(),
            record: Mutex::default(),
        }
    }

    fn direct(&self) -> Option<Direct> {
        let shared = self.shared.upgrade()?;
        Some(Direct { shared })
    }

    async fn try_store_stage(&self, stage: SessionStage) -> Result<SessionStage, Error> {
        let direct = self.direct().ok_or(StoreErrorKind::Unavailable)?;
        let known = self.record.lock().unwrap_or_else(PoisonError::into_inner).take();
        let record = match known {
            Some(record) => *record,
            None => direct.load_any(&self.id).await?,
        };
        let record = direct.reach(record, stage).await?;
        let reached = record.document.journey.stage();
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = unconfigured(record);
        Ok(reached)
    }

    async fn try_store_activity(&self, activity: Activity) -> Result<(), Error> {
        let event = match activity {
            Activity::MessageReceived => EventName::MessageReceived,
            Activity::Reconnected => EventName::Reconnected,
        };
        let direct = self.direct().ok_or(StoreErrorKind::Unavailable)?;
        if !direct.is_subscribed(&self.owner, event).await? {
            return Ok(());
        }
        direct
            .update_any(&self.id, |record, now| {
                if record.row.ended_at.is_some() {
                    return Ok((Mutation::default(), ()));
                }
                let events = vec![record.event(event, now.utc)];
                let change = record.clone().store();
                Ok((
                    Mutation {
                        events,
                        ..change.into()
                    },
                    (),
                ))
            })
            .await
    }
}

/// The row, if a later stage is to be expected soon.
fn unconfigured(record: SessionRow) -> Option<Box<SessionRow>> {
    (record.document.journey.stage() < SessionStage::Configured).then(|| Box::new(record))
}

impl SessionStorage for Storage {
    fn is_live(&self) -> StorageFuture<'_, Result<bool, RefreshError>> {
        Box::pin(async {
            let Some(direct) = self.direct() else {
                return Ok(false);
            };
            match direct.load_any(&self.id).await {
                Ok(record) => Ok(record.ensure_live(direct.clock().now()).is_ok()),
                Err(Error::Refused(ErrorCode::NotFound)) => Ok(false),
                Err(error) => {
                    if let Some(unlogged) = direct.admit_fault_line() {
                        tracing::warn!(session = %self.id, %error, unlogged, "cannot read the session of a signed-in guest");
                    }
                    Err(RefreshError::Transient { retry_after: None })
                }
            }
        })
    }

    fn delete_refresh_token(&self, refresh_token: SecretString) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            let Some(direct) = self.direct() else { return };
            let deleted = direct.update_any(&self.id, |record, now| {
                let stored = record.row.secrets.refresh_token.as_ref();
                let is_stored =
                    stored.is_some_and(|stored| stored.expose_secret() == refresh_token.expose_secret());
                let mutation = is_stored.then(|| {
                    let entry = record.draft(now, Actor::system("guest-suite"), "guest.token_deleted");
                    let mut changed = record.clone();
                    changed.row.secrets.refresh_token = None;
                    Mutation {
                        entries: vec![entry],
                        ..changed.store().into()
                    }
                });
                Ok((mutation.unwrap_or_default(), ()))
            });
            if let Err(error) = deleted.await
                && let Some(unlogged) = direct.admit_fault_line()
            {
                tracing::warn!(session = %self.id, %error, unlogged, "cannot delete an invalid refresh token from the store");
            }
        })
    }

    fn store_read_marker(&self, marker: ReadMarker) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            let Some(direct) = self.direct() else { return };
            let stored = direct.update_any(&self.id, |record, _| {
                let known = &record.document;
                let is_known = known.read_marker == Some(marker.at)
                    && known.read_message.as_ref() == Some(&marker.message);
                if record.row.ended_at.is_some() || known.read_marker > Some(marker.at) || is_known {
                    return Ok((Mutation::default(), ()));
                }
                let mut changed = record.clone();
                changed.document.read_marker = Some(marker.at);
                changed.document.read_message = Some(marker.message.clone());
                Ok((Change::UpdateSession(changed.into_row()).into(), ()))
            });
            match stored.await {
                // an erased session needs no marker
                Ok(()) | Err(Error::Refused(ErrorCode::NotFound)) => {}
                Err(error) => {
                    if let Some(unlogged) = direct.admit_fault_line() {
                        tracing::warn!(session = %self.id, %error, unlogged, "cannot store the read marker: messages may be delivered twice");
                    }
                }
            }
        })
    }

    fn store_activity(&self, activity: Activity) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            match self.try_store_activity(activity).await {
                // an erased session has no events
                Ok(()) | Err(Error::Refused(ErrorCode::NotFound)) => {}
                Err(error) => {
                    let Some(direct) = self.direct() else { return };
                    direct.count_lost_event();
                    if let Some(unlogged) = direct.admit_fault_line() {
                        tracing::warn!(session = %self.id, ?activity, %error, unlogged, "cannot store an event for webhooks: they do not get it");
                    }
                }
            }
        })
    }

    fn store_stage(&self, stage: SessionStage) -> StorageFuture<'_, Option<SessionStage>> {
        Box::pin(async move {
            let stored = self.try_store_stage(stage).await.inspect_err(|error| {
                if let Some(unlogged) = self.direct().and_then(|direct| direct.admit_fault_line()) {
                    tracing::warn!(session = %self.id, %stage, %error, unlogged, "cannot store the stage of the session");
                }
            });
            stored.ok()
        })
    }
}
