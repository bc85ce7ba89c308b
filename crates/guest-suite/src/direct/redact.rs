//! The start of a receiver's response, without personal data and secrets, for the log of deliveries.

/// Longest start of a response, in bytes.
const LONGEST: usize = 4 * 1024;
/// Shortest hidden text: shorter ones are parts of too many words.
const SHORTEST: usize = 4;
/// Digits from which a word is hidden, as a telephone number or an id.
const DIGITS: usize = 6;
/// Characters from which a word of letters and digits is hidden, as a token.
const TOKEN: usize = 20;

/// Returns the first 4 KiB of a response as text.
///
/// It has `[sent]` in place of each of the texts `sent`, and `[hidden]` in place of addresses with `@`, words with six digits
/// or more, and words of 20 characters or more that mix letters and digits. Control characters but line breaks are spaces.
pub(super) fn redact(response: &[u8], sent: &[String]) -> String {
    let start = &response[..response.len().min(LONGEST)];
    let mut text = String::from_utf8_lossy(start).into_owned();
    let mut sent: Vec<&String> = sent.iter().filter(|sent| sent.len() >= SHORTEST).collect();
    // a text may be a part of another one
    sent.sort_by_key(|sent| std::cmp::Reverse(sent.len()));
    for hidden in sent {
        text = text.replace(hidden.as_str(), "[sent]");
    }
    let (mut redacted, mut word) = (String::with_capacity(text.len()), String::new());
    for character in text.chars().chain(['\n']) {
        if character.is_alphanumeric() || "@._+-".contains(character) {
            word.push(character);
            continue;
        }
        redacted.push_str(if is_hidden(&word) { "[hidden]" } else { &word });
        word.clear();
        redacted.push(if character.is_control() && character != '\n' {
            ' '
        } else {
            character
        });
    }
    redacted.truncate(redacted.len() - 1);
    redacted
}

fn is_hidden(word: &str) -> bool {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let has_letters = word.chars().any(char::is_alphabetic);
    word.contains('@') || digits >= DIGITS || (digits > 0 && has_letters && word.len() >= TOKEN)
}

/// The texts in a JSON value.
pub(super) fn texts(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(values) => values.iter().flat_map(texts).collect(),
        serde_json::Value::Object(values) => values.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn response_is_shown_without_what_was_sent_and_without_tokens() {
        let sent = texts(&json!({ "data": { "name": "Anna", "segment": ["Anna-Lena", "x"], "n": 1 } }));
        for (response, expected) in [
            (
                "{\"error\":\"invalid field guestId\"}",
                "{\"error\":\"invalid field guestId\"}",
            ),
            ("no Anna-Lena, no Anna", "no [sent], no [sent]"),
            (
                "call +49-30-1234567 or a.b@c.example!",
                "call [hidden] or [hidden]!",
            ),
            ("request 4fzz81kd0aaae7b12x90 failed", "request [hidden] failed"),
            ("error 500 after 12345 ms", "error 500 after 12345 ms"),
            ("a\u{1b}[31m\tb\nc", "a [31m b\nc"),
            ("", ""),
        ] {
            assert_eq!(redact(response.as_bytes(), &sent), expected);
        }
        assert_eq!(redact(&[b'a', 0xff], &[]), "a\u{fffd}");
        assert_eq!(redact(&[b' '; 5_000], &[]).len(), LONGEST);
    }
}
