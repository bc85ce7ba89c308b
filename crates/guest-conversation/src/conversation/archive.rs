//! Reading the history: which page, with which token, when; and what waits until it is read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use genesys_api::retry::MAX_RETRY_AFTER;
use genesys_api::{Host, Now, SlidingWindow};
use secrecy::SecretString;
use time::OffsetDateTime;

use super::queue::Told;
use crate::Message;
use web_messaging::rest::history::{History, HistoryPage};
use ws_transport::Origin;

/// Entries of a page that is read to recover. Genesys' Java SDK takes 100; a page must fit an answer of 1 MiB.
const PAGE_SIZE: u32 = 50;
/// Pages that are read to recover: 200 entries. Our choice.
const PAGE_LIMIT: u32 = 4;
/// Live messages that wait for the history. Our choice.
const HOLD_LIMIT: usize = 64;
/// Pages for the application that wait to be read.
const WISH_LIMIT: usize = 4;
/// How long all of it may take. Our choice.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a token for the history lives (Genesys).
const JWT_LIFETIME: Duration = Duration::from_secs(60);
/// A session that is resumed by a new process has missed nothing that is older than its first configuration, less
/// this, unless that process knows better.
const EARLIER: Duration = Duration::from_secs(5);
/// A token counts as valid while it has more left than this (Genesys' mobile SDK).
const JWT_MARGIN: Duration = Duration::from_secs(5);

/// Why the history was not read. For the one who moved the call.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HistoryFailure {
    /// It failed, for good or for now.
    Failed {
        /// For people; holds no secret.
        why: String,
    },
    /// The service asks for patience.
    TooMany {
        /// For how long.
        retry_after: Duration,
    },
    /// The token was not accepted (401).
    Unauthorized,
}

#[derive(Debug)]
pub(super) struct Archive {
    host: Host,
    pub(super) origin: Option<Origin>,
    jwt: Option<(SecretString, OffsetDateTime)>,
    reads: SlidingWindow,
    wishes: VecDeque<u32>,
    pub(super) task: Option<Box<Task>>,
    pub(super) command: Option<Box<History>>,
    pub(super) floor: Floor,
    /// The newest that came, live or by the history, by the service's clock; 1970 before anything came.
    pub(super) newest: OffsetDateTime,
    /// What was held back when the socket was lost in the middle of a recovery; the next one takes it.
    pub(super) carried: Vec<Told>,
    /// A recovery that failed had to go back to this time: the next one has to.
    pub(super) owed: Option<OffsetDateTime>,
}

/// What is older was not missed. A time of the service's clock.
#[derive(Clone, Copy, Debug)]
pub(super) enum Floor {
    /// Not known before the service shows its clock: some time before the session was configured, which was then.
    Configured(Instant),
    /// An earlier process told what is older.
    Told(OffsetDateTime),
    /// As far as the history was read for the first time, or 1970. What is not older was told, or was missed since.
    Read(OffsetDateTime),
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) purpose: Purpose,
    step: Step,
    page: u32,
    /// A token was asked for because the last one was not accepted.
    renewed: bool,
    latest: Instant,
    /// The oldest entry that was read.
    pub(super) oldest: Option<OffsetDateTime>,
    pub(super) missed: Vec<Message>,
    pub(super) own: Vec<Message>,
    pub(super) held: Vec<Told>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// For the application.
    Display,
    /// What happened while the connection was lost, back to this time of the service.
    Recover { since: OffsetDateTime },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// Nothing to do before then.
    Wait(Instant),
    /// `getJwt` is to be sent.
    NeedJwt,
    /// It was sent.
    AwaitJwt,
    /// The page is being read.
    Reading,
}

/// What a task asks for next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Nothing, for now.
    Nothing,
    /// `getJwt` on the socket.
    Jwt,
    /// It took too long.
    TooLate,
}

impl Archive {
    pub(super) fn new(host: Host) -> Self {
        Self {
            host,
            origin: None,
            jwt: None,
            // Genesys: get.history.rate.per.minute, of a session
            reads: SlidingWindow::new(10, Duration::from_millis(60_100)),
            wishes: VecDeque::new(),
            task: None,
            command: None,
            floor: Floor::Read(OffsetDateTime::UNIX_EPOCH),
            newest: OffsetDateTime::UNIX_EPOCH,
            carried: Vec::new(),
            owed: None,
        }
    }

    /// A page for the application; `false` if too many wait.
    pub(super) fn wish(&mut self, page: u32) -> bool {
        let room = self.wishes.len() < WISH_LIMIT;
        if room {
            self.wishes.push_back(page.max(1));
        }
        room
    }

    pub(super) fn recover(&mut self, since: OffsetDateTime, not_before: Instant, now: Now) {
        let since = self.owed.map_or(since, |owed| owed.min(since));
        self.begin(Purpose::Recover { since }, 1, not_before, now);
    }

    pub(super) fn is_recovering(&self) -> bool {
        let task = self.task.as_ref();
        task.is_some_and(|task| matches!(task.purpose, Purpose::Recover { .. }))
    }

    /// Holds a live message back while a recovery is on; gives it back if it need not, or cannot, wait.
    pub(super) fn hold(&mut self, told: Told) -> Option<Told> {
        match &mut self.task {
            Some(task) if matches!(task.purpose, Purpose::Recover { .. }) && task.held.len() < HOLD_LIMIT => {
                task.held.push(told);
                None
            }
            _ => Some(told),
        }
    }

    /// Goes on as far as it can; a read comes out as a command.
    pub(super) fn advance(&mut self, now: Now) -> Next {
        if self.task.is_none()
            && let Some(page) = self.wishes.pop_front()
        {
            self.begin(Purpose::Display, page, now.instant, now);
        }
        let Some(task) = &mut self.task else {
            return Next::Nothing;
        };
        if task.latest <= now.instant {
            return Next::TooLate;
        }
        match task.step {
            Step::Wait(until) if until > now.instant => return Next::Nothing,
            Step::Wait(_) | Step::NeedJwt => {}
            Step::AwaitJwt | Step::Reading => return Next::Nothing,
        }
        let valid = self
            .jwt
            .as_ref()
            .filter(|(_, until)| *until > now.utc + JWT_MARGIN);
        let Some((jwt, _)) = valid else {
            task.step = Step::NeedJwt;
            return Next::Jwt;
        };
        if let Err(at) = self.reads.try_acquire(now.instant) {
            task.step = Step::Wait(at);
            task.latest = task.latest.max(at + PATIENCE);
            return Next::Nothing;
        }
        task.step = Step::Reading;
        let history = History::new(
            self.host.clone(),
            jwt.clone(),
            task.page,
            PAGE_SIZE,
            self.origin.clone(),
        );
        self.command = Some(Box::new(history));
        Next::Nothing
    }

    /// `getJwt` left.
    pub(super) fn handle_jwt_asked(&mut self) {
        if let Some(task) = &mut self.task {
            task.step = Step::AwaitJwt;
        }
    }

    pub(super) fn handle_jwt(&mut self, jwt: SecretString, until: OffsetDateTime, now: Now) {
        if let Floor::Configured(at) = self.floor {
            // it was made just now, by the service's clock
            let since = JWT_LIFETIME + EARLIER + now.instant.saturating_duration_since(at);
            let floor = time::Duration::try_from(since).map(|since| until.saturating_sub(since));
            self.floor = Floor::Told(floor.unwrap_or(OffsetDateTime::UNIX_EPOCH));
        }
        // by our clock it may seem to be over already: it is as good as the first read finds it
        self.jwt = Some((jwt, until.max(now.utc + 2 * JWT_MARGIN)));
        if let Some(task) = &mut self.task
            && task.step == Step::AwaitJwt
        {
            task.step = Step::Wait(now.instant);
        }
    }

    /// The service asks for patience with `getJwt`.
    pub(super) fn handle_jwt_deferred(&mut self, until: Instant) {
        if let Some(task) = &mut self.task
            && task.step == Step::AwaitJwt
        {
            task.step = Step::Wait(until);
        }
    }

    /// The read failed: `Some` if it is not tried again.
    pub(super) fn handle_failure(&mut self, failure: HistoryFailure, now: Now) -> Option<String> {
        let task = self.task.as_mut().filter(|task| task.step == Step::Reading)?;
        match failure {
            HistoryFailure::Unauthorized if !task.renewed => {
                task.renewed = true;
                self.jwt = None;
                task.step = Step::NeedJwt;
                None
            }
            HistoryFailure::TooMany { retry_after } => {
                let until = now.instant + retry_after.min(MAX_RETRY_AFTER);
                self.reads.pause_until(until);
                task.step = Step::Wait(until);
                None
            }
            HistoryFailure::Unauthorized => Some("a new token was not accepted either (401)".to_owned()),
            HistoryFailure::Failed { why } => Some(why),
        }
    }

    /// A page came while recovering: whether enough was read (`Some`), and if so whether nothing can be missing.
    pub(super) fn handle_page(
        &mut self,
        page: &HistoryPage,
        since: OffsetDateTime,
        now: Now,
    ) -> Option<bool> {
        let since = since.max(self.floor());
        let task = self.task.as_mut()?;
        let reached = page.messages.iter().any(|message| message.at < since);
        let last = page.entries == 0 || task.page >= page.page_count;
        if reached || last {
            return Some(true);
        }
        if task.page >= PAGE_LIMIT {
            return Some(false);
        }
        task.page += 1;
        task.step = Step::Wait(now.instant);
        None
    }

    /// What is older was not missed.
    pub(super) fn floor(&self) -> OffsetDateTime {
        match self.floor {
            Floor::Configured(_) => OffsetDateTime::UNIX_EPOCH,
            Floor::Told(at) | Floor::Read(at) => at,
        }
    }

    /// A recovery is done. After the first one, the service's own times are all that counts.
    pub(super) fn handle_recovered(&mut self, oldest: Option<OffsetDateTime>) {
        self.owed = None;
        if !matches!(self.floor, Floor::Read(_)) {
            self.floor = Floor::Read(oldest.unwrap_or(OffsetDateTime::UNIX_EPOCH));
        }
    }

    /// Whether an answer is expected.
    pub(super) fn is_reading(&self) -> bool {
        self.task.as_ref().is_some_and(|task| task.step == Step::Reading)
    }

    /// Gives up what is being read.
    pub(super) fn abandon(&mut self) -> Option<Box<Task>> {
        self.command = None;
        let task = self.task.take()?;
        if let Purpose::Recover { since } = task.purpose {
            self.owed = Some(since);
        }
        Some(task)
    }

    /// What is being done has to be done anew, on the next socket if this one is gone.
    pub(super) fn handle_lost(&mut self) {
        let Some(task) = self.abandon() else { return };
        if task.purpose == Purpose::Display {
            self.wishes.push_front(task.page);
        }
        self.carried.extend(task.held);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let Some(task) = &self.task else { return None };
        Some(match task.step {
            Step::Wait(until) => until.min(task.latest),
            Step::NeedJwt | Step::AwaitJwt | Step::Reading => task.latest,
        })
    }

    fn begin(&mut self, purpose: Purpose, page: u32, not_before: Instant, now: Now) {
        let held = match purpose {
            Purpose::Display => Vec::new(),
            Purpose::Recover { .. } => std::mem::take(&mut self.carried),
        };
        self.task = Some(Box::new(Task {
            purpose,
            step: Step::Wait(not_before),
            page,
            renewed: false,
            latest: now.instant.max(not_before) + PATIENCE,
            oldest: None,
            missed: Vec::new(),
            own: Vec::new(),
            held,
        }));
    }
}
