//! The task that moves bytes and time between a state machine and its socket.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use genesys_api::{Clock, Now, Timer, entropy};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::ConnectLimiter;
use super::link::{Link, LinkEvent};
use crate::{AdmittedOrigin, CloseInfo, Command, Machine, SocketUrl};

/// Waiting events at which the socket is no longer read, until the application takes some. Our choice.
const BACKLOG: usize = 64;
/// Time that the last frames may take to leave.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Settings of a connection.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "plain settings, made by the application"
)]
pub struct Settings {
    /// Opens the TCP and TLS connections, and holds the clock.
    pub http: genesys_http::Client,
    /// URL of the socket, without a token.
    pub url: SocketUrl,
    /// Origin of the page that the connection is for.
    pub origin: AdmittedOrigin,
    /// Spreads new connections: give every connection to the service a clone of one.
    pub limiter: ConnectLimiter,
}

impl Settings {
    /// Settings with a client of their own that trusts the system's certificate authorities, and a limiter of its own.
    ///
    /// # Errors
    /// [`TlsError::NoSystemAuthorities`](genesys_http::TlsError::NoSystemAuthorities).
    pub fn new(url: SocketUrl, origin: AdmittedOrigin) -> Result<Self, genesys_http::TlsError> {
        Ok(Self {
            http: genesys_http::Client::builder(genesys_http::Tls::system()?).build(),
            url,
            origin,
            limiter: ConnectLimiter::default(),
        })
    }
}

/// A job in progress, which resolves to its result.
pub type RunningJob<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A running [`Machine`] and its events. Dropping it drops the socket at once.
///
/// Events must be read: when 64 wait, the socket is not read, which slows the peer down.
#[derive(Debug)]
pub struct Driver<M: Machine> {
    handle: Handle<M>,
    task: JoinHandle<()>,
}

impl<M: Machine> Driver<M> {
    /// Runs `machine` as a task of the caller's tokio runtime. `run` starts a job of [`Command::Run`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn spawn(
        machine: M,
        settings: Settings,
        run: fn(M::Job, genesys_http::Client) -> RunningJob<M::Outcome>,
    ) -> Self {
        let clock = settings.http.clock().clone();
        let shared = Arc::new(Shared {
            machine: Mutex::new(machine),
            clock: clock.clone(),
            to_task: Notify::new(),
            to_application: Notify::new(),
            stopped: AtomicBool::new(false),
        });
        let task = Task {
            shared: shared.clone(),
            settings,
            run_job: run,
            link: Link::Down,
            jobs: Vec::new(),
            timer: Timer::new(clock),
        };
        Self {
            handle: Handle { shared },
            task: tokio::spawn(task.run()),
        }
    }

    /// Returns a handle for other tasks; clones are cheap.
    pub fn handle(&self) -> Handle<M> {
        self.handle.clone()
    }

    /// Waits for the next event; `None` after the last one. Cancel safe: no event is lost.
    pub async fn next_event(&mut self) -> Option<M::Event> {
        let shared = &*self.handle.shared;
        loop {
            // read before the events: the task sets it last
            let stopped = shared.stopped.load(Ordering::Acquire);
            {
                let mut machine = shared.lock();
                if let Some(event) = machine.poll_event() {
                    if machine.backlog() + 1 == BACKLOG {
                        shared.to_task.notify_one();
                    }
                    return Some(event);
                }
                if stopped || machine.is_over() {
                    return None;
                }
            }
            shared.to_application.notified().await;
        }
    }

    /// Waits until the task has written its last frames and ended, at most until `latest`.
    pub async fn stopped(mut self, latest: Instant) {
        let clock = self.handle.shared.clock.clone();
        tokio::select! {
            _ = &mut self.task => {}
            () = clock.sleep_until(latest) => {}
        }
    }
}

impl<M: Machine> Drop for Driver<M> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Access to a running [`Machine`] from other tasks.
pub struct Handle<M> {
    shared: Arc<Shared<M>>,
}

impl<M: Machine> Handle<M> {
    /// Locks the machine, calls `f`, and wakes the task, and the reader of events if there are some.
    pub fn with<T>(&self, f: impl FnOnce(&mut M, Now) -> T) -> T {
        let now = self.shared.clock.now();
        let mut machine = self.shared.lock();
        let result = f(&mut machine, now);
        let has_events = machine.backlog() > 0 || machine.is_over();
        drop(machine);
        self.shared.to_task.notify_one();
        if has_events {
            self.shared.to_application.notify_one();
        }
        result
    }

    /// Locks the machine and calls `f`, which only reads.
    pub fn read<T>(&self, f: impl FnOnce(&M) -> T) -> T {
        f(&self.shared.lock())
    }
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<M> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// State shared by the task, the driver and its handles. The lock is held for one turn, never across an await.
struct Shared<M> {
    machine: Mutex<M>,
    clock: Clock,
    to_task: Notify,
    to_application: Notify,
    stopped: AtomicBool,
}

impl<M> Shared<M> {
    fn lock(&self) -> MutexGuard<'_, M> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task<M: Machine> {
    shared: Arc<Shared<M>>,
    settings: Settings,
    run_job: fn(M::Job, genesys_http::Client) -> RunningJob<M::Outcome>,
    link: Link,
    /// Jobs in progress; the machine bounds their number.
    jobs: Vec<(M::JobId, RunningJob<M::Outcome>)>,
    timer: Timer,
}

impl<M: Machine> Task<M> {
    async fn run(mut self) {
        while let Some(backlog) = self.run_commands() {
            let reading = backlog < BACKLOG;
            tokio::select! {
                biased;
                () = self.timer.elapsed() => {
                    let mut machine = self.shared.lock();
                    if !reading {
                        // the socket is not read, so silence is no sign of a dead peer
                        machine.handle_alive();
                    }
                    machine.handle_timeout(self.shared.clock.now());
                }
                event = self.link.next(reading) => self.handle_event(event),
                outcome = next_outcome(&mut self.jobs) => {
                    let now = self.shared.clock.now();
                    self.shared.lock().handle_outcome(outcome, now);
                }
                () = self.shared.to_task.notified() => {}
                // polled last: the application takes the events of frames that arrive together at once
                () = wake(&self.shared.to_application), if backlog > 0 => {}
            }
        }
        if let Link::Open(socket) = &mut self.link {
            let _ = tokio::time::timeout(FLUSH_TIMEOUT, socket.flush()).await;
        }
    }

    /// Runs the machine's commands and queues its frames. Returns the number of waiting events; `None` when it is over.
    fn run_commands(&mut self) -> Option<usize> {
        let mut machine = self.shared.lock();
        let now = self.shared.clock.now();
        while let Some(command) = machine.poll_command() {
            match command {
                Command::Connect => {
                    let handshake = machine.handshake(&self.settings.url, &self.settings.origin);
                    self.link = match self.settings.limiter.enqueue(now.instant) {
                        Ok(slot) => {
                            let start = slot.poll(now.instant);
                            if let Some(start) = start {
                                machine.handle_connect_deferred(start, now);
                            }
                            let queued = start.map(|start| (slot, start));
                            Link::connect(self.settings.http.clone(), handshake, queued)
                        }
                        Err(full) => {
                            machine.handle_queue_full(full, now, entropy::number());
                            Link::Down
                        }
                    };
                }
                Command::Disconnect => {
                    self.link = Link::Down;
                    let close = CloseInfo::abnormal("dropped by this side");
                    machine.handle_closed(close, now, entropy::number());
                }
                Command::Run(id, job) => {
                    let job = (self.run_job)(job, self.settings.http.clone());
                    self.jobs.retain(|(running, _)| *running != id);
                    self.jobs.push((id, job));
                }
            }
        }
        self.jobs.retain(|(id, _)| machine.wants(id));
        let is_over = machine.is_over();
        if let Link::Open(socket) = &mut self.link
            && (is_over || socket.is_flushed())
        {
            while let Some(transmit) = machine.poll_transmit(now) {
                if let Err(close) = socket.queue(transmit) {
                    self.link = Link::Down;
                    machine.handle_closed(close, now, entropy::number());
                    break;
                }
            }
        }
        self.timer.set(machine.poll_timeout().map(|(at, _)| at));
        (!machine.is_over()).then(|| machine.backlog())
    }

    fn handle_event(&mut self, event: LinkEvent) {
        let mut machine = self.shared.lock();
        let now = self.shared.clock.now();
        match event {
            LinkEvent::Alive => machine.handle_alive(),
            LinkEvent::Closed(close) => {
                self.link = Link::Down;
                tracing::debug!(%close, url = %self.settings.url, "connection closed");
                machine.handle_closed(close, now, entropy::number());
            }
            LinkEvent::Deferred(until) => machine.handle_connect_deferred(until, now),
            LinkEvent::Flushed => {}
            LinkEvent::Opened(socket) => {
                self.link = Link::Open(socket);
                machine.handle_connected(now);
            }
            LinkEvent::Refused { status, retry_after } => {
                self.link = Link::Down;
                tracing::debug!(status, url = %self.settings.url, "handshake refused");
                machine.handle_refused(status, retry_after, now, entropy::number());
            }
            LinkEvent::Text(text) => machine.handle_frame(&text, now),
        }
    }
}

impl<M: Machine> Drop for Task<M> {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.to_application.notify_one();
    }
}

/// Wakes the other side when it is polled; never resolves.
async fn wake(other: &Notify) {
    other.notify_one();
    pending().await
}

/// Waits for the next result; never resolves without a job. Cancel safe: no result is lost.
async fn next_outcome<I, T>(jobs: &mut Vec<(I, RunningJob<T>)>) -> T {
    poll_fn(|cx| {
        for at in 0..jobs.len() {
            if let Poll::Ready(outcome) = jobs[at].1.as_mut().poll(cx) {
                drop(jobs.swap_remove(at));
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    })
    .await
}
