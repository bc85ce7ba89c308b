//! A guest's change of mind.

use audit::{Actor, Draft};
use genesys_api::SessionId;
use guest_payload::{ConsentChange, Signals};
use guest_store::{Change, Unit};
use webhook::EventName;

use super::conversation::{SessionUpdate, custom_attributes};
use super::session_row::with_details;
use super::update::Mutation;
use super::{Direct, DirectError};
use crate::SessionInfo;

impl Direct {
    /// Records a change of consent. A withdrawal is always taken: the purpose goes off, and its attributes are
    /// forgotten here and left out of every later event.
    ///
    /// # Errors
    /// [`DirectError::Ended`], [`DirectError::NotFound`], [`DirectError::ConsentOutdated`], or the store's.
    pub async fn change_consent(
        &self,
        owner: &str,
        id: &SessionId,
        change: &ConsentChange,
        signals: Signals,
    ) -> Result<SessionInfo, DirectError> {
        self.update(owner, id, |record, now| {
            record.ensure_live(now)?;
            let data = &record.document.data;
            let update = data
                .change(change, signals, self.shared.config.policy, now.utc)
                .map_err(DirectError::ConsentOutdated)?;
            let action = match update.is_withdrawal() {
                true => "consent.withdrawn",
                false => "consent.changed",
            };
            let entry = Draft::new(now.utc, Actor::client(owner), action).subject(record.subject());
            let entry = with_details(entry, update.audit_details());
            let mut changed = record.clone();
            changed.document.data = update.data;
            let update = SessionUpdate::Attributes(custom_attributes(&changed.document.data));
            let state = changed.info();
            let event = changed.event(EventName::Updated, now.utc);
            let unit = Unit {
                change: Some(Change::UpdateSession(changed.into_row())),
                entries: vec![entry],
                events: vec![event],
            };
            let mutation = Mutation {
                unit,
                metric: None,
                update: Some((id.clone(), update)),
            };
            Ok((mutation, state))
        })
        .await
    }
}
