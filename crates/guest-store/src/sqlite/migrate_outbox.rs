//! Migration of the outbox of version 1, whose rows do not name their session.

use rusqlite::{Connection, params};
use serde_json::Value;

use super::error::SqliteError;
use super::rows::aad;
use super::schema::OUTBOX;
use crate::SealKey;

/// Migrates the outbox after the sessions. Keeps each pending event of a session that was not erased.
///
/// A webhook that missed events gets a snapshot of every session of its owner: version 1 kept no session of a dead letter,
/// and nothing of what a disabled webhook missed.
pub(super) fn from_1(connection: &Connection, seal: &SealKey) -> Result<(), SqliteError> {
    connection.execute_batch(
        "ALTER TABLE webhooks ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE webhooks ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE webhooks ADD COLUMN snapshots INTEGER NOT NULL DEFAULT 0;
         DROP INDEX outbox_due; DROP INDEX outbox_leased; DROP INDEX outbox_oldest; DROP INDEX outbox_dead;
         ALTER TABLE outbox RENAME TO outbox_1;",
    )?;
    connection.execute_batch(OUTBOX)?;
    let mut insert = connection.prepare(
        "INSERT INTO outbox (place, id, webhook, session, kind, first, last, event, at, due_at, leased, fence,
             attempts, bytes, body)
         SELECT place, id, webhook, ?2, 0, ?3, ?3, event, at, due_at, leased, fence, attempts, bytes, body
         FROM outbox_1 WHERE place = ?1 AND EXISTS (SELECT 1 FROM sessions WHERE key = ?2)",
    )?;
    let mut pending = connection.prepare("SELECT place, id, body FROM outbox_1 WHERE due_at IS NOT NULL")?;
    let mut rows = pending.query([])?;
    while let Some(row) = rows.next()? {
        let (place, id): (i64, String) = (row.get(0)?, row.get(1)?);
        let body = seal.open(&aad("outbox", &id, "body"), row.get(2)?);
        let body = body.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        let data = &body.unwrap_or_default()["data"];
        let session = data["id"].as_str().and_then(|id| id.parse().ok());
        if let (Some(session), Some(sequence)) = (session, data["sequence"].as_i64()) {
            insert.execute(params![place, seal.session_key(&session), sequence])?;
        }
    }
    drop(rows);
    drop((pending, insert));
    connection.execute_batch(
        "DELETE FROM outbox_1 WHERE place IN (SELECT place FROM outbox);
         INSERT INTO outbox (id, webhook, session, kind, first, last, at)
             SELECT hex(randomblob(16)), webhooks.id, sessions.key, 1, 1, sessions.version, sessions.created_at
             FROM webhooks JOIN sessions USING (owner)
             WHERE NOT enabled OR webhooks.id IN (SELECT webhook FROM outbox_1)
             ORDER BY sessions.key;
         UPDATE outbox SET due_at = at WHERE place IN (
             SELECT place FROM (
                 SELECT place, row_number() OVER (PARTITION BY webhook ORDER BY place) AS rank
                 FROM outbox JOIN webhooks ON webhooks.id = webhook WHERE kind = 1 AND enabled)
             WHERE rank <= 4);
         UPDATE webhooks SET
             pending = (SELECT count(*) FROM outbox WHERE webhook = webhooks.id AND kind = 0),
             bytes = (SELECT coalesce(sum(outbox.bytes), 0) FROM outbox WHERE webhook = webhooks.id),
             snapshots = (SELECT count(*) FROM outbox WHERE webhook = webhooks.id AND kind = 1);
         DROP TABLE outbox_1;",
    )?;
    Ok(())
}
