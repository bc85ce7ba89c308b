//! Conversion between rows and values.

use genesys_api::SessionId;
use rusqlite::types::FromSql;
use rusqlite::{Row, params};
use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;

use super::error::SqliteError;
use super::personal;
use super::prepared::Prepared;
use crate::{SealKey, Session, SessionSecrets, StoreError, StoreErrorKind, TokenHash, Webhook};

/// Selects sessions in the order of columns that [`session`] reads.
macro_rules! select_sessions {
    ($rest:literal) => {
        concat!(
            "SELECT hex(sessions.key), sessions.key, slot, subjects.key, owner, channel, created_at, expires_at,
             idle_deadline, ended_at, access, refresh, previous_refresh, generation, version, personal
             FROM sessions JOIN subjects USING (slot) ",
            $rest
        )
    };
}
pub(super) use select_sessions;

/// Writes a session by `sql`, whose parameters are the columns of its row in their order.
pub(super) fn write_session(
    prepared: &mut Prepared<'_>,
    sql: &'static str,
    session: &Session,
    slot: i64,
    version: u64,
    seal: &SealKey,
) -> Result<usize, SqliteError> {
    Ok(prepared.execute(
        sql,
        params![
            seal.session_key(&session.id),
            slot,
            session.owner,
            seal.guest_hash(&session.owner, &session.guest),
            session.channel.as_str(),
            micros(session.created_at),
            micros(session.expires_at),
            micros(session.idle_deadline),
            session.ended_at.map(micros),
            session.access.as_bytes(),
            session.refresh.as_bytes(),
            session.previous_refresh.as_ref().map(TokenHash::as_bytes),
            integer(session.generation)?,
            integer(version)?,
            personal::seal(session)?,
        ],
    )?)
}

/// Reads a row of [`select_sessions`].
pub(super) fn session(row: &Row<'_>, seal: &SealKey) -> Result<Session, SqliteError> {
    let subject_key = subject_key(seal, row.get(2)?, row.get(3)?)?;
    let personal = personal::open(&subject_key, row.get(15)?).ok_or(StoreErrorKind::Corrupt)?;
    let id: SessionId = personal.id.parse().map_err(corrupt)?;
    if seal.session_key(&id) != row.get::<_, [u8; 16]>(1)? {
        return Err(StoreErrorKind::Corrupt.into());
    }
    Ok(Session {
        id,
        owner: row.get(4)?,
        guest: personal.guest.parse().map_err(corrupt)?,
        channel: row.get::<_, String>(5)?.parse().map_err(corrupt)?,
        created_at: time(row.get(6)?)?,
        expires_at: time(row.get(7)?)?,
        idle_deadline: time(row.get(8)?)?,
        ended_at: row.get::<_, Option<i64>>(9)?.map(time).transpose()?,
        access: TokenHash::from_bytes(row.get(10)?),
        refresh: TokenHash::from_bytes(row.get(11)?),
        previous_refresh: row.get::<_, Option<[u8; 32]>>(12)?.map(TokenHash::from_bytes),
        generation: number(row, 13)?,
        version: number(row, 14)?,
        secrets: SessionSecrets {
            genesys_token: personal.genesys_token.into(),
            subject_key,
            refresh_token: personal.refresh_token.map(SecretString::from),
        },
        document: personal.document.into(),
    })
}

/// Opens the subject key in a slot.
pub(super) fn subject_key(seal: &SealKey, slot: i64, sealed: Vec<u8>) -> Result<[u8; 32], SqliteError> {
    let key = seal.open(&subject_aad(slot), sealed);
    key.and_then(|key| key.try_into().ok())
        .ok_or_else(|| StoreErrorKind::Corrupt.into())
}

/// Associated data of the subject key in a slot.
pub(super) fn subject_aad(slot: i64) -> String {
    format!("subjects/{slot}/key")
}

/// Writes a webhook by `sql`, whose parameters are the columns in their order, without the last.
pub(super) fn write_webhook(
    prepared: &mut Prepared<'_>,
    sql: &'static str,
    webhook: &Webhook,
    version: u64,
    seal: &SealKey,
) -> Result<usize, SqliteError> {
    let id = webhook.id.as_str();
    Ok(prepared.execute(
        sql,
        params![
            id,
            webhook.owner,
            webhook.name,
            serde_json::Value::from(webhook.events.as_slice()).to_string(),
            webhook.enabled,
            webhook.failing_since.map(micros),
            webhook.failures,
            webhook.rest_until.map(micros),
            integer(version)?,
            seal.seal(
                &aad("webhooks", id, "secrets"),
                webhook.secrets.expose_secret().as_bytes()
            ),
            seal.seal(&aad("webhooks", id, "document"), &webhook.document),
        ],
    )?)
}

/// Reads a row of all columns of `webhooks`.
pub(super) fn webhook(row: &Row<'_>, seal: &SealKey) -> Result<Webhook, SqliteError> {
    let id: String = row.get(0)?;
    let document = seal
        .open(&aad("webhooks", &id, "document"), row.get(10)?)
        .ok_or(StoreErrorKind::Corrupt)?;
    Ok(Webhook {
        secrets: secret(seal, &aad("webhooks", &id, "secrets"), row.get(9)?)?,
        id: id.parse().map_err(corrupt)?,
        owner: row.get(1)?,
        name: row.get(2)?,
        events: serde_json::from_str(&row.get::<_, String>(3)?).map_err(corrupt)?,
        enabled: row.get(4)?,
        failing_since: row.get::<_, Option<i64>>(5)?.map(time).transpose()?,
        failures: number(row, 6)?,
        rest_until: row.get::<_, Option<i64>>(7)?.map(time).transpose()?,
        version: number(row, 8)?,
        document: document.into(),
    })
}

/// Associated data of a sealed column, which binds the value to its row.
pub(super) fn aad(table: &str, id: &str, column: &str) -> String {
    format!("{table}/{id}/{column}")
}

/// A time as it is stored: microseconds since 1970.
pub(super) fn micros(time: OffsetDateTime) -> i64 {
    // the years that a time can have, -9999 to 9999, fit many times over
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000)).unwrap_or(i64::MAX)
}

pub(super) fn time(micros: i64) -> Result<OffsetDateTime, SqliteError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).map_err(corrupt)
}

/// A count as it is stored.
pub(super) fn integer(number: u64) -> Result<i64, SqliteError> {
    i64::try_from(number).map_err(|error| StoreError::new(StoreErrorKind::Invalid, error).into())
}

/// A count, which is never negative.
pub(super) fn number<T: TryFrom<i64>>(row: &Row<'_>, column: usize) -> Result<T, SqliteError> {
    T::try_from(value(row, column)?).map_err(|_| StoreErrorKind::Corrupt.into())
}

fn value<T: FromSql>(row: &Row<'_>, column: usize) -> Result<T, SqliteError> {
    Ok(row.get(column)?)
}

/// Opens a sealed text. The error of its decoding would hold the text, so it is dropped.
fn secret(seal: &SealKey, aad: &str, sealed: Vec<u8>) -> Result<SecretString, SqliteError> {
    let plain = seal.open(aad, sealed).ok_or(StoreErrorKind::Corrupt)?;
    match String::from_utf8(plain) {
        Ok(secret) => Ok(secret.into()),
        Err(_) => Err(StoreErrorKind::Corrupt.into()),
    }
}

fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> SqliteError {
    StoreError::new(StoreErrorKind::Corrupt, error).into()
}
