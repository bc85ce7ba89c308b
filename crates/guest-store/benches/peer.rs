//! SQLite alone, on one thread: the same tables and statements, 64 units a transaction.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use guest_store::{Keys, Limits, SqliteStore};
use rusqlite::{Connection, Params, Statement, params};

const BATCH: usize = 64;

/// Opens a new file with the tables of a store and one webhook.
pub(crate) fn open(path: &Path) -> Result<Connection, Box<dyn Error>> {
    drop(SqliteStore::open(path, Keys::ephemeral(), Limits::default())?);
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA wal_autocheckpoint=4000;
             INSERT INTO webhooks (id, owner, name, events, enabled, failures, version, secrets, document)
             VALUES ('w-1', 'shop', 'crm', '[\"created\"]', 1, 0, 1, zeroblob(40), zeroblob(40));
             INSERT INTO counts VALUES ('transactions', 0);",
    )?;
    Ok(connection)
}

pub(crate) struct Peer<'c> {
    connection: &'c Connection,
    statements: HashMap<&'static str, Statement<'c>>,
    units: i64,
}

impl<'c> Peer<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            statements: HashMap::new(),
            units: 0,
        }
    }

    /// Units of a new session, an entry and a delivery each.
    pub(crate) fn run(&mut self, units: usize) -> rusqlite::Result<()> {
        for _ in 0..units / BATCH {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            for _ in 0..BATCH {
                self.unit()?;
            }
            self.execute(
                "UPDATE counts SET value = ?1 WHERE name = 'live_sessions'",
                [self.units],
            )?;
            self.execute(
                "UPDATE counts SET value = ?1 WHERE name = 'transactions'",
                [self.units],
            )?;
            self.execute("UPDATE meta SET value = ?1 WHERE name = 'head'", [[0_u8; 400]])?;
            self.connection.execute_batch("COMMIT")?;
        }
        Ok(())
    }

    fn unit(&mut self) -> rusqlite::Result<()> {
        self.units += 1;
        let number = self.units;
        // ordered by time, as the ids of a store
        let key = (u128::from(number.unsigned_abs()) << 64).to_be_bytes();
        let id = format!("w-1/{number:032x}");
        let subject = [&key[..], &[7; 24]].concat();
        self.any("SELECT version FROM sessions WHERE key = ?1", [key])?;
        self.any(
            "SELECT coalesce((SELECT slot FROM subjects WHERE free = 1 LIMIT 1), (SELECT max(slot) FROM subjects) + 1, 1)",
            [],
        )?;
        self.execute(
            "INSERT INTO subjects VALUES (?1, ?2, 0)",
            params![number, [1_u8; 61]],
        )?;
        self.execute(
            "INSERT INTO sessions VALUES (?1, ?2, 'shop', ?3, 'web', ?2, ?2, ?2, NULL, ?4, ?4, NULL, 0, 1, ?5)",
            params![key, number, key, [2_u8; 32], [3_u8; 780]],
        )?;
        self.any(
            "SELECT id FROM webhooks WHERE owner = ?1 AND EXISTS (SELECT 1 FROM json_each(events) WHERE value = ?2)",
            ["shop", "created"],
        )?;
        self.any("SELECT 1 FROM outbox WHERE id = ?1", [&id])?;
        self.execute(
            "INSERT INTO outbox (id, webhook, session, kind, first, last, event, at, due_at)
             VALUES (?1, 'w-1', ?2, 0, 1, 1, 'created', ?3, ?3)",
            params![id, key, number],
        )?;
        self.execute("UPDATE webhooks SET pending = pending + 1 WHERE id = ?1", ["w-1"])?;
        self.any(
            "SELECT subject_index FROM entries WHERE subject = ?1 ORDER BY seq DESC LIMIT 1",
            [&subject],
        )?;
        self.execute(
            "INSERT INTO entries VALUES (?1, ?2, 0, ?3, ?4)",
            params![number, subject, [4_u8; 260], [5_u8; 32]],
        )
    }

    fn execute(&mut self, sql: &'static str, params: impl Params) -> rusqlite::Result<()> {
        self.statement(sql)?.execute(params).map(drop)
    }

    fn any(&mut self, sql: &'static str, params: impl Params) -> rusqlite::Result<bool> {
        self.statement(sql)?.exists(params)
    }

    fn statement(&mut self, sql: &'static str) -> rusqlite::Result<&mut Statement<'c>> {
        if !self.statements.contains_key(sql) {
            self.statements.insert(sql, self.connection.prepare(sql)?);
        }
        Ok(self.statements.get_mut(sql).expect("it was prepared"))
    }
}
