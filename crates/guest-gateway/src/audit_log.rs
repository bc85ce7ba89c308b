//! The gateway's own entries of the audit log. `docs/audit.md` lists all actions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use audit::{Actor, Draft, Entry, Outcome, Pseudonym, Value};
use genesys_api::SessionId;
use genesys_auth::ClientId;
use guest_store::{EntryQuery, Store, StoreError};
use guest_suite::Error;
use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;

use crate::api::Parts;
use crate::keys::fingerprint;

/// Digits of the digest of one value of the configuration.
const SHORT_DIGEST: usize = 16;

pub(crate) fn own_name() -> Actor {
    Actor::system("guest-gateway")
}

/// Appends an entry about the audit log itself.
pub(crate) async fn record(
    store: &dyn Store,
    actor: Actor,
    action: &'static str,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    append(store, Draft::new(at, actor, action)).await
}

async fn append(store: &dyn Store, entry: Draft) -> Result<(), StoreError> {
    store.commit(entry.into()).await.map(drop)
}

/// Appends the configuration of a start: keyed digests of its values, and the keys that differ from the start before.
/// `key` is secret, so that a digest does not reveal a value.
pub(crate) async fn record_configuration(
    store: &dyn Store,
    values: &BTreeMap<String, SecretString>,
    key: &[u8; 32],
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let digests: BTreeMap<String, Value> = values
        .iter()
        .map(|(name, value)| {
            let digest = fingerprint(key, &format!("{name}={}", value.expose_secret()));
            (name.clone(), digest[..SHORT_DIGEST].into())
        })
        .collect();
    let digest = fingerprint(key, &format!("{digests:?}"));
    // the subject finds the entry of the last start
    let subject = Pseudonym::of(key, "configuration");
    let query = EntryQuery::OfSubject {
        subject,
        before: None,
    };
    let last = store.entries(query, 1).await?;
    let last = last.first().and_then(|entry| Entry::parse(&entry.bytes).ok());
    let mut entry = Draft::new(at, own_name(), "config.loaded")
        .subject(subject)
        .detail("version", env!("CARGO_PKG_VERSION"))
        .detail("digest", digest)
        .detail("keys", Value::Map(digests.clone()));
    if let Some(last) = last
        && let Some(Value::Map(before)) = last.draft.detail.get("keys")
        && *before != digests
    {
        let names: BTreeSet<&String> = before.keys().chain(digests.keys()).collect();
        let changed = names
            .into_iter()
            .filter(|name| before.get(*name) != digests.get(*name));
        entry = entry.detail("changed", changed.map(String::as_str).collect::<Value>());
        if let Some(digest) = last.draft.detail.get("digest") {
            entry = entry.detail("before.digest", digest.clone());
        }
    }
    append(store, entry).await
}

impl Parts {
    /// Counts a failed authentication of an API client, which is `None` if its credentials do not show it.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn log_auth_failure(
        &self,
        client: Option<&ClientId>,
        reason: &str,
    ) -> Result<(), Error> {
        let actor = client.map_or_else(own_name, |client| Actor::client(client.as_str()));
        let entry = Draft::new(self.clock.now().utc, actor, "auth.failed")
            .outcome(Outcome::Denied)
            .detail("reason", reason);
        Ok(self.direct.audit_log().log_repeated(entry).await?)
    }

    /// Counts a refused request of a page without a backend.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn log_refused_page(&self, reason: &str) -> Result<(), Error> {
        let entry = Draft::new(self.clock.now().utc, own_name(), "page.refused")
            .outcome(Outcome::Denied)
            .detail("reason", reason);
        Ok(self.direct.audit_log().log_repeated(entry).await?)
    }

    /// [`Self::log_auth_failure`] after the answer, whose time then does not show whether the entry is counted.
    pub(crate) fn log_auth_failure_later(self: &Arc<Self>, client: Option<ClientId>, reason: &'static str) {
        let parts = Arc::clone(self);
        // the gateway waits for it, because the hub has a receiver of the shutdown
        tokio::spawn(async move {
            if let Err(error) = parts.log_auth_failure(client.as_ref(), reason).await
                && let Some(unlogged) = parts.direct.admit_fault_line()
            {
                tracing::error!(%error, unlogged, "cannot log a failed authentication, trying again");
            }
        });
    }

    /// Counts a refused socket of the session with this id, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn log_refused_socket(&self, session: &SessionId, reason: &str) -> Result<(), Error> {
        let session = self.direct.store().session(session).await?;
        let mut entry = Draft::new(self.clock.now().utc, own_name(), "ws.refused").outcome(Outcome::Denied);
        entry.subject = session.map(|session| session.pseudonym());
        let entry = entry.detail("reason", reason);
        Ok(self.direct.audit_log().log_repeated(entry).await?)
    }

    /// Counts a received or deleted file of a guest. Its name may be personal, and is not part of the entry.
    ///
    /// # Errors
    /// The store's: then the file is not passed on.
    pub(crate) async fn log_attachment(
        &self,
        guest: Pseudonym,
        action: &'static str,
        file: Option<(&str, u64)>,
    ) -> Result<(), Error> {
        let mut entry = Draft::new(self.clock.now().utc, Actor::guest(guest), action).subject(guest);
        if let Some((media_type, bytes)) = file {
            entry = entry.detail("mediaType", media_type).detail("bytes", bytes);
        }
        Ok(self.direct.audit_log().log_repeated(entry).await?)
    }

    /// Counts an opened or closed socket of a guest.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn log_socket(
        &self,
        guest: Pseudonym,
        action: &'static str,
        detail: Option<(&'static str, String)>,
    ) -> Result<(), Error> {
        let mut entry = Draft::new(self.clock.now().utc, Actor::guest(guest), action).subject(guest);
        let value_of = |wanted| {
            detail
                .as_ref()
                .and_then(|(name, value)| (*name == wanted).then_some(value.as_str()))
        };
        tracing::info!(
            pseudonym = %guest,
            credential = value_of("credential"),
            reason = value_of("reason"),
            transport = value_of("transport"),
            "{action}"
        );
        if let Some((name, value)) = detail {
            entry = entry.detail(name, value);
        }
        Ok(self.direct.audit_log().log_repeated(entry).await?)
    }
}
