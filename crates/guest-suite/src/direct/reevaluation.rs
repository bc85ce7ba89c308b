//! Re-evaluation of stored decisions: after a change of the policy, as agreements expire, and before data leaves.

use std::time::Duration;

use audit::Actor;
use genesys_api::Now;
use guest_payload::ConsentUpdate;
use guest_store::{Session, SessionPages, SessionQuery};

use super::Direct;
use super::session_row::SessionRow;
use super::update::Mutation;
use crate::Error;

/// Time between two pages of live sessions, after the first pass over all of them. Our choice.
const PAGE_INTERVAL: Duration = Duration::from_secs(15);

impl Direct {
    /// Re-evaluates the live sessions until it is dropped: all of them at once, then 1,000 every 15 s.
    ///
    /// The first pass finds the decisions of another policy. The later ones find those that expire. They read sessions
    /// rather than an index of expiries, which each change of a session, of its consent and of the policy would have to
    /// keep. A pass over 100,000 sessions takes 25 minutes, while an agreement lasts for days, and data that leaves before
    /// is re-evaluated by [`Direct::reevaluated`].
    pub(super) async fn reevaluate_live(&self) {
        let first_page = || SessionPages::of(SessionQuery::Live(None));
        let (mut pages, mut is_first_pass) = (first_page(), true);
        loop {
            match pages.next(&**self.store()).await {
                Ok(Some(page)) => {
                    self.reevaluate_page(page).await;
                    if is_first_pass {
                        continue;
                    }
                }
                Ok(None) => {
                    pages = first_page();
                    if !std::mem::take(&mut is_first_pass) {
                        continue;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot read the sessions whose consent is to be re-evaluated, trying again");
                }
            }
            self.clock().sleep(PAGE_INTERVAL).await;
        }
    }

    /// Re-evaluates a page of live sessions. A failure of one session does not affect the others.
    async fn reevaluate_page(&self, page: Vec<Session>) {
        for session in page {
            let id = session.id.clone();
            let reevaluated = match SessionRow::load(session) {
                Ok(record) => self.reevaluated(record).await,
                Err(error) => Err(error),
            };
            match reevaluated {
                // it was erased meanwhile
                Ok(_) | Err(Error::NotFound) => {}
                Err(error) => {
                    tracing::error!(session = %id, %error, "cannot re-evaluate the consent of a session")
                }
            }
        }
    }

    /// Returns the session with the decision that the policy makes now. A decision that differs is stored and audited
    /// first, conversations drop the attributes of purposes that are off, and webhooks get an event if a purpose differs.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the store's: then the data must not leave.
    pub(super) async fn reevaluated(&self, record: SessionRow) -> Result<SessionRow, Error> {
        // most decisions stand, and need no copy of the session
        if self.reevaluation(&record, self.clock().now()).is_none() {
            return Ok(record);
        }
        self.update_record(record, |record, now| {
            let Some(update) = self.reevaluation(record, now) else {
                return Ok((Mutation::default(), record.clone()));
            };
            let before = record.document.data.consent();
            let policy = format!("{} {}", before.policy, before.policy_version);
            let entry = record
                .draft(now, Actor::system("guest-suite"), "consent.reevaluated")
                .detail("before.policy", policy);
            let has_diffs = !update.diffs.is_empty();
            record.with_data(update, entry, has_diffs, now)
        })
        .await
    }

    /// The new decision, if it differs. An ended session has one too: its attributes are kept until it is erased.
    fn reevaluation(&self, record: &SessionRow, now: Now) -> Option<ConsentUpdate> {
        let policy = self.shared.config.policy;
        record.document.data.reevaluate(policy, now.utc)
    }
}
