//! The one way in which a session changes: load, decide, commit, and again if another task was quicker.

use genesys_api::{Now, SessionId};
use guest_store::{Conflict, StoreErrorKind, Unit};

use super::record::Record;
use super::{Direct, DirectError};

/// How often a change is tried again when another task changed the same session in between.
const RACES: usize = 16;

impl Direct {
    /// Loads the session, lets `decide` make a unit of work of it, and commits that. `decide` runs again on the
    /// newer session if another task changed it in between, so it must have no effect of its own.
    ///
    /// A unit may be committed beside a refusal, which `decide` then returns as its value: so a refusal is audited.
    pub(super) async fn update<T>(
        &self,
        owner: &str,
        id: &SessionId,
        decide: impl Fn(&Record, Now) -> Result<(Unit, T), DirectError>,
    ) -> Result<T, DirectError> {
        let mut races = 0;
        loop {
            let record = self.load(owner, id).await?;
            let (unit, value) = decide(&record, self.clock().now())?;
            match self.commit(unit).await {
                Ok(()) => return Ok(value),
                Err(error)
                    if error.kind() == StoreErrorKind::Conflict(Conflict::VersionChanged)
                        && races < RACES =>
                {
                    races += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Commits a unit, and tells whoever delivers events that there may be some.
    pub(super) async fn commit(&self, unit: Unit) -> Result<(), guest_store::StoreError> {
        let has_events = !unit.events.is_empty();
        if unit.change.is_none() && unit.entries.is_empty() && !has_events {
            return Ok(());
        }
        self.store().commit(unit).await?;
        if has_events {
            self.shared.events.notify_one();
        }
        Ok(())
    }
}
