//! Migration of the outbox.

use genesys_api::entropy;
use rusqlite::{Connection, params};
use serde_json::Value;

use super::schema::OUTBOX;
use crate::SealKey;
use crate::seal::Aead;
use crate::sql::error::SqlError;
use crate::sql::outbox::{ERASED, ERASURE};
use crate::sql::rows::{aad, subject_aad};

/// Migrates the outbox of version 1, whose rows do not name their session, after the sessions. Keeps each pending event of a session that was not erased.
///
/// A webhook that missed events gets a snapshot of every session of its owner: version 1 kept no session of a dead letter,
/// and nothing of what a disabled webhook missed.
pub(super) fn from_1(connection: &Connection, seal: &SealKey) -> Result<(), SqlError> {
    connection.execute_batch(
        "ALTER TABLE webhooks ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE webhooks ADD COLUMN snapshots INTEGER NOT NULL DEFAULT 0;
         DROP INDEX outbox_due; DROP INDEX outbox_leased; DROP INDEX outbox_oldest; DROP INDEX outbox_dead;
         ALTER TABLE outbox RENAME TO outbox_1;",
    )?;
    connection.execute_batch(OUTBOX)?;
    let mut insert = connection.prepare(
        "INSERT INTO outbox (position, id, webhook, session, kind, first, last, event, at, due_at, leased, fence, attempts)
         SELECT place, id, webhook, ?2, 0, ?3, ?3, event, at, due_at, leased, fence, attempts
         FROM outbox_1 WHERE place = ?1 AND EXISTS (SELECT 1 FROM sessions WHERE key = ?2)",
    )?;
    let mut pending = connection.prepare("SELECT place, id, body FROM outbox_1 WHERE due_at IS NOT NULL")?;
    let mut rows = pending.query([])?;
    while let Some(row) = rows.next()? {
        let (position, id): (i64, String) = (row.get(0)?, row.get(1)?);
        let body = seal.open(aad("outbox", &id, "body"), row.get(2)?);
        let body = body.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        let data = &body.unwrap_or_default()["data"];
        let session = data["id"].as_str().and_then(|id| id.parse().ok());
        if let (Some(session), Some(sequence)) = (session, data["sequence"].as_i64()) {
            insert.execute(params![position, seal.session_key(&session), sequence])?;
        }
    }
    drop(rows);
    drop((pending, insert));
    connection.execute_batch(
        "DELETE FROM outbox_1 WHERE place IN (SELECT position FROM outbox);
         INSERT INTO outbox (id, webhook, session, kind, first, last, at, grown)
             SELECT 'msg_' || lower(hex(randomblob(16))), webhooks.id, sessions.key, 1, 1, sessions.version, sessions.created_at, 1
             FROM webhooks JOIN sessions USING (owner)
             WHERE NOT enabled OR webhooks.id IN (SELECT webhook FROM outbox_1)
             ORDER BY sessions.key;
         UPDATE outbox SET due_at = at WHERE position IN (
             SELECT position FROM (
                 SELECT position, row_number() OVER (PARTITION BY webhook ORDER BY position) AS rank
                 FROM outbox JOIN webhooks ON webhooks.id = webhook WHERE kind = 1 AND enabled)
             WHERE rank <= 4);
         UPDATE webhooks SET
             pending = (SELECT count(*) FROM outbox WHERE webhook = webhooks.id AND kind = 0),
             snapshots = (SELECT count(*) FROM outbox WHERE webhook = webhooks.id AND kind = 1);
         DROP TABLE outbox_1;",
    )?;
    Ok(())
}

/// Removes the bodies of the events of version 2, and seals those of its erasures under keys that go with them.
pub(super) fn from_2(connection: &Connection, seal: &SealKey) -> Result<(), SqlError> {
    connection.execute_batch(
        "DROP INDEX sessions_live_guest;
         ALTER TABLE webhooks DROP COLUMN bytes;
         DROP INDEX outbox_due; DROP INDEX outbox_leased; DROP INDEX outbox_oldest; DROP INDEX outbox_session;
         DROP INDEX outbox_snapshot; DROP INDEX outbox_released;
         ALTER TABLE outbox RENAME TO outbox_2;",
    )?;
    connection.execute_batch(OUTBOX)?;
    connection.execute_batch(
        "INSERT INTO outbox (position, id, webhook, session, kind, first, last, event, at, due_at, leased, fence,
             attempts, grown)
         SELECT place, id, webhook, session, kind, first, last, event, at, due_at, leased, fence, attempts, kind = 1
         FROM outbox_2;",
    )?;
    let mut insert = connection.prepare("INSERT INTO subjects VALUES (?1, ?2, 0)")?;
    let mut update = connection.prepare("UPDATE outbox SET slot = ?2, body = ?3 WHERE position = ?1")?;
    let mut erasures = connection.prepare("SELECT place, id, body FROM outbox_2 WHERE kind = ?1")?;
    let last = "SELECT coalesce(max(slot), 0) FROM subjects";
    let mut slot: i64 = connection.query_row(last, [], |row| row.get(0))?;
    let mut rows = erasures.query([ERASURE])?;
    while let Some(row) = rows.next()? {
        let (position, id): (i64, String) = (row.get(0)?, row.get(1)?);
        // one that cannot be read stays unreadable
        let Some(session) = seal.open(aad("outbox", &id, "body"), row.get(2)?) else {
            continue;
        };
        slot += 1;
        let subject_key = entropy::bytes();
        insert.execute(params![slot, seal.seal(subject_aad(slot), &subject_key)])?;
        let body = Aead::of_subject(&subject_key).seal(ERASED, &session);
        update.execute(params![position, slot, body])?;
    }
    drop(rows);
    drop((insert, update, erasures));
    Ok(connection.execute_batch("DROP TABLE outbox_2")?)
}
