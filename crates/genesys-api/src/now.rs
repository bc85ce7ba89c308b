//! A reading of both clocks, and RFC 3339.

use std::time::{Duration, Instant};

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// Longest duration of a configuration, a rule or a token: ten years. Our choice: times that far ahead have a form on the
/// wire, and sums of instants do not overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A reading of both clocks, taken by a driver once per turn.
///
/// Durations and deadlines use `instant`. Logs and wire formats use `utc`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// The wall clock.
    pub utc: OffsetDateTime,
}

impl Now {
    /// Returns the time until `when`, or zero if that is past.
    #[must_use]
    pub fn until(&self, when: OffsetDateTime) -> Duration {
        Duration::try_from(when - self.utc).unwrap_or(Duration::ZERO)
    }

    /// Returns the time by which the wall clock was set forward since `earlier`: negative if it was set back. The sleep of
    /// a machine counts, because the monotonic clock of Linux stops meanwhile.
    #[must_use]
    pub fn jump_since(&self, earlier: &Self) -> time::Duration {
        let elapsed = self.instant.saturating_duration_since(earlier.instant);
        self.utc
            - earlier
                .utc
                .saturating_add(elapsed.try_into().unwrap_or(time::Duration::MAX))
    }

    /// Converts a wall time from a peer to a monotonic deadline, at most a hundred years ahead.
    #[must_use]
    pub fn deadline(&self, when: OffsetDateTime) -> Instant {
        const MAX: Duration = Duration::from_secs(100 * 365 * 86_400);
        self.instant + self.until(when).min(MAX)
    }
}

/// Formats `when` as RFC 3339 in UTC with milliseconds: `2026-11-22T12:30:00.000Z`. A time that UTC puts outside the
/// years 0 to 9999 is formatted as the nearest one inside.
#[must_use]
pub fn rfc3339(when: OffsetDateTime) -> String {
    let [first, last] = [PrimitiveDateTime::MIN, PrimitiveDateTime::MAX].map(PrimitiveDateTime::assume_utc);
    let utc = when
        .checked_to_offset(UtcOffset::UTC)
        .unwrap_or(if when.year() > 0 { last } else { first });
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut put = |end: usize, width: usize, mut value: u16| {
        for digit in text[end - width..end].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(4, 4, utc.year().try_into().unwrap_or_default());
    put(7, 2, u8::from(utc.month()).into());
    put(10, 2, utc.day().into());
    put(13, 2, utc.hour().into());
    put(16, 2, utc.minute().into());
    put(19, 2, utc.second().into());
    put(23, 3, utc.millisecond());
    text.iter().copied().map(char::from).collect()
}

/// Parses RFC 3339 with an offset and with `T` before the time, as JSON Schema has it, and converts it to UTC.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<OffsetDateTime> {
    let has_t = matches!(text.as_bytes().get(10), Some(b'T' | b't'));
    has_t
        .then(|| OffsetDateTime::parse(text, &Rfc3339).ok())
        .flatten()
        .and_then(|when| when.checked_to_offset(UtcOffset::UTC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_has_a_letter_before_the_time() {
        let noon = parse_rfc3339("2026-11-22T12:30:00Z");
        assert!(noon.is_some());
        assert_eq!(parse_rfc3339("2026-11-22t14:30:00+02:00"), noon);
        for text in ["2026-11-22 12:30:00Z", "2026-11-22_12:30:00Z", "2026-11-22", ""] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn rfc3339_of_a_time_outside_its_years_is_the_nearest() {
        let edge =
            |hours, when: PrimitiveDateTime| when.assume_offset(UtcOffset::from_hms(hours, 0, 0).unwrap());
        let last = rfc3339(edge(-1, PrimitiveDateTime::MAX));
        assert_eq!(last, "9999-12-31T23:59:59.999Z");
        assert_eq!(
            rfc3339(edge(1, PrimitiveDateTime::MIN)),
            "0000-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn rfc3339_is_utc_with_milliseconds() {
        let when = parse_rfc3339("2026-11-22T13:30:00.123456+01:00").unwrap();
        assert_eq!(rfc3339(when), "2026-11-22T12:30:00.123Z");
        for text in ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"] {
            assert_eq!(rfc3339(parse_rfc3339(text).unwrap()), text);
        }
        assert_eq!(
            parse_rfc3339("2026-11-22T13:30:00"),
            None,
            "an offset is required"
        );
        assert_eq!(parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn deadline_is_remaining_wall_time_on_monotonic_clock() {
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
