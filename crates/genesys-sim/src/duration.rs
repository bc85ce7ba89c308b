//! Durations as people write them: a whole number and a unit.

use std::time::Duration;

/// Reads `14m`. Units are `ms`, `s`, `m`, `h` and `d`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// Writes it so that [`parse`] reads the same, to the millisecond.
pub(crate) fn write(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis > 0 && millis.is_multiple_of(length) {
            return format!("{}{unit}", millis / length);
        }
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["1500ms", "7s", "90s", "14m", "2h", "3d", "0ms"] {
            assert_eq!(write(parse(text).unwrap()), text);
        }
        assert_eq!(write(parse("60s").unwrap()), "1m");
        for text in [
            "",
            "14",
            "m",
            "-1s",
            "1.5h",
            "1 s",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
