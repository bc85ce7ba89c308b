//! The start of a receiver's response, without personal data and secrets, for the log of deliveries.

mod spelling;

use spelling::{Character, decode, fold};

/// Longest start of a response, in bytes.
const LONGEST: usize = 4 * 1024;
/// Shortest hidden text: shorter ones are parts of too many words.
const SHORTEST: usize = 4;
/// Digits from which a word is hidden, as a telephone number or an id.
const DIGITS: usize = 6;
/// Characters from which a word of letters and digits is hidden, as a token.
const TOKEN: usize = 20;
/// Most escapes inside of each other, as of JSON in the JSON of a URL.
const NESTED: usize = 3;

/// A part of a response, as it is stored.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Part {
    Shown,
    Hidden,
    Sent,
}

/// Returns the first 4 KiB of a response as text.
///
/// It has `[sent]` in place of each of the texts `sent`, in any case and escaped for a URL, JSON or HTML, and of the start of
/// one at the end of the response. It has `[hidden]` in place of addresses with `@`, words with six digits or more, and words
/// of 20 characters or more that mix letters and digits. Control characters but line breaks are spaces.
pub(super) fn redact(response: &[u8], sent: &[String]) -> String {
    let start = &response[..response.len().min(LONGEST)];
    let text = String::from_utf8_lossy(start);
    let mut sent: Vec<String> = sent
        .iter()
        .filter(|sent| sent.len() >= SHORTEST)
        .cloned()
        .collect();
    sent.iter_mut()
        .for_each(|sent| *sent = fold(sent.chars()).collect());
    let mut parts = vec![Part::Shown; text.len()];
    let mut characters = Character::all(&text);
    for _ in 0..=NESTED {
        mark(&characters, &sent, &mut parts);
        let decoded = decode(&characters);
        if decoded.len() == characters.len() {
            break;
        }
        characters = decoded;
    }
    let (mut redacted, mut before) = (String::with_capacity(text.len()), Part::Shown);
    for (place, character) in text.char_indices() {
        match parts[place] {
            Part::Shown if character.is_control() && character != '\n' => redacted.push(' '),
            Part::Shown => redacted.push(character),
            same if same == before => {}
            Part::Hidden => redacted.push_str("[hidden]"),
            Part::Sent => redacted.push_str("[sent]"),
        }
        before = parts[place];
    }
    redacted
}

/// Marks what is hidden.
fn mark(characters: &[Character], sent: &[String], parts: &mut [Part]) {
    let is_word = |one: &Character| one.value.is_alphanumeric() || "@._+-".contains(one.value);
    for word in characters.chunk_by(|one, next| is_word(one) && is_word(next)) {
        if is_hidden(&word.iter().map(|one| one.value).collect::<String>()) {
            set(word, Part::Hidden, parts);
        }
    }
    // the index of the character of each byte
    let (mut folded, mut places) = (String::new(), Vec::new());
    for (place, character) in characters.iter().enumerate() {
        folded.extend(fold([character.value]));
        places.resize(folded.len(), place);
    }
    let ends = [folded.len(), spelling::complete(&folded)];
    for sent in sent {
        for (at, found) in folded.match_indices(sent) {
            set(
                &characters[places[at]..=places[at + found.len() - 1]],
                Part::Sent,
                parts,
            );
        }
        for end in ends {
            let starts = sent.char_indices().map(|(at, _)| &sent[..at]);
            let is_cut = |start: &&str| start.len() >= SHORTEST && folded[..end].ends_with(start);
            if let Some(cut) = starts.rev().find(is_cut) {
                set(&characters[places[end - cut.len()]..], Part::Sent, parts);
            }
        }
    }
}

/// Marks the bytes of characters. A text that was sent stays one.
fn set(characters: &[Character], part: Part, parts: &mut [Part]) {
    for character in characters {
        for place in &mut parts[character.place.clone()] {
            if *place != Part::Sent {
                *place = part;
            }
        }
    }
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

    #[test]
    fn sent_text_is_recognized_in_other_spellings() {
        let sent = [
            "Zoë \"Z\" Größe & Co".to_owned(),
            "100%41 x".to_owned(),
            "😀😀".to_owned(),
        ];
        for (response, expected) in [
            ("for ZOË \"z\" GRÖSSE & CO.", "for [sent]."),
            (
                "?name=Zo%C3%AB+%22Z%22+Gr%c3%b6%C3%9Fe+%26+Co&x=1",
                "?name=[sent]&x=1",
            ),
            (
                r#"{"error":"Zo\u00eb \"Z\" Gr\u00f6\u00DFe & Co"}"#,
                r#"{"error":"[sent]"}"#,
            ),
            (
                r#""{\"e\":\"Zo\\u00eb \\\"Z\\\" Größe & Co\"}""#,
                r#""{\"e\":\"[sent]\"}""#,
            ),
            (
                "<p>Zo&euml; Zo&#235; &quot;z&quot; Gr&#xF6;&#xdf;e &amp; Co</p>",
                "<p>Zo&euml; [sent]</p>",
            ),
            (r"b'Zo\xc3\xab \x22Z\x22 Gr\xc3\xb6\xc3\x9fe & Co'", "b'[sent]'"),
            (
                "Zo%25C3%25AB%2520%2522Z%2522%2520Gr%25C3%25B6%25C3%259Fe%2520%2526%2520Co",
                "[sent]",
            ),
            ("100%41 X and 100%2541%20x", "[sent] and [sent]"),
            (r"\ud83d\ude00\uD83D\uDE00", "[sent]"),
            ("mail=a.b%40c.example", "mail=[hidden]"),
            (r"C:\users\x &c; 5% \u12", r"C:\users\x &c; 5% \u12"),
        ] {
            assert_eq!(redact(response.as_bytes(), &sent), expected);
        }
    }

    #[test]
    fn sent_text_is_recognized_at_the_end_of_a_cut_response() {
        let sent = ["Zoë \"Z\" Größe & Co".to_owned()];
        for echo in [
            "Zoë \"Z\" Größe & Co",
            "zo%c3%ab+%22z%22+gr%c3%b6%c3%9fe",
            r#"ZO\u00cb \"Z\" GR\u00d6SSE"#,
        ] {
            for length in 0..=echo.len() {
                let response = [&" ".repeat(LONGEST - length), echo].concat();
                let shown = redact(response.as_bytes(), &sent);
                let shown = shown.trim_start();
                assert!(
                    shown == "[sent]" || shown.len() < 8,
                    "{length} of {echo}: {shown}"
                );
            }
        }
    }
}
