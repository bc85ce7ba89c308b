//! Migration of files that an earlier version wrote. Forward only, in one transaction.

mod log;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::{Connection, OptionalExtension};

use super::schema::{
    COUNTS, DELIVERIES, LOG_TRIGGERS, ORDER, REQUESTS, SESSION_INDEXES, TABLES_2, VERSION, seal_aad,
};
use super::{migrate_outbox, row_sums};
use crate::audit_log::LogHead;
use crate::sql::error::SqlError;
use crate::sql::log::write_head;
use crate::sql::prepared::{Prepared, each_page};
use crate::sql::reader::Reader;
use crate::sql::rows::{
    aad, bound_session, number, session_columns, subject_aad, time, webhook_aads, write_session,
};
use crate::sql::values::{Row, params};
use crate::{Keys, SealKey, Session, SessionSecrets, StoreError, StoreErrorKind, TokenHash};

/// Present in `meta` until the file has been vacuumed after its migration.
pub(super) const VACUUM_DUE: &str = "vacuum_due";

/// Migrates a store from an earlier version to the current one.
///
/// # Errors
/// `Corrupt` if a session of version 1 cannot be read, or its audit log does not match its last checkpoint. The file is
/// then unchanged.
pub(super) fn from(connection: &Connection, keys: &Keys, version: i32) -> Result<(), SqlError> {
    let transaction = connection.unchecked_transaction()?;
    if version < 6 {
        transaction.execute_batch(DELIVERIES)?;
    }
    if version < 4 {
        rows_to_4(&transaction, keys, version)?;
    }
    transaction.execute_batch(
        "DROP INDEX IF EXISTS sessions_guest; DROP INDEX IF EXISTS sessions_live; DROP INDEX IF EXISTS sessions_due;
         DROP INDEX IF EXISTS sessions_ended;",
    )?;
    transaction.execute_batch(SESSION_INDEXES)?;
    if version > 1 {
        transaction
            .execute_batch("DROP INDEX outbox_oldest; CREATE INDEX outbox_oldest ON outbox (webhook, at);")?;
    }
    if version > 3 {
        let open = if version > 5 {
            LogHead::open
        } else {
            LogHead::open_5
        };
        let head = sealed_head(&transaction)?.and_then(|sealed| open(&keys.seal, sealed));
        let mut head = head.ok_or(StoreErrorKind::Corrupt)?;
        transaction.execute_batch("DROP INDEX outbox_session;")?;
        row_sums::add_columns(
            &transaction,
            &keys.seal,
            &mut head.rows,
            [", waits", ", ordered"],
            ORDER,
        )?;
        write_head(&mut Prepared::new(&transaction), &head, &keys.seal)?;
    }
    let proof = keys.seal.seal(seal_aad(VERSION), b"");
    transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'seal'", [proof])?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

/// Makes the rows of version 1, 2 or 3 those of version 4, and authenticates them.
fn rows_to_4(transaction: &Connection, keys: &Keys, version: i32) -> Result<(), SqlError> {
    if version == 1 {
        sessions_from_1(transaction, &keys.seal)?;
        migrate_outbox::from_1(transaction, &keys.seal)?;
        log::from_1(transaction, keys)?;
        transaction.execute("INSERT INTO meta VALUES (?1, x'')", [VACUUM_DUE])?;
    } else {
        if version == 2 {
            migrate_outbox::from_2(transaction, &keys.seal)?;
            transaction.execute_batch("DROP TRIGGER entries_stay; DROP TRIGGER entries_remain;")?;
            transaction.execute_batch(LOG_TRIGGERS)?;
        }
        transaction.execute_batch("ALTER TABLE counts RENAME TO counts_3")?;
        transaction.execute_batch(COUNTS)?;
        transaction.execute_batch(
            "INSERT OR REPLACE INTO counts SELECT name, value FROM counts_3; DROP TABLE counts_3;",
        )?;
        sessions_from_3(transaction, &keys.seal)?;
    }
    transaction.execute_batch("DROP INDEX IF EXISTS outbox_session;")?;
    transaction.execute_batch(ORDER)?;
    webhooks_from_3(transaction, &keys.seal)?;
    transaction.execute_batch(REQUESTS)?;
    let mut head = match version {
        1 => Reader {
            prepared: &mut Prepared::new(transaction),
            keys,
        }
        .read_head()?,
        _ => head_of_3(transaction, &keys.seal)?,
    };
    head.rows = row_sums::sums(transaction, &keys.seal)?;
    write_head(&mut Prepared::new(transaction), &head, &keys.seal)?;
    Ok(())
}

/// Seals the ids of sessions and guests, which version 1 has in plain, under subject keys.
fn sessions_from_1(connection: &Connection, seal: &SealKey) -> Result<(), SqlError> {
    connection.execute_batch(
        "DROP INDEX sessions_live_guest; DROP INDEX sessions_due; DROP INDEX sessions_ended;
         ALTER TABLE sessions RENAME TO sessions_1;",
    )?;
    connection.execute_batch(TABLES_2)?;
    connection.execute_batch(COUNTS)?;
    let mut sessions = connection.prepare("SELECT * FROM sessions_1 ORDER BY created_at, id")?;
    let mut insert = Prepared::new(connection);
    let mut rows = sessions.query([])?;
    let mut slot = 0;
    while let Some(row) = rows.next()? {
        let session = session_of_1(&Row::Sqlite(row), seal)?;
        slot += 1;
        let key = seal.seal(subject_aad(slot), &session.secrets.subject_key);
        insert.execute("INSERT INTO subjects VALUES (?1, ?2, 0)", params![slot, key])?;
        let sql =
            "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
        let guest = seal.guest_hash(&session.owner, &session.guest);
        let lookup = [seal.session_key(&session.id), guest];
        write_session(&mut insert, sql, &session, slot, session.version, lookup)?;
    }
    drop(rows);
    drop((sessions, insert));
    Ok(connection.execute_batch(
        "DROP TABLE sessions_1;
         UPDATE counts SET value = (SELECT count(*) FROM sessions WHERE ended_at IS NULL)
         WHERE name = 'live_sessions';",
    )?)
}

/// Binds the plain columns of sessions to the sealed one. A row that cannot be read stays unreadable.
fn sessions_from_3(connection: &Connection, seal: &SealKey) -> Result<(), SqlError> {
    let sql = concat!(
        "SELECT sessions.rowid, ",
        session_columns!(),
        " FROM sessions JOIN subjects USING (slot) WHERE sessions.rowid > ?1 ORDER BY sessions.rowid LIMIT ?2"
    );
    each_page(
        &mut Prepared::new(connection),
        sql,
        |row| Ok((row.get(0)?, bound_session(row, 1, seal)?)),
        |prepared, rowid, personal| {
            let sql = "UPDATE sessions SET personal = coalesce(?2, personal) WHERE rowid = ?1";
            prepared.execute(sql, params![rowid, personal])
        },
    )
}

/// Binds what the owners of webhooks have set to the sealed columns.
fn webhooks_from_3(connection: &Connection, seal: &SealKey) -> Result<(), SqlError> {
    let sql = "SELECT *, rowid FROM webhooks WHERE rowid > ?1 ORDER BY rowid LIMIT ?2";
    let rebound = |row: &Row<'_>, bound: Vec<u8>, column: &str, index: usize| {
        let id: String = row.get(0)?;
        let plain = seal.open(aad("webhooks", &id, column), row.get(index)?);
        Ok::<_, SqlError>(plain.map(|plain| seal.seal(bound, &plain)))
    };
    each_page(
        &mut Prepared::new(connection),
        sql,
        |row| {
            let [secrets, document] = webhook_aads(row)?;
            let secrets = rebound(row, secrets, "secrets", 9)?;
            let document = rebound(row, document, "document", 10)?;
            Ok((row.get(15)?, (secrets, document)))
        },
        |prepared, rowid, (secrets, document)| {
            let sql = "UPDATE webhooks SET secrets = coalesce(?2, secrets), document = coalesce(?3, document)
                       WHERE rowid = ?1";
            prepared.execute(sql, params![rowid, secrets, document])
        },
    )
}

/// The head of the log of version 2 or 3.
fn head_of_3(connection: &Connection, seal: &SealKey) -> Result<LogHead, SqlError> {
    let head = sealed_head(connection)?.and_then(|sealed| LogHead::open_3(seal, sealed));
    head.ok_or_else(|| StoreErrorKind::Corrupt.into())
}

fn sealed_head(connection: &Connection) -> Result<Option<Vec<u8>>, SqlError> {
    let sql = "SELECT value FROM meta WHERE name = 'head'";
    Ok(connection.query_row(sql, [], |row| row.get(0)).optional()?)
}

/// Whether the file was migrated and not vacuumed since.
pub(super) fn vacuum_is_due(connection: &Connection) -> Result<bool, SqlError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM meta WHERE name = ?1)";
    Ok(connection.query_row(sql, [VACUUM_DUE], |row| row.get(0))?)
}

fn session_of_1(row: &Row<'_>, seal: &SealKey) -> Result<Session, SqlError> {
    let id: String = row.get(0)?;
    let open = |column: &str, sealed| {
        let plain = seal.open(aad("sessions", &id, column), sealed);
        plain.ok_or_else(|| unreadable(&id))
    };
    let secrets = parse_secrets(&open("secrets", row.get(13)?)?).ok_or_else(|| unreadable(&id))?;
    Ok(Session {
        document: open("document", row.get(14)?)?.into(),
        secrets,
        owner: row.get(1)?,
        guest: row.get::<String>(2)?.parse().map_err(|_| unreadable(&id))?,
        channel: row.get::<String>(3)?.parse().map_err(|_| unreadable(&id))?,
        created_at: time(row.get(4)?)?,
        expires_at: time(row.get(5)?)?,
        idle_deadline: time(row.get(6)?)?,
        ended_at: row.get::<Option<i64>>(7)?.map(time).transpose()?,
        access: TokenHash::from_bytes(row.get(8)?),
        refresh: TokenHash::from_bytes(row.get(9)?),
        previous_refresh: row.get::<Option<[u8; 32]>>(10)?.map(TokenHash::from_bytes),
        generation: number(row, 11)?,
        version: number(row, 12)?,
        id: id.parse().map_err(|_| unreadable(&id))?,
    })
}

fn unreadable(id: &str) -> SqlError {
    let source = format!("cannot migrate session {id}: its row cannot be read");
    StoreError::new(StoreErrorKind::Corrupt, source).into()
}

/// The text of version 1 is `genesys_token SP base64(subject_key) [SP refresh_token]`.
fn parse_secrets(text: &[u8]) -> Option<SessionSecrets> {
    let mut words = std::str::from_utf8(text).ok()?.splitn(3, ' ');
    let (token, key) = (words.next()?, words.next()?);
    Some(SessionSecrets {
        genesys_token: token.into(),
        subject_key: STANDARD.decode(key).ok()?.try_into().ok()?,
        refresh_token: words.next().map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn secrets_of_version_1_are_read() {
        let text =
            "01234567-89ab-4def-8123-456789abcdef AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= a refresh";
        let read = parse_secrets(text.as_bytes()).unwrap();
        assert_eq!(
            read.genesys_token.expose_secret(),
            "01234567-89ab-4def-8123-456789abcdef"
        );
        assert_eq!(read.subject_key, [1; 32]);
        assert_eq!(read.refresh_token.unwrap().expose_secret(), "a refresh");
        for damaged in ["", "token", "token AAAA", "token not-base64"] {
            assert!(parse_secrets(damaged.as_bytes()).is_none(), "{damaged}");
        }
    }
}
