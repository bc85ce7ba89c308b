//! Admission of a guest by an access token.

use genesys_api::SessionId;
use secrecy::{ExposeSecret as _, SecretString};
use session_metrics::EndReason;
use time::OffsetDateTime;

use super::conversation::LiveGuard;
use super::session_row::SessionRow;
use super::{Direct, DirectError};
use crate::SessionInfo;

/// A session that a guest may connect to. It holds the row, and learns if the session ends.
#[derive(Debug)]
pub struct Admitted {
    pub(super) record: SessionRow,
    pub(super) guard: LiveGuard,
}

impl Direct {
    /// Admits a guest by the access token of the session with this id.
    ///
    /// # Errors
    /// [`DirectError::AccessUnknown`], [`DirectError::AccessExpired`], [`DirectError::Ended`],
    /// [`DirectError::NotFound`], or the store's.
    pub async fn admit(&self, id: &SessionId, access: &SecretString) -> Result<Admitted, DirectError> {
        // before the session is read, so that no end is missed
        let guard = self.shared.live.guard(id);
        let record = self.load_any(id).await?;
        if !record.row.access.matches(access.expose_secret()) {
            return Err(DirectError::AccessUnknown);
        }
        let now = self.clock().now();
        record.ensure_live(now)?;
        if record.row.expires_at <= now.utc {
            return Err(DirectError::AccessExpired);
        }
        Ok(Admitted { record, guard })
    }

    pub(super) async fn admit_owner(&self, owner: &str, id: &SessionId) -> Result<Admitted, DirectError> {
        let guard = self.shared.live.guard(id);
        let record = self.load(owner, id).await?;
        record.ensure_live(self.clock().now())?;
        Ok(Admitted { record, guard })
    }
}

impl Admitted {
    /// The API client that owns the session.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.record.owner()
    }

    /// End of the access token.
    #[must_use]
    pub fn expires_at(&self) -> OffsetDateTime {
        self.record.row.expires_at
    }

    /// The session when the guest was admitted.
    #[must_use]
    pub fn info(&self) -> SessionInfo {
        self.record.info()
    }

    /// The reason, if the session has ended since.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        self.guard.end_reason()
    }
}
