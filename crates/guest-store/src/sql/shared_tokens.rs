//! Statements of shared tokens, which are rows of `meta`.

use super::values::params;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::error::SqlError;
use super::prepared::Prepared;
use super::reader::Reader;
use super::rows::{micros, time};
use super::transaction::Transaction;
use crate::{Conflict, SealKey, SharedToken, StoreErrorKind};

/// The start of the names of the rows.
const PREFIX: &str = "token ";

impl Transaction<'_, '_> {
    pub(crate) fn put_token(&mut self, token: &SharedToken) -> Result<(), SqlError> {
        let stored = self.reader().shared_token(&token.name)?;
        if stored.map_or(0, |stored| stored.version) != token.version {
            return Err(Conflict::TokenChanged.into());
        }
        write(self.prepared, &self.keys.seal, token)
    }
}

/// Releases the leases of a process that stopped. An unreadable token stays, which its read logs.
pub(crate) fn release_leases(prepared: &mut Prepared<'_>, seal: &SealKey) -> Result<(), SqlError> {
    let sql = "SELECT name, value FROM meta WHERE name >= 'token ' AND name < 'token!'";
    let rows: Vec<(String, Vec<u8>)> = prepared.rows(sql, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (row, sealed) in rows {
        let name = row.strip_prefix(PREFIX).unwrap_or_default();
        if let Ok(
            token @ SharedToken {
                leased_until: Some(_),
                ..
            },
        ) = read(seal, name, &row, sealed)
        {
            let released = SharedToken {
                leased_until: None,
                ..token
            };
            write(prepared, seal, &released)?;
        }
    }
    Ok(())
}

fn write(prepared: &mut Prepared<'_>, seal: &SealKey, token: &SharedToken) -> Result<(), SqlError> {
    let value = json!({
        "version": token.version + 1,
        "content": token.content.as_ref().map(|content| content.expose_secret()),
        "leasedUntil": token.leased_until.map(micros),
    });
    let name = row_name(&token.name);
    let sealed = seal.seal(aad(&name), value.to_string().as_bytes());
    let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    prepared.execute(sql, params![name, sealed]).map(drop)
}

impl Reader<'_, '_> {
    pub(crate) fn shared_token(&mut self, name: &str) -> Result<Option<SharedToken>, SqlError> {
        let row = row_name(name);
        let sql = "SELECT value FROM meta WHERE name = ?1";
        let Some(sealed) = self.prepared.row(sql, [&row], |row| row.get(0))? else {
            return Ok(None);
        };
        match read(&self.keys.seal, name, &row, sealed) {
            Err(error) if error.is_corrupt() => {
                tracing::error!(
                    name,
                    "an access token cannot be read and is requested again: verify the store"
                );
                Ok(None)
            }
            read => read.map(Some),
        }
    }
}

fn read(seal: &SealKey, name: &str, row: &str, sealed: Vec<u8>) -> Result<SharedToken, SqlError> {
    let plain = seal.open(aad(row), sealed).ok_or(StoreErrorKind::Corrupt)?;
    // the error of the parser would hold a part of the token
    let value: Value = serde_json::from_slice(&plain).map_err(|_| StoreErrorKind::Corrupt)?;
    Ok(SharedToken {
        name: name.to_owned(),
        version: value["version"].as_u64().ok_or(StoreErrorKind::Corrupt)?,
        content: value["content"].as_str().map(Into::into),
        leased_until: value["leasedUntil"].as_i64().map(time).transpose()?,
    })
}

/// Removes the tokens before the seal key is replaced. Processes request new ones.
pub(crate) fn remove_all(prepared: &mut Prepared<'_>) -> Result<usize, SqlError> {
    prepared.execute("DELETE FROM meta WHERE name >= 'token ' AND name < 'token!'", ())
}

fn row_name(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn aad(row: &str) -> String {
    format!("meta/{row}/value")
}
