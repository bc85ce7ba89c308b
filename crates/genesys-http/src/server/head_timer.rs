//! The timeout for the head of a request.
//!
//! hyper has one timeout, which starts when it begins to wait. It would close a connection that is idle between two
//! requests as early as one that sends a head slowly. This timer distinguishes the two.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// The timer of one connection.
pub(super) struct HeadTimer {
    head: Duration,
    idle: Duration,
    reads: Arc<AtomicU32>,
    used: AtomicBool,
}

impl HeadTimer {
    pub(super) fn new(head: Duration, idle: Duration) -> Self {
        Self {
            head,
            idle,
            reads: Arc::default(),
            used: AtomicBool::new(false),
        }
    }

    /// Counter of reads, incremented by the socket.
    pub(super) fn reads(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.reads)
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        if !self.used.swap(true, Ordering::Relaxed) {
            return TokioTimer::new().sleep_until(deadline);
        }
        Box::pin(NextHead {
            head: self.head,
            reads: Arc::clone(&self.reads),
            idle_reads: Some(self.reads.load(Ordering::Relaxed)),
            limit: TokioTimer::new().sleep(self.idle),
        })
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }
}

/// Ends after the idle timeout, or after the head timeout from the first read on.
struct NextHead {
    head: Duration,
    reads: Arc<AtomicU32>,
    idle_reads: Option<u32>,
    limit: Pin<Box<dyn Sleep>>,
}

impl Future for NextHead {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // hyper polls this after each read that did not complete a head
        if self
            .idle_reads
            .is_some_and(|reads| reads != self.reads.load(Ordering::Relaxed))
        {
            self.idle_reads = None;
            self.limit = TokioTimer::new().sleep(self.head);
        }
        self.limit.as_mut().poll(cx)
    }
}

impl Sleep for NextHead {}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);

    async fn elapsed(sleep: Pin<Box<dyn Sleep>>, timer: &HeadTimer) -> Duration {
        let started = timer.now();
        sleep.await;
        timer.now() - started
    }

    #[tokio::test(start_paused = true)]
    async fn new_connection_has_head_timeout_and_used_one_idle_timeout() {
        let timer = HeadTimer::new(HEAD, IDLE);
        let first = timer.sleep(HEAD);
        assert_eq!(elapsed(first, &timer).await, HEAD);
        let next = timer.sleep(HEAD);
        assert_eq!(elapsed(next, &timer).await, IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn started_head_has_head_timeout() {
        let timer = HeadTimer::new(HEAD, IDLE);
        drop(timer.sleep(HEAD));
        let mut next = timer.sleep(HEAD);
        let idle = tokio::time::timeout(Duration::from_secs(60), &mut next).await;
        assert!(idle.is_err(), "a minute of idle time is allowed");
        timer.reads().fetch_add(1, Ordering::Relaxed);
        let slow = tokio::time::timeout(Duration::from_secs(9), &mut next).await;
        assert!(slow.is_err());
        timer.reads().fetch_add(1, Ordering::Relaxed);
        assert_eq!(
            elapsed(next, &timer).await,
            Duration::from_secs(1),
            "a second read does not extend the timeout"
        );
    }
}
