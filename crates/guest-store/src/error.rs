//! What can go wrong with a store.

use std::error::Error;
use std::fmt;

/// A store could not do what it was asked for.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    #[cfg(any(test, feature = "sqlite"))]
    pub(crate) fn new(kind: StoreErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same request may succeed later, with nothing changed but the load.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            StoreErrorKind::OutboxFull | StoreErrorKind::Unavailable
        )
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl From<Conflict> for StoreError {
    fn from(conflict: Conflict) -> Self {
        StoreErrorKind::Conflict(conflict).into()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.kind, f)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn Error + 'static))
    }
}

/// What went wrong, by what to do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Something else is stored already.
    #[error("nothing was stored: {0}")]
    Conflict(Conflict),
    /// What is stored is not what was written.
    #[error(
        "the store is damaged or was changed by another program: restore a backup, and keep the damaged file for inquiry"
    )]
    Corrupt,
    /// The delivery is no longer the caller's.
    #[error(
        "the delivery is no longer yours: its lease ended, it was settled, or its webhook is gone or off; drop it"
    )]
    Fenced,
    /// What should be stored cannot be.
    #[error("nothing was stored: a value has no stored form")]
    Invalid,
    /// Another process has the store open.
    #[error("the store is in use by another process: stop that one first, for a file serves one at a time")]
    Locked,
    /// The file was written by a newer version of this program.
    #[error("the store was written by a newer version of this program: use that one, or restore a backup")]
    NewerSchema,
    /// There is no such session or webhook.
    #[error("nothing was stored: there is no such session or webhook")]
    NotFound,
    /// The outbox, or the owner's share of it, has reached its limit of rows or bytes.
    #[error(
        "nothing was stored: the outbox, or the owner's share of it, is full; mend or disable the webhook that does not take its deliveries"
    )]
    OutboxFull,
    /// Whether the last units reached the disk is unknown, so nothing more is accepted.
    #[error(
        "the store accepts nothing more, for the disk failed it: mend the disk, then restart this process"
    )]
    Poisoned,
    /// There are as many webhooks as allowed, of this owner or of all.
    #[error(
        "nothing was stored: there are as many webhooks, of this owner or of all, as allowed; remove one first"
    )]
    TooManyWebhooks,
    /// It cannot be reached, read or written now. Nothing of the request was stored.
    #[error("the store cannot be read or written now: check the disk and the permissions, then try again")]
    Unavailable,
    /// The keys are others than those it was written with.
    #[error(
        "the store was written with another seal key, signing key or log name: give the ones it was created with"
    )]
    WrongKey,
}

/// What is stored already.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// An event with this id is on its way.
    #[error("an event with this id is on its way already; every event needs its own")]
    EventIdInUse,
    /// The guest has a session that has not ended.
    #[error("the guest has a session that has not ended; end that one first")]
    GuestInUse,
    /// A session or webhook with this id is there, or a webhook of another owner.
    #[error("a session or webhook with this id exists already")]
    IdInUse,
    /// Someone else has written the session or webhook since it was read.
    #[error("it was changed since it was read; read it again and decide anew")]
    VersionChanged,
    /// The owner has a webhook of this name.
    #[error("the owner has a webhook of this name already")]
    WebhookNameInUse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_survives_and_is_not_repeated() {
        let error = StoreError::new(StoreErrorKind::Unavailable, "disk on fire");
        assert_eq!(error.source().unwrap().to_string(), "disk on fire");
        assert!(!error.to_string().contains("fire"));
        assert!(error.is_retryable());
        let error = StoreError::from(Conflict::GuestInUse);
        assert!(error.source().is_none());
        assert_eq!(
            error.to_string(),
            "nothing was stored: the guest has a session that has not ended; end that one first"
        );
        assert!(size_of::<StoreError>() <= 32);
    }
}
