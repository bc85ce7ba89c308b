//! Reader of the history: pages, the token for them, and the events that are deferred until they are read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use genesys_api::retry::MAX_RETRY_AFTER;
use genesys_api::{Host, Now};
use secrecy::SecretString;
use time::OffsetDateTime;

use crate::recent_ids::RecentIds;
use crate::sliding_window::SlidingWindow;
use crate::{Event, Message};
use web_messaging::rest::history::{History, HistoryPage};
use ws_transport::Origin;

/// Entries of a page. Genesys' Java SDK takes 100; a page must fit an answer of 1 MiB.
const PAGE_SIZE: u32 = 50;
/// Most pages read by a recovery: 200 entries. Our choice.
const PAGE_LIMIT: u32 = 4;
/// Most live messages deferred by a recovery. Our choice.
const DEFER_LIMIT: usize = 64;
/// Most pages for the application that wait.
const WAITING_PAGES: usize = 4;
/// Longest time of a reading. Our choice.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Lifetime of a token for the history (Genesys).
const JWT_LIFETIME: Duration = Duration::from_secs(60);
/// A session that is resumed by a new process has missed nothing that is older than its first configuration, less
/// this, unless that process knows better.
const MARGIN: Duration = Duration::from_secs(5);
/// A token counts as valid while it has more left than this (Genesys' mobile SDK).
const JWT_MARGIN: Duration = Duration::from_secs(5);

/// The failure of a call that read the history.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HistoryFailure {
    /// The call failed. A recovery reports what it could not read as [`SessionEvent::HistoryUnread`](crate::SessionEvent::HistoryUnread).
    Failed {
        /// Reason, for people; holds no secret.
        reason: String,
    },
    /// The service limits the rate.
    RateLimited {
        /// Wait before the next call.
        retry_after: Duration,
    },
    /// The token was not accepted (401).
    Unauthorized,
}

#[derive(Debug)]
pub(super) struct HistoryReader {
    host: Host,
    pub(super) origin: Option<Origin>,
    /// Time at which the last connection was lost.
    pub(super) lost_at: Option<Instant>,
    jwt: Option<(SecretString, OffsetDateTime)>,
    reads: SlidingWindow,
    pages: VecDeque<u32>,
    pub(super) reading: Option<Box<Reading>>,
    pub(super) command: Option<Box<History>>,
    pub(super) lower_bound: LowerBound,
    /// Newest time of the service, of a live message or in the history; 1970 before the first.
    pub(super) newest: OffsetDateTime,
    /// Events deferred when the connection was lost during a recovery; the next one takes them.
    pub(super) deferred: Deferred,
    /// The time back to which a failed recovery had to read: the next one has to.
    pub(super) resume_from: Option<OffsetDateTime>,
    /// Id of the last message that was emitted.
    pub(super) last_emitted: Option<String>,
    /// Ids of entries of the guest that match no message that was sent before they were read.
    pub(super) foreign: RecentIds,
}

/// The time before which no message was missed, by the service's clock.
#[derive(Clone, Copy, Debug)]
pub(super) enum LowerBound {
    /// Not known before the service shows its clock: shortly before the session was configured, which was then.
    Configured(Instant),
    /// An earlier process emitted what is older.
    Emitted(OffsetDateTime),
    /// The oldest entry of the first reading, or 1970. What is newer was emitted, or was missed since.
    Read(OffsetDateTime),
}

#[derive(Debug)]
pub(super) struct Reading {
    pub(super) purpose: Purpose,
    step: Step,
    page: u32,
    /// Whether a token was requested because the last one was not accepted.
    refreshed: bool,
    latest: Instant,
    /// Newest time of the service when it began. A reading back to it misses no message.
    known: OffsetDateTime,
    /// Whether the message was read with which the conversation resumes.
    pub(super) resumed: bool,
    /// Time of the oldest entry that was read.
    pub(super) oldest: Option<OffsetDateTime>,
    /// Entries that were not seen before, newest first.
    pub(super) entries: Vec<Message>,
    pub(super) deferred: Deferred,
}

/// Live events that wait for the end of a recovery.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    pub(super) events: Vec<Event>,
    /// Number of events at the loss of each earlier connection that brought some. Messages may have been missed there.
    pub(super) losses: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// A page for the application.
    Page,
    /// The messages since this time of the service, after a lost connection.
    Recover { since: OffsetDateTime },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// Nothing to do before then.
    Wait(Instant),
    /// `getJwt` was sent.
    AwaitJwt,
    /// The page is being read.
    AwaitPage,
}

/// The next step of a reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// `getJwt` on the socket.
    Jwt,
    /// It timed out.
    TimedOut,
    /// The rate limit allows no page for the application yet.
    Limited { retry_after: Duration },
}

impl HistoryReader {
    pub(super) fn new(host: Host) -> Self {
        Self {
            host,
            origin: None,
            lost_at: None,
            jwt: None,
            // Genesys: get.history.rate.per.minute, of a session
            reads: SlidingWindow::new(10, Duration::from_millis(60_100)),
            pages: VecDeque::new(),
            reading: None,
            command: None,
            lower_bound: LowerBound::Read(OffsetDateTime::UNIX_EPOCH),
            newest: OffsetDateTime::UNIX_EPOCH,
            deferred: Deferred::default(),
            resume_from: None,
            last_emitted: None,
            foreign: RecentIds::default(),
        }
    }

    /// Queues a page for the application. Returns `false` if too many wait.
    pub(super) fn queue_page(&mut self, page: u32) -> bool {
        let room = self.pages.len() < WAITING_PAGES;
        if room {
            self.pages.push_back(page.max(1));
        }
        room
    }

    pub(super) fn recover(&mut self, since: OffsetDateTime, not_before: Instant, now: Now) {
        let since = self.resume_from.map_or(since, |from| from.min(since));
        self.begin(Purpose::Recover { since }, 1, not_before, now);
    }

    pub(super) fn is_recovering(&self) -> bool {
        let mut reading = self.reading.iter();
        reading.any(|reading| reading.purpose != Purpose::Page)
    }

    /// Whether a recovery defers events, and no further one.
    pub(super) fn is_full(&self) -> bool {
        let reading = self.reading.as_ref().filter(|_| self.is_recovering());
        reading.is_some_and(|reading| reading.deferred.events.len() >= DEFER_LIMIT)
    }

    /// Defers an event during a recovery. Returns it if it need not wait.
    pub(super) fn defer(&mut self, event: Event) -> Option<Event> {
        match &mut self.reading {
            Some(reading) if reading.purpose != Purpose::Page => {
                reading.deferred.events.push(event);
                None
            }
            _ => Some(event),
        }
    }

    /// Whether a recovery that ended here can have missed a message.
    pub(super) fn has_gap(&self, reading: &Reading) -> bool {
        let known = reading.known.max(self.lower_bound());
        reading.oldest.is_none_or(|oldest| oldest > known)
    }

    /// Advances as far as possible; a call is left in `command`.
    pub(super) fn advance(&mut self, now: Now) -> Option<Next> {
        if self.reading.is_none()
            && let Some(page) = self.pages.pop_front()
        {
            self.begin(Purpose::Page, page, now.instant, now);
        }
        let reading = self.reading.as_mut()?;
        if reading.latest <= now.instant {
            return Some(Next::TimedOut);
        }
        if !matches!(reading.step, Step::Wait(until) if until <= now.instant) {
            return None;
        }
        if reading.purpose == Purpose::Page
            && let Err(at) = self.reads.check(now.instant)
        {
            let retry_after = at.saturating_duration_since(now.instant);
            return Some(Next::Limited { retry_after });
        }
        let valid = self
            .jwt
            .as_ref()
            .filter(|(_, until)| *until > now.utc + JWT_MARGIN);
        let Some((jwt, _)) = valid else {
            reading.step = Step::AwaitJwt;
            return Some(Next::Jwt);
        };
        if let Err(at) = self.reads.try_acquire(now.instant) {
            reading.step = Step::Wait(at);
            reading.latest = reading.latest.max(at + TIMEOUT);
            return None;
        }
        reading.step = Step::AwaitPage;
        self.command = Some(Box::new(History {
            host: self.host.clone(),
            jwt: jwt.clone(),
            page: reading.page,
            page_size: PAGE_SIZE,
            origin: self.origin.clone(),
        }));
        None
    }

    pub(super) fn handle_jwt(&mut self, jwt: SecretString, until: OffsetDateTime, now: Now) {
        if let LowerBound::Configured(at) = self.lower_bound {
            // it was made just now, by the service's clock
            let since = JWT_LIFETIME + MARGIN + now.instant.saturating_duration_since(at);
            let floor = time::Duration::try_from(since).map(|since| until.saturating_sub(since));
            self.lower_bound = LowerBound::Emitted(floor.unwrap_or(OffsetDateTime::UNIX_EPOCH));
        }
        // by our clock it may seem to be over already: it is as good as the first read finds it
        self.jwt = Some((jwt, until.max(now.utc + 2 * JWT_MARGIN)));
        self.handle_jwt_deferred(now.instant);
    }

    /// The service, or a limit of this side, delays `getJwt`.
    pub(super) fn handle_jwt_deferred(&mut self, until: Instant) {
        if let Some(reading) = &mut self.reading
            && reading.step == Step::AwaitJwt
        {
            reading.step = Step::Wait(until);
        }
    }

    /// Handles a failed call. Returns the reason if it is not tried again.
    pub(super) fn handle_failure(&mut self, failure: HistoryFailure, now: Now) -> Option<String> {
        let reading = self.reading.as_mut()?;
        match failure {
            HistoryFailure::Unauthorized if !reading.refreshed => {
                reading.refreshed = true;
                self.jwt = None;
                reading.step = Step::Wait(now.instant);
                None
            }
            HistoryFailure::RateLimited { retry_after } => {
                let until = now.instant + retry_after.min(MAX_RETRY_AFTER);
                self.reads.pause_until(until);
                // a page for the application fails at once
                reading.step = Step::Wait(match reading.purpose {
                    Purpose::Page => now.instant,
                    Purpose::Recover { .. } => until,
                });
                None
            }
            HistoryFailure::Unauthorized => Some("a new token was not accepted either (401)".to_owned()),
            HistoryFailure::Failed { reason } => Some(reason),
        }
    }

    /// Handles a page of a recovery. Returns `Some` if enough was read, and in it whether nothing can be missing.
    pub(super) fn handle_page(
        &mut self,
        page: &HistoryPage,
        since: OffsetDateTime,
        now: Now,
    ) -> Option<bool> {
        let since = since.max(self.lower_bound());
        let reading = self.reading.as_mut()?;
        let reached = page.messages.iter().any(|message| message.at < since);
        let last = page.entries == 0 || reading.page >= page.page_count;
        if reached || last {
            return Some(true);
        }
        if reading.page >= PAGE_LIMIT {
            return Some(false);
        }
        reading.page += 1;
        reading.step = Step::Wait(now.instant);
        None
    }

    /// The time before which no message was missed.
    pub(super) fn lower_bound(&self) -> OffsetDateTime {
        match self.lower_bound {
            LowerBound::Configured(_) => OffsetDateTime::UNIX_EPOCH,
            LowerBound::Emitted(at) | LowerBound::Read(at) => at,
        }
    }

    /// Handles the end of a recovery. After the first one, only the service's own times count.
    pub(super) fn handle_recovered(&mut self, oldest: Option<OffsetDateTime>) {
        self.resume_from = None;
        if !matches!(self.lower_bound, LowerBound::Read(_)) {
            self.lower_bound = LowerBound::Read(oldest.unwrap_or(OffsetDateTime::UNIX_EPOCH));
        }
    }

    /// Purpose of the page that is awaited.
    pub(super) fn awaited(&self) -> Option<Purpose> {
        let reading = self.reading.as_ref()?;
        (reading.step == Step::AwaitPage).then_some(reading.purpose)
    }

    /// Stops the reading.
    pub(super) fn abandon(&mut self) -> Option<Box<Reading>> {
        self.command = None;
        let reading = self.reading.take()?;
        if let Purpose::Recover { since } = reading.purpose {
            self.resume_from = Some(since);
        }
        Some(reading)
    }

    /// Restarts the reading.
    pub(super) fn handle_lost(&mut self) {
        let Some(reading) = self.abandon() else { return };
        match reading.purpose {
            Purpose::Page => self.pages.push_front(reading.page),
            Purpose::Recover { .. } => self.deferred = reading.deferred,
        }
    }

    /// Handles the loss of the connection.
    pub(super) fn handle_disconnect(&mut self, now: Instant) {
        self.lost_at = Some(now);
        self.handle_lost();
        let events = self.deferred.events.len();
        if events > self.deferred.losses.last().copied().unwrap_or(0) {
            self.deferred.losses.push(events);
        }
    }

    /// Reads a page for the application in the conversation that follows.
    pub(super) fn postpone_page(&mut self) {
        if !self.is_recovering() {
            self.handle_lost();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let reading = self.reading.as_ref()?;
        Some(match reading.step {
            Step::Wait(until) => until.min(reading.latest),
            Step::AwaitJwt | Step::AwaitPage => reading.latest,
        })
    }

    fn begin(&mut self, purpose: Purpose, page: u32, not_before: Instant, now: Now) {
        let deferred = match purpose {
            Purpose::Page => Deferred::default(),
            Purpose::Recover { .. } => std::mem::take(&mut self.deferred),
        };
        let known = match purpose {
            Purpose::Page => self.newest,
            Purpose::Recover { since } => {
                let missed = self.resume_from.map_or(self.newest, |from| from.min(self.newest));
                missed.max(since)
            }
        };
        self.reading = Some(Box::new(Reading {
            purpose,
            step: Step::Wait(not_before),
            page,
            refreshed: false,
            latest: now.instant.max(not_before) + TIMEOUT,
            known,
            resumed: false,
            oldest: None,
            entries: Vec::new(),
            deferred,
        }));
    }
}
