//! A connection to PostgreSQL, driven by the thread that uses it.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;
use tokio_postgres::{Client, Statement};

use super::address::Address;
use super::error::{closed, not_connected};
use super::values::{OwnedValue, Parameter};
use crate::sql::error::SqlError;
use crate::sql::values::{Params, Row};
use crate::store::PAGE;
use crate::{StoreError, StoreErrorKind};

/// A connection with its prepared statements. A lost one is made again by the first statement outside of a transaction.
pub(crate) struct Connection {
    address: Address,
    role: Role,
    runtime: Runtime,
    link: Option<Link>,
    transaction: TransactionState,
    unanswered: Vec<Answer>,
    changes: u64,
    /// Number of links so far.
    links: u64,
}

/// The use of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Read,
    /// Holds the lock of the store as long as it is connected, so that no other process writes.
    Write,
}

/// The answer of a statement that was sent.
type Answer = Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send>>;

struct Link {
    client: Arc<Client>,
    /// By the address and the length of their text, and whether a window is added to it.
    statements: HashMap<(usize, usize, bool), Statement>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TransactionState {
    Idle,
    Open,
    /// A statement failed. The server refuses further ones until the rollback.
    Failed,
}

/// Rows that a statement reads, of those that it finds.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) limit: usize,
    pub(crate) offset: usize,
}

impl Connection {
    pub(super) fn new(address: Address, role: Role) -> Result<Self, StoreError> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::new(StoreErrorKind::Unavailable, error))?;
        Ok(Self {
            address,
            role,
            runtime,
            link: None,
            transaction: TransactionState::Idle,
            unanswered: Vec::new(),
            changes: 0,
            links: 0,
        })
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction == TransactionState::Open
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// The number of the current link. Another process may have written before it was made.
    pub(crate) fn links(&self) -> u64 {
        self.links
    }

    /// Begins a transaction. A failed one before it is rolled back.
    pub(crate) fn begin(&mut self) -> Result<(), SqlError> {
        self.roll_back()?;
        self.run_once_or_again(|runtime, link| {
            runtime.block_on(bounded(link.client.batch_execute("BEGIN")))
        })?;
        self.transaction = TransactionState::Open;
        Ok(())
    }

    pub(crate) fn commit(&mut self) -> Result<(), SqlError> {
        let committed = self.batch("COMMIT");
        if committed.is_ok() {
            self.transaction = TransactionState::Idle;
        }
        committed
    }

    /// Rolls back the transaction, if one is open or failed.
    pub(crate) fn roll_back(&mut self) -> Result<(), SqlError> {
        if self.transaction != TransactionState::Idle {
            // without a link there is no transaction
            self.transaction = TransactionState::Idle;
            self.unanswered.clear();
            if self.link.is_some() {
                self.batch("ROLLBACK")?;
            }
        }
        Ok(())
    }

    /// Executes statements without parameters.
    pub(super) fn batch(&mut self, sql: &str) -> Result<(), SqlError> {
        let done =
            self.run_once_or_again(|runtime, link| runtime.block_on(bounded(link.client.batch_execute(sql))));
        self.settle()?;
        done
    }

    /// Sends a statement. Its answer is awaited with that of the next statement that is read, and its error is the next one's.
    pub(crate) fn write(&mut self, sql: &'static str, params: &dyn Params) -> Result<(), SqlError> {
        let (statement, client) = self.run_once_or_again(|runtime, link| {
            let statement = runtime.block_on(bounded(link.statement(sql, params, None)))?;
            Ok((statement, link.client.clone()))
        })?;
        let values = (0..params.len()).map(|index| OwnedValue::from(params.value(index)));
        let values: Vec<_> = values.collect();
        let mut answer: Answer = Box::pin(async move { client.execute_raw(&statement, values).await });
        // the first poll sends it
        if let Poll::Ready(Err(error)) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Err(self.handle_failure(Failure::Postgres(error)));
        }
        self.unanswered.push(answer);
        self.changes += 1;
        match self.unanswered.len() < UNANSWERED {
            true => Ok(()),
            false => self.settle(),
        }
    }

    /// Awaits the answers of what [`write`](Self::write) sent.
    fn settle(&mut self) -> Result<(), SqlError> {
        if self.unanswered.is_empty() {
            return Ok(());
        }
        let answers = std::mem::take(&mut self.unanswered);
        let all = async {
            for answer in answers {
                answer.await?;
            }
            Ok(())
        };
        let settled = self.runtime.block_on(bounded(all));
        settled.map_err(|failure| self.handle_failure(failure))
    }

    pub(crate) fn execute(&mut self, sql: &'static str, params: &dyn Params) -> Result<usize, SqlError> {
        let changed = self.run_once_or_again(|runtime, link| {
            runtime.block_on(bounded(async {
                let statement = link.statement(sql, params, None).await?;
                link.client
                    .execute_raw(&statement, parameters(params, None))
                    .await
            }))
        });
        self.settle()?;
        let changed = changed?;
        self.changes += changed;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// Reads rows until `read` returns `false`. The server sends about `limit` rows at a time.
    pub(crate) fn each_in_windows(
        &mut self,
        sql: &'static str,
        params: &dyn Params,
        limit: usize,
        read: &mut dyn FnMut(&Row<'_>) -> Result<bool, SqlError>,
    ) -> Result<(), SqlError> {
        let (limit, mut offset) = (limit.min(PAGE), 0);
        loop {
            let (mut count, mut is_wanted) = (0, true);
            self.each(sql, params, Some(Window { limit, offset }), |row| {
                count += 1;
                is_wanted = read(row)?;
                Ok(is_wanted)
            })?;
            if !is_wanted || count < limit {
                return Ok(());
            }
            offset += count;
        }
    }

    /// Reads rows until `read` returns `false`.
    pub(crate) fn each(
        &mut self,
        sql: &'static str,
        params: &dyn Params,
        window: Option<Window>,
        mut read: impl FnMut(&Row<'_>) -> Result<bool, SqlError>,
    ) -> Result<(), SqlError> {
        let rows = self.run_once_or_again(|runtime, link| {
            runtime.block_on(bounded(async {
                let statement = link.statement(sql, params, window).await?;
                link.client
                    .query_raw(&statement, parameters(params, window))
                    .await
            }))
        });
        self.settle()?;
        let mut rows = pin!(rows?);
        loop {
            let next = self.runtime.block_on(bounded(rows.try_next()));
            match next {
                Ok(Some(row)) if read(&Row::Postgres(&row))? => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(self.handle_failure(error)),
            }
        }
    }

    /// Runs an operation on the link. If the link was lost before and no transaction was open, a new one is made.
    fn run_once_or_again<T>(
        &mut self,
        mut operation: impl FnMut(&Runtime, &mut Link) -> Result<T, Failure>,
    ) -> Result<T, SqlError> {
        let was_idle = self.transaction == TransactionState::Idle;
        let mut is_new = false;
        loop {
            if self.link.is_none() {
                if !was_idle {
                    return Err(StoreErrorKind::Unavailable.into());
                }
                self.link = Some(self.connect()?);
                self.links += 1;
                is_new = true;
            }
            let Some(link) = &mut self.link else { continue };
            match operation(&self.runtime, link) {
                Ok(done) => return Ok(done),
                Err(failure) => {
                    let error = self.handle_failure(failure);
                    // a link that was lost while nothing used it
                    if self.link.is_some() || is_new || !was_idle {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn handle_failure(&mut self, failure: Failure) -> SqlError {
        let is_lost = match &failure {
            Failure::Postgres(error) => closed(error),
            Failure::Timeout => true,
        };
        if is_lost {
            self.link = None;
        }
        if self.transaction == TransactionState::Open {
            self.transaction = TransactionState::Failed;
        }
        match failure {
            Failure::Postgres(error) => error.into(),
            Failure::Timeout => {
                let source = format!("the database did not answer within {} s", ANSWER.as_secs());
                StoreError::new(StoreErrorKind::Unavailable, source).into()
            }
        }
    }

    fn connect(&self) -> Result<Link, SqlError> {
        let connected = self.runtime.block_on(bounded(async {
            let client = match self.address.connect().await? {
                Ok(client) => client,
                Err(unsuitable) => return Ok(Err(unsuitable)),
            };
            client.batch_execute(SETTINGS).await?;
            let is_locked = match self.role {
                Role::Read => true,
                Role::Write => {
                    client.batch_execute(LEASE).await?;
                    lock(&client).await?
                }
            };
            Ok(Ok((client, is_locked)))
        }));
        match connected {
            Ok(Err(unsuitable)) => Err(unsuitable.into()),
            Ok(Ok((_, false))) => Err(StoreErrorKind::Locked.into()),
            Ok(Ok((client, true))) => Ok(Link {
                client: Arc::new(client),
                statements: HashMap::new(),
            }),
            Err(Failure::Postgres(error)) => Err(not_connected(error)),
            Err(Failure::Timeout) => Err(StoreErrorKind::Unavailable.into()),
        }
    }
}

impl Link {
    async fn statement(
        &mut self,
        sql: &'static str,
        params: &dyn Params,
        window: Option<Window>,
    ) -> Result<Statement, tokio_postgres::Error> {
        let key = (sql.as_ptr().addr(), sql.len(), window.is_some());
        if let Some(statement) = self.statements.get(&key) {
            return Ok(statement.clone());
        }
        let mut text = to_postgres(sql);
        if window.is_some() {
            let count = params.len();
            text.push_str(&format!(" LIMIT ${} OFFSET ${}", count + 1, count + 2));
        }
        let statement = self.client.prepare(&text).await?;
        self.statements.insert(key, statement.clone());
        Ok(statement)
    }
}

/// Failures of an operation.
enum Failure {
    Postgres(tokio_postgres::Error),
    Timeout,
}

/// Bounds an operation by [`ANSWER`].
async fn bounded<T>(operation: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
    match timeout(ANSWER, operation).await {
        Ok(done) => done.map_err(Failure::Postgres),
        Err(_) => Err(Failure::Timeout),
    }
}

/// Takes the lock of the store. The server may notice only after some time that a cut connection is gone, so the lock is
/// tried for [`LOCK_WAIT`].
async fn lock(client: &Client) -> Result<bool, tokio_postgres::Error> {
    for _ in 0..LOCK_WAIT.as_millis() / LOCK_PAUSE.as_millis() {
        if client.query_one(LOCK, &[]).await?.try_get(0)? {
            return Ok(true);
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(false)
}

fn parameters(
    params: &dyn Params,
    window: Option<Window>,
) -> impl ExactSizeIterator<Item = Parameter<'_>> + use<'_> {
    let count = params.len();
    let rest = window.map_or(0, |_| 2);
    (0..count + rest).map(move |index| match (window, index.checked_sub(count)) {
        (Some(window), Some(0)) => Parameter::count(window.limit),
        (Some(window), Some(_)) => Parameter::count(window.offset),
        _ => Parameter(params.value(index)),
    })
}

/// The text of a statement for PostgreSQL: parameters are `$1`, and the planner chooses the index.
fn to_postgres(sql: &str) -> String {
    let mut text = sql.replace('?', "$");
    while let Some(start) = text.find("INDEXED BY ") {
        let name = start + "INDEXED BY ".len();
        let end = text[name..]
            .find(char::is_whitespace)
            .map_or(text.len(), |length| name + length);
        text.replace_range(start..end, "");
    }
    text
}

/// Settings of each connection. A transaction of a process that was stopped is rolled back after two seconds, and the lock
/// of its connection ends with it. Each statement has an index, which the planner takes also while a table is small. Our
/// choice.
const SETTINGS: &str = "SET search_path = guest_store, pg_catalog;
    SET client_min_messages = warning;
    SET idle_in_transaction_session_timeout = '2s';
    SET statement_timeout = '20s';
    SET enable_seqscan = off;
    SET plan_cache_mode = force_generic_plan;
    SET jit = off;
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') IN ('off', 'local');
    SET tcp_keepalives_idle = 5;
    SET tcp_keepalives_interval = 2;
    SET tcp_keepalives_count = 3;";

/// The server ends a writing connection that is silent for [`PostgresStore::LEASE`](super::PostgresStore::LEASE), and its
/// lock with it.
const LEASE: &str = "SET idle_session_timeout = '10s'";

/// The lock of the store: "gst1" in ASCII.
const LOCK: &str = "SELECT pg_try_advisory_lock(1735619633)";
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Largest number of statements whose answers are awaited together. Our choice.
const UNANSWERED: usize = 256;

/// Longest wait for an answer of the server. Our choice: more than its own limit for a statement.
const ANSWER: Duration = Duration::from_secs(25);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_is_rewritten_for_postgres() {
        let sql = "SELECT a FROM sessions INDEXED BY sessions_live WHERE b = ?1 AND c = ?12";
        assert_eq!(
            to_postgres(sql),
            "SELECT a FROM sessions  WHERE b = $1 AND c = $12"
        );
        assert_eq!(to_postgres("SELECT 1 FROM x INDEXED BY y"), "SELECT 1 FROM x ");
    }
}
