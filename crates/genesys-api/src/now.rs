//! One reading of time, and time on the wire.

use std::time::{Duration, Instant};

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// One reading of both clocks, taken by a driver once a turn.
///
/// Durations and deadlines use `instant`; `utc` is for people and for the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// The wall clock.
    pub utc: OffsetDateTime,
}

impl Now {
    /// How long it is until `when`; zero if that is past.
    #[must_use]
    pub fn until(&self, when: OffsetDateTime) -> Duration {
        Duration::try_from(when - self.utc).unwrap_or(Duration::ZERO)
    }

    /// The monotonic deadline of a wall time that a peer sent. A time that no `Instant` can hold is the far future.
    #[must_use]
    pub fn deadline(&self, when: OffsetDateTime) -> Instant {
        const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);
        self.instant + self.until(when).min(FAR)
    }
}

/// `when` as RFC 3339 in UTC with milliseconds, as in `2026-11-22T12:30:00.000Z`.
#[must_use]
pub fn rfc3339(when: OffsetDateTime) -> String {
    let utc = when.to_offset(UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        utc.year(),
        u8::from(utc.month()),
        utc.day(),
        utc.hour(),
        utc.minute(),
        utc.second(),
        utc.millisecond()
    )
}

/// Reads RFC 3339, offset required, and turns it into UTC.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .and_then(|when| when.checked_to_offset(UtcOffset::UTC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_time_is_utc_with_milliseconds() {
        let when = parse_rfc3339("2026-11-22T13:30:00.123456+01:00").unwrap();
        assert_eq!(rfc3339(when), "2026-11-22T12:30:00.123Z");
        assert_eq!(
            parse_rfc3339("2026-11-22T13:30:00"),
            None,
            "an offset is required"
        );
        assert_eq!(parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn a_deadline_is_the_remaining_wall_time_on_the_monotonic_clock() {
        let utc = parse_rfc3339("2026-01-01T00:00:00Z").unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        let now = Now {
            instant: Instant::now(),
            utc,
        };
        assert_eq!(
            now.deadline(utc + time::Duration::minutes(5)),
            now.instant + Duration::from_secs(300)
        );
        assert_eq!(now.deadline(utc - time::Duration::minutes(5)), now.instant);
        assert!(now.deadline(parse_rfc3339("9999-12-31T23:59:59Z").unwrap()) > now.instant);
    }
}
