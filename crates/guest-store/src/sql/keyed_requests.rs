//! Statements of requests with idempotency keys.

use super::values::{Row, params};
use genesys_api::IdempotencyKey;

use super::error::SqlError;
use super::reader::Reader;
use super::rows::{integer, micros, select_sessions, session, time};
use super::transaction::Transaction;
use crate::seal::LookupHash;
use crate::{Change, Conflict, KeyedRequest, Resource, SealKey, StoreError, StoreErrorKind, StoredRequest};

/// Requests that one unit removes. Our choice: the writer does that in some milliseconds.
const MAX_REMOVED: i64 = 10_000;

impl Transaction<'_, '_> {
    /// Fails if the key of a request is in use, or its owner has too many. Returns the number of the request.
    pub(crate) fn number_request(&mut self, request: &KeyedRequest) -> Result<i64, SqlError> {
        let seal = &self.keys.seal;
        let hash = seal.request_hash(&request.owner, &request.key);
        let sql = "SELECT 1 FROM requests WHERE hash = ?1";
        if self.prepared.row(sql, [hash], |_| Ok(()))?.is_some() {
            return Err(Conflict::KeyInUse.into());
        }
        // the numbers of an owner have no gap: the oldest request is removed first
        let sql = "SELECT (SELECT min(number) FROM requests WHERE owner = ?1),
                          (SELECT max(number) FROM requests WHERE owner = ?1)";
        let numbers = self.prepared.row(sql, [&request.owner], |row| {
            Ok((row.get::<Option<i64>>(0)?, row.get::<Option<i64>>(1)?))
        })?;
        let (first, last) = match numbers {
            Some((Some(first), Some(last))) => (first, last),
            _ => (1, 0),
        };
        if last - first + 1 >= integer(self.limits.owner_requests)? {
            return Err(StoreErrorKind::TooManyRequests.into());
        }
        Ok(last + 1)
    }

    /// Stores the request that led to `change`, a creation.
    pub(crate) fn put_request(
        &mut self,
        request: &KeyedRequest,
        number: i64,
        change: Option<&Change>,
    ) -> Result<(), SqlError> {
        let seal = &self.keys.seal;
        let (session, webhook) = match change {
            Some(Change::CreateSession(created)) => (Some(seal.session_key(&created.id)), None),
            Some(Change::PutWebhook(created)) => (None, Some(created.id.as_str())),
            _ => {
                let source = "a request with a key must create a session or a webhook";
                return Err(StoreError::new(StoreErrorKind::Invalid, source).into());
            }
        };
        let sql = "INSERT INTO requests (hash, owner, number, key, digest, at, session, webhook)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let key = seal.seal(KEY, request.key.as_str().as_bytes());
        self.prepared.write(
            sql,
            params![
                seal.request_hash(&request.owner, &request.key),
                request.owner,
                number,
                key,
                seal.seal(DIGEST, &request.digest),
                micros(request.at),
                session,
                webhook,
            ],
        )?;
        Ok(())
    }

    /// Removes the oldest requests until `before`.
    pub(crate) fn remove_requests(&mut self, before: i64) -> Result<(), SqlError> {
        let sql = "DELETE FROM requests WHERE rowid IN
                   (SELECT rowid FROM requests WHERE at <= ?1 ORDER BY at, rowid LIMIT ?2)";
        self.prepared.execute(sql, [before, MAX_REMOVED])?;
        Ok(())
    }

    /// Removes what links the requests that created a session to it.
    pub(crate) fn unlink_requests(&mut self, session: LookupHash) -> Result<(), SqlError> {
        let sql = "UPDATE requests SET session = NULL, digest = ?2 WHERE session = ?1";
        self.prepared.execute(sql, params![session, Vec::new()])?;
        Ok(())
    }
}

impl Reader<'_, '_> {
    pub(crate) fn request(
        &mut self,
        owner: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<StoredRequest>, SqlError> {
        let seal = &self.keys.seal;
        let hash = seal.request_hash(owner, key);
        let sql = "SELECT digest, at, session, webhook, webhooks.id IS NOT NULL
                   FROM requests LEFT JOIN webhooks ON webhooks.id = webhook WHERE hash = ?1";
        let found = self.prepared.rows(sql, [hash], |row| {
            let digest = digest(seal, row.get(0)?)?;
            let webhook = match row.get(4)? {
                true => row.get::<Option<String>>(3)?,
                false => None,
            };
            Ok((
                digest,
                time(row.get(1)?)?,
                row.get::<Option<LookupHash>>(2)?,
                webhook,
            ))
        })?;
        let Some((digest, at, created, webhook)) = found.into_iter().next() else {
            return Ok(None);
        };
        let sql = select_sessions!("WHERE sessions.key = ?1");
        let created = match created {
            Some(key) => self.prepared.rows(sql, [key], |row| session(row, 0, seal))?.pop(),
            None => None,
        };
        let resource = match (created, webhook) {
            (Some(session), _) => Resource::Session(Box::new(session)),
            (None, Some(id)) => Resource::Webhook(id.parse().map_err(super::rows::corrupt)?),
            (None, None) => Resource::Gone,
        };
        Ok(Some(StoredRequest { digest, at, resource }))
    }
}

/// Fails if a row of `rowid, owner, key, digest` cannot be read.
pub(crate) fn check(row: &Row<'_>, seal: &SealKey) -> Result<(), SqlError> {
    key(seal, row.get(2)?)?;
    digest(seal, row.get(3)?).map(drop)
}

pub(crate) const KEY: &str = "requests/key";
pub(crate) const DIGEST: &str = "requests/digest";

pub(crate) fn key(seal: &SealKey, sealed: Vec<u8>) -> Result<IdempotencyKey, SqlError> {
    let key = seal.open(KEY, sealed).and_then(|key| String::from_utf8(key).ok());
    key.and_then(|key| key.parse().ok())
        .ok_or_else(|| StoreErrorKind::Corrupt.into())
}

pub(crate) fn digest(seal: &SealKey, sealed: Vec<u8>) -> Result<Option<[u8; 32]>, SqlError> {
    if sealed.is_empty() {
        return Ok(None);
    }
    let digest = seal
        .open(DIGEST, sealed)
        .and_then(|digest| digest.try_into().ok());
    digest.map(Some).ok_or_else(|| StoreErrorKind::Corrupt.into())
}
