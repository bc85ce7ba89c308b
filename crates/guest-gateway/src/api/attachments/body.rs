//! The body of an upload: its memory, which is reserved as it arrives, and its pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use guest_conversation::attachments::AttachError;
use guest_sessions::ErrorCode;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ADMISSION_TIMEOUT, App, Incoming, Refusal, limited, refusal, too_slow, within};

/// Memory for files that are being received and uploaded, in KiB. Our choice: Genesys needs the size of a file before its
/// content, and a `PUT` to its storage is repeated if its connection is lost.
pub(crate) const FILE_MEMORY: usize = 64 * 1024;
/// Memory that a session may use in any case, in KiB.
const SHARE: usize = FILE_MEMORY / 4;
/// Memory that a session with more than its share leaves to others, in KiB.
const LEFT_TO_OTHERS: usize = FILE_MEMORY / 8;
/// Least and most memory that is reserved at once, in bytes, unless one part needs more.
const STEPS: (usize, usize) = (64 * 1024, 1024 * 1024);
/// Longest time without a part of the body. Our choice, as for other bodies.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which the rate counts. Our choice.
const RATE_GRACE: Duration = Duration::from_secs(10);
/// Least rate, in bytes per second. Our choice.
const LEAST_RATE: u64 = 16 * 1024;

/// The memory that an upload has reserved. Dropping it frees the memory.
#[derive(Debug)]
pub(super) struct Reservation {
    memory: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    kibibytes: usize,
    /// The memory that all uploads of the session have reserved, in KiB.
    of_session: Arc<AtomicUsize>,
}

impl Reservation {
    pub(super) fn new(app: &App, of_session: Arc<AtomicUsize>) -> Self {
        Self {
            memory: Arc::clone(&app.file_memory),
            permit: None,
            kibibytes: 0,
            of_session,
        }
    }

    /// Extends the reservation to a capacity in bytes, if there is room in time.
    async fn extend(&mut self, app: &App, capacity: usize) -> Result<(), Refusal> {
        let more = capacity.div_ceil(1024).saturating_sub(self.kibibytes);
        let of_session = self.of_session.load(Ordering::Relaxed) + more;
        if of_session > SHARE && self.memory.available_permits() < more + LEFT_TO_OTHERS {
            return Err(no_memory());
        }
        let wanted = u32::try_from(more).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.memory).acquire_many_owned(wanted);
        let permit = within(app, ADMISSION_TIMEOUT, permit).await;
        let permit = permit.and_then(Result::ok).ok_or_else(no_memory)?;
        match &mut self.permit {
            Some(reserved) => reserved.merge(permit),
            none => *none = Some(permit),
        }
        self.kibibytes += more;
        self.of_session.fetch_add(more, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.of_session.fetch_sub(self.kibibytes, Ordering::Relaxed);
    }
}

/// The pace at which a body arrives.
#[derive(Debug)]
struct Pace {
    started: Instant,
    last: Instant,
    bytes: u64,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            started: now,
            last: now,
            bytes: 0,
        }
    }

    fn handle_part(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        self.last = now;
    }

    /// Handles a wait for memory, which is not the client's.
    fn handle_wait(&mut self, now: Instant) {
        self.started += now.saturating_duration_since(self.last);
        self.last = now;
    }

    /// The time by which the next part has to arrive.
    fn poll_timeout(&self) -> Instant {
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / LEAST_RATE);
        (self.last + STALL_TIMEOUT).min(self.started + RATE_GRACE + earned)
    }
}

/// Receives a body of at most `largest` bytes.
pub(super) async fn read(
    app: &App,
    incoming: &mut Incoming,
    largest: u64,
    reservation: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let now = || app.clock.now().instant;
    let limit = usize::try_from(largest).unwrap_or(usize::MAX);
    let mut content = Vec::new();
    // the body is read when there is room
    grow(app, &mut content, 0, limit, reservation).await?;
    incoming.awaits_continue = false;
    let mut pace = Pace::new(now());
    loop {
        let frame = tokio::select! {
            frame = incoming.body.frame() => frame,
            () = app.clock.sleep_until(pace.poll_timeout()) => return Err(too_slow()),
        };
        let Some(frame) = frame else {
            return Ok(content.into());
        };
        let frame = frame.map_err(|_| {
            Refusal::bad_request("invalid body: it ended before it was complete, upload the file again")
        })?;
        let part = frame.into_data().unwrap_or_default();
        let bytes = content.len() as u64 + part.len() as u64;
        if bytes > largest {
            let limit = largest;
            return Err(refusal(AttachError::TooLarge { bytes, limit }.into()));
        }
        pace.handle_part(part.len(), now());
        grow(app, &mut content, part.len(), limit, reservation).await?;
        pace.handle_wait(now());
        content.extend_from_slice(&part);
    }
}

/// Makes room for a part, in steps, so that the capacity is what is reserved.
async fn grow(
    app: &App,
    content: &mut Vec<u8>,
    part: usize,
    limit: usize,
    reservation: &mut Reservation,
) -> Result<(), Refusal> {
    let needed = content.len() + part;
    if needed <= content.capacity() && content.capacity() > 0 {
        return Ok(());
    }
    let step = (content.len() / 4).clamp(STEPS.0, STEPS.1);
    let capacity = needed.max(content.len() + step).min(limit);
    reservation.extend(app, capacity).await?;
    content.reserve_exact(capacity - content.len());
    Ok(())
}

fn no_memory() -> Refusal {
    let message = "cannot receive the file: the gateway receives too many files now, upload it again later";
    limited(ErrorCode::TooManyAttachments, message.to_owned())
}

#[cfg(test)]
mod tests {
    use genesys_api::Clock;

    use super::*;

    #[test]
    fn body_has_to_arrive_at_the_least_rate_after_ten_seconds() {
        let start = Clock::system().now().instant;
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        assert_eq!(pace.poll_timeout(), after(10));
        pace.handle_part(1, after(9));
        assert_eq!(pace.poll_timeout(), after(10), "a byte is no progress");
        pace.handle_part(16 * 1024, after(10));
        assert_eq!(pace.poll_timeout(), after(11));
        pace.handle_part(1024 * 1024, after(11));
        assert_eq!(pace.poll_timeout(), after(21), "a part in ten seconds");
    }

    #[test]
    fn wait_for_memory_does_not_count() {
        let start = Clock::system().now().instant;
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        pace.handle_part(1, after(1));
        pace.handle_wait(after(14));
        assert_eq!(pace.poll_timeout(), after(23));
    }
}
