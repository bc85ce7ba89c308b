//! Errors of a store.

use std::error::Error;

/// An error of a store.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    pub(crate) fn new(kind: StoreErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// The kind, which decides what to do.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
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

/// Kinds of errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Another program locks the file.
    #[error(
        "cannot store the change now: another program locks the store; nothing was stored, try again when it has ended"
    )]
    Busy,
    /// The unit contradicts what is stored.
    #[error("cannot store the change: {0}")]
    Conflict(Conflict),
    /// The stored bytes are not those that were written.
    #[error(
        "cannot use the store: it is damaged or was changed by another program, restore a backup and keep the damaged file for inquiry"
    )]
    Corrupt,
    /// The caller no longer holds the lease of the delivery.
    #[error(
        "cannot settle the delivery: its lease ended, it was settled, its webhook was removed or disabled, or its session was removed; drop it"
    )]
    Fenced,
    /// The disk is full, or the file has its largest size.
    #[error(
        "cannot store the change: the disk is full or the store has its largest size; nothing was stored, free space or raise the limit, then try again"
    )]
    Full,
    /// A value of the unit has no stored form.
    #[error("cannot store the change: a value has no stored form; the source names it, correct it")]
    Invalid,
    /// The file has another hard link, through which a second process could open it with a log of its own.
    #[error(
        "cannot open the store: its file has more than one name; find them with `find DIRECTORY -samefile FILE` and \
         remove all but one"
    )]
    Linked,
    /// Another process has the store open.
    #[error("cannot open the store: it is in use by another process; stop that process first")]
    Locked,
    /// The file was written by a newer version of this program.
    #[error(
        "cannot open the store: a newer version of this program wrote it (schema {found}, known is {known}); start that \
         version, or run `guest-gateway store restore BACKUP --force` with a backup of this version"
    )]
    NewerSchema {
        /// The schema version of the file.
        found: i32,
        /// The newest schema version that this program knows.
        known: i32,
    },
    /// A store with contents is at the place of a restore.
    #[error("cannot restore the backup: the store is not empty; use `--force` to replace it")]
    NotEmpty,
    /// The session or webhook does not exist.
    #[error(
        "cannot store the change: the session or webhook does not exist; it may have been removed, read it again"
    )]
    NotFound,
    /// The commit failed, and so did the look-up whether it is stored. A `SqliteStore` accepts no more units.
    #[error(
        "cannot determine whether the change is stored: the disk or the database failed; repair it, restart this process if \
         the store is one file, then read what the change wrote"
    )]
    OutcomeUnknown,
    /// An `fsync` failed or the file is damaged, so the store accepts no more units. Nothing of this unit was stored.
    #[error(
        "cannot store the change: the store is closed after a disk failure; nothing was stored, repair the disk, then restart this process"
    )]
    Poisoned,
    /// A table, index or trigger of the file is missing, altered, or not of this version. The source names it.
    #[error(
        "cannot open the store: its tables, indexes or triggers are not those of this version; restore a backup and keep \
         the damaged file for inquiry"
    )]
    SchemaDiffers,
    /// The owner has used as many idempotency keys as are kept.
    #[error(
        "cannot store the request: the owner has used as many idempotency keys as are kept; omit the key, or try again when the oldest are removed"
    )]
    TooManyRequests,
    /// The limit of webhooks is reached, of this owner or of all.
    #[error(
        "cannot store the webhook: the limit of webhooks is reached, of this owner or of all; remove one first"
    )]
    TooManyWebhooks,
    /// Rows of a guest's sessions cannot be read.
    #[error(
        "cannot read {rows} rows of the guest's sessions: they are damaged; run `guest-gateway store check`, and restore a \
         backup"
    )]
    Unreadable {
        /// Number of the rows.
        rows: usize,
    },
    /// The store cannot be read or written now. Nothing of the request was stored.
    #[error(
        "cannot read or write the store now: check the database, or the disk, the path, the permissions and the limit of the \
         size of files (`ulimit -f`), then try again"
    )]
    Unavailable,
    /// The store was written with other keys.
    #[error(
        "cannot open the store: its seal key, signing key or log name differs; use those it was created with"
    )]
    WrongKey,
}

/// Contradictions to what is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// An event with this id is in a queue of the outbox.
    #[error("an event with this id is in the outbox; give every event its own id")]
    EventIdInUse,
    /// The guest has a live session.
    #[error("the guest has a live session; end it first")]
    GuestInUse,
    /// A session or webhook with this id exists, perhaps of another owner.
    #[error("a session or webhook with this id exists; use a new id")]
    IdInUse,
    /// A request of the owner with this idempotency key is stored.
    #[error("a request of the owner with this idempotency key is stored; read what it created")]
    KeyInUse,
    /// The shared token was written since it was read.
    #[error("the token changed since it was read; read it again and repeat the change")]
    TokenChanged,
    /// The session or webhook was written since it was read.
    #[error("the version changed since it was read; read it again and repeat the change")]
    VersionChanged,
    /// The owner has a webhook of this name.
    #[error("the owner has a webhook of this name; use another name or change that webhook")]
    WebhookNameInUse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_keeps_source_out_of_its_message() {
        let error = StoreError::new(StoreErrorKind::Unavailable, "disk on fire");
        assert_eq!(error.source().unwrap().to_string(), "disk on fire");
        assert!(!error.to_string().contains("fire"));
        let error = StoreError::from(Conflict::GuestInUse);
        assert!(error.source().is_none());
        assert_eq!(
            error.to_string(),
            "cannot store the change: the guest has a live session; end it first"
        );
        assert!(size_of::<StoreError>() <= 32);
    }
}
