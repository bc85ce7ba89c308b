//! Durations as text: a whole number and a unit.

use std::time::Duration;

/// Parses `14m`. Units are `ms`, `s`, `m`, `h` and `d`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_has_a_whole_number_and_a_unit() {
        for (text, millis) in [
            ("1500ms", 1_500),
            ("7s", 7_000),
            ("14m", 840_000),
            ("2h", 7_200_000),
            ("3d", 259_200_000),
            ("0ms", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
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
