//! A guest's change of mind.

use audit::{Action, Actor, Draft};
use genesys_api::SessionId;
use guest_payload::{ConsentChange, Signals};
use guest_store::{Change, Unit};
use webhook::EventName;

use super::conversation::{News, custom_attributes};
use super::record::{consent_detail, purpose_detail};
use super::update::Work;
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
            let (consent, changed) = record
                .document
                .consent
                .change(change, signals, self.shared.config.policy, now.utc)
                .map_err(DirectError::ConsentOutdated)?;
            let withdrawn = changed
                .iter()
                .any(|changed| changed.before.on && !changed.after.on);
            let action = if withdrawn {
                Action::ConsentWithdrawn
            } else {
                Action::ConsentChanged
            };
            let mut entry = Draft::new(now.utc, Actor::client(owner), action).subject(record.subject());
            for changed in &changed {
                entry = entry.detail(
                    format!("before.{}", changed.purpose),
                    purpose_detail(&changed.before),
                );
            }
            for (key, value) in consent_detail(&consent) {
                entry = entry.detail(key, value);
            }
            let mut changed = record.clone();
            changed.document.consent = consent;
            let attributes = changed.lawful_attributes();
            let news = News::Attributes(custom_attributes(&attributes));
            changed.document.attributes = attributes.into();
            let state = changed.info();
            let event = changed.event(EventName::Updated, now.utc);
            let unit = Unit {
                change: Some(Change::UpdateSession(changed.into_row())),
                entries: vec![entry],
                events: vec![event],
            };
            let work = Work {
                unit,
                counted: None,
                news: Some((id.clone(), news)),
            };
            Ok((work, state))
        })
        .await
    }
}
