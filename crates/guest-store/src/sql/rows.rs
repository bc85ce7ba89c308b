//! Conversion between rows and values.

use std::ops::Range;

use genesys_api::{GuestId, SessionId};
use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;

use super::error::SqlError;
use super::personal;
use super::prepared::Prepared;
use super::values::{Row, ToValue as _, Value, encode, params};
use crate::seal::{Aead, LookupHash};
use crate::{SealKey, Session, SessionSecrets, StoreError, StoreErrorKind, TokenHash, Webhook};

/// The columns that [`session`] reads, of `sessions` and the slot in `subjects`.
macro_rules! session_columns {
    () => {
        "hex(sessions.key), sessions.key, subjects.slot, subjects.key, owner, channel, created_at, expires_at,
         idle_deadline, ended_at, access, refresh, previous_refresh, generation, version, personal, guest"
    };
}
pub(crate) use session_columns;

/// Selects sessions.
macro_rules! select_sessions {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            $crate::sql::rows::session_columns!(),
            " FROM sessions JOIN subjects USING (slot) ",
            $rest
        )
    };
}
pub(crate) use select_sessions;

/// The columns of [`session_columns`] that are associated data of the sealed one. The others are compared with it.
const PLAIN: Range<usize> = 4..15;

/// Writes a session by `sql`, whose parameters are the columns of its row in their order. Its key and the hash of its guest
/// are `lookup`.
pub(crate) fn write_session(
    prepared: &mut Prepared<'_>,
    sql: &'static str,
    session: &Session,
    slot: i64,
    version: u64,
    lookup: [LookupHash; 2],
) -> Result<(), SqlError> {
    let plain: [Value<'_>; PLAIN.end - PLAIN.start] = [
        session.owner.to_value(),
        session.channel.as_str().to_value(),
        Value::Integer(micros(session.created_at)),
        Value::Integer(micros(session.expires_at)),
        Value::Integer(micros(session.idle_deadline)),
        session
            .ended_at
            .map_or(Value::Null, |at| Value::Integer(micros(at))),
        session.access.as_bytes().to_value(),
        session.refresh.as_bytes().to_value(),
        session
            .previous_refresh
            .as_ref()
            .map_or(Value::Null, |hash| hash.as_bytes().to_value()),
        Value::Integer(integer(session.generation)?),
        Value::Integer(integer(version)?),
    ];
    let personal = personal::seal(session, &personal::aad(plain.into_iter()))?;
    let [key, guest] = &lookup;
    let [owner, rest @ ..] = plain;
    let mut values = vec![key.to_value(), Value::Integer(slot), owner, guest.to_value()];
    values.extend(rest);
    values.push(personal.to_value());
    prepared.write(sql, values.as_slice())
}

/// Reads the columns of [`session_columns`], of which `first` is the first one.
///
/// # Errors
/// `Corrupt` if any of them was altered. An older copy of the whole row is not detected here.
pub(crate) fn session(row: &Row<'_>, first: usize, seal: &SealKey) -> Result<Session, SqlError> {
    let subject_key = subject_key(seal, row.get(first + 2)?, row.get(first + 3)?)?;
    let aad = plain_columns(row, first)?;
    let personal = personal::open(&subject_key, &aad, row.get(first + 15)?).ok_or(StoreErrorKind::Corrupt)?;
    let id: SessionId = personal.id.parse().map_err(corrupt)?;
    let guest: GuestId = personal.guest.parse().map_err(corrupt)?;
    let owner: String = row.get(first + 4)?;
    let keys: (LookupHash, LookupHash) = (row.get(first + 1)?, row.get(first + 16)?);
    if (seal.session_key(&id), seal.guest_hash(&owner, &guest)) != keys {
        return Err(StoreErrorKind::Corrupt.into());
    }
    Ok(Session {
        id,
        owner,
        guest,
        channel: row.get::<String>(first + 5)?.parse().map_err(corrupt)?,
        created_at: time(row.get(first + 6)?)?,
        expires_at: time(row.get(first + 7)?)?,
        idle_deadline: time(row.get(first + 8)?)?,
        ended_at: row.get::<Option<i64>>(first + 9)?.map(time).transpose()?,
        access: TokenHash::from_bytes(row.get(first + 10)?),
        refresh: TokenHash::from_bytes(row.get(first + 11)?),
        previous_refresh: row
            .get::<Option<[u8; 32]>>(first + 12)?
            .map(TokenHash::from_bytes),
        generation: number(row, first + 13)?,
        version: number(row, first + 14)?,
        secrets: SessionSecrets {
            genesys_token: personal.genesys_token.into(),
            subject_key,
            refresh_token: personal.refresh_token.map(SecretString::from),
        },
        document: personal.document.into(),
    })
}

/// The sealed column of a session of version 3, bound to the plain columns. `None` if it cannot be opened.
pub(crate) fn bound_session(
    row: &Row<'_>,
    first: usize,
    seal: &SealKey,
) -> Result<Option<Vec<u8>>, SqlError> {
    let Ok(subject_key) = subject_key(seal, row.get(first + 2)?, row.get(first + 3)?) else {
        return Ok(None);
    };
    let key = Aead::of_subject(&subject_key);
    let personal = key.open(personal::AAD, row.get(first + 15)?);
    let aad = plain_columns(row, first)?;
    Ok(personal.map(|personal| key.seal(aad, &personal)))
}

/// Associated data of the sealed column of a session.
fn plain_columns(row: &Row<'_>, first: usize) -> Result<Vec<u8>, SqlError> {
    let plain = PLAIN.map(|column| row.value(first + column));
    let plain = plain.collect::<Result<Vec<_>, SqlError>>()?;
    Ok(personal::aad(plain.into_iter()))
}

/// Opens the subject key in a slot.
pub(crate) fn subject_key(seal: &SealKey, slot: i64, sealed: Vec<u8>) -> Result<[u8; 32], SqlError> {
    let key = seal.open(subject_aad(slot), sealed);
    key.and_then(|key| key.try_into().ok())
        .ok_or_else(|| StoreErrorKind::Corrupt.into())
}

/// Associated data of the subject key in a slot.
pub(crate) fn subject_aad(slot: i64) -> String {
    format!("subjects/{slot}/key")
}

/// Writes a webhook with this version. Its owner, its counts and its last turn stay.
pub(crate) fn write_webhook(
    prepared: &mut Prepared<'_>,
    webhook: &Webhook,
    version: u64,
    seal: &SealKey,
) -> Result<usize, SqlError> {
    let id = webhook.id.as_str();
    let events = serde_json::Value::from(webhook.events.as_slice()).to_string();
    let plain: [Value<'_>; WEBHOOK_PLAIN.len()] = [
        webhook.owner.to_value(),
        webhook.name.to_value(),
        events.to_value(),
        webhook.enabled.to_value(),
        Value::Integer(integer(version)?),
    ];
    let aad = |column| webhook_aad(id, column, plain.iter().copied(), webhook.ordered);
    let secrets = seal.seal(aad("secrets"), webhook.secrets.expose_secret().as_bytes());
    let document = seal.seal(aad("document"), &webhook.document);
    let [owner, name, events, enabled, version] = &plain;
    prepared.execute(
        "INSERT INTO webhooks VALUES (?1, ?2, ?3, ?4, ?5, NULL, 0, NULL, ?6, ?7, ?8, NULL, 0, 0, ?9)
         ON CONFLICT (id) DO UPDATE SET name = ?3, events = ?4, enabled = ?5, version = ?6, secrets = ?7, document = ?8,
         ordered = ?9",
        params![id, owner, name, events, enabled, version, secrets, document, webhook.ordered],
    )
}

/// The columns of `webhooks` that are associated data of the sealed ones: owner, name, events, enabled and version. `ordered`
/// is too, if it is set: no earlier version has it.
const WEBHOOK_PLAIN: [usize; 5] = [1, 2, 3, 4, 8];

/// Associated data of a sealed column of a webhook.
fn webhook_aad<'a>(id: &str, column: &str, plain: impl Iterator<Item = Value<'a>>, ordered: bool) -> Vec<u8> {
    let ordered = ordered.then_some(Value::Integer(1));
    encode(&aad("webhooks", id, column), plain.chain(ordered))
}

/// Associated data of the sealed columns `secrets` and `document` of a row of all columns of `webhooks`.
pub(crate) fn webhook_aads(row: &Row<'_>) -> Result<[Vec<u8>; 2], SqlError> {
    let id: String = row.get(0)?;
    let plain = WEBHOOK_PLAIN.map(|column| row.value(column));
    let plain = plain.into_iter().collect::<Result<Vec<_>, SqlError>>()?;
    let ordered = row.get(14)?;
    Ok(["secrets", "document"].map(|column| webhook_aad(&id, column, plain.iter().copied(), ordered)))
}

/// Reads a row of all columns of `webhooks`.
///
/// # Errors
/// `Corrupt` if what the owner has set was altered.
pub(crate) fn webhook(row: &Row<'_>, seal: &SealKey) -> Result<Webhook, SqlError> {
    let [secrets, document] = webhook_aads(row)?;
    let document = seal.open(document, row.get(10)?).ok_or(StoreErrorKind::Corrupt)?;
    Ok(Webhook {
        secrets: secret(seal, &secrets, row.get(9)?)?,
        id: row.get::<String>(0)?.parse().map_err(corrupt)?,
        owner: row.get(1)?,
        name: row.get(2)?,
        events: serde_json::from_str(&row.get::<String>(3)?).map_err(corrupt)?,
        enabled: row.get(4)?,
        ordered: row.get(14)?,
        failing_since: row.get::<Option<i64>>(5)?.map(time).transpose()?,
        failures: number(row, 6)?,
        rest_until: row.get::<Option<i64>>(7)?.map(time).transpose()?,
        version: number(row, 8)?,
        document: document.into(),
    })
}

/// Associated data of a sealed column, which binds the value to its row.
pub(crate) fn aad(table: &str, id: &str, column: &str) -> String {
    format!("{table}/{id}/{column}")
}

/// A time as it is stored: microseconds since 1970.
pub(crate) fn micros(time: OffsetDateTime) -> i64 {
    // the years that a time can have, -9999 to 9999, fit many times over
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000)).unwrap_or(i64::MAX)
}

pub(crate) fn time(micros: i64) -> Result<OffsetDateTime, SqlError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).map_err(corrupt)
}

/// A count as it is stored.
pub(crate) fn integer(number: u64) -> Result<i64, SqlError> {
    i64::try_from(number).map_err(|error| StoreError::new(StoreErrorKind::Invalid, error).into())
}

/// A count, which is never negative.
pub(crate) fn number<T: TryFrom<i64>>(row: &Row<'_>, column: usize) -> Result<T, SqlError> {
    T::try_from(row.get(column)?).map_err(|_| StoreErrorKind::Corrupt.into())
}

/// Opens a sealed text. The error of its decoding would hold the text, so it is dropped.
fn secret(seal: &SealKey, aad: &[u8], sealed: Vec<u8>) -> Result<SecretString, SqlError> {
    let plain = seal.open(aad, sealed).ok_or(StoreErrorKind::Corrupt)?;
    match String::from_utf8(plain) {
        Ok(secret) => Ok(secret.into()),
        Err(_) => Err(StoreErrorKind::Corrupt.into()),
    }
}

pub(crate) fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> SqlError {
    StoreError::new(StoreErrorKind::Corrupt, error).into()
}
