//! The spellings of a text: its case, and the escapes of URLs, JSON, HTML and Python.

use std::ops::Range;

/// A character, and the bytes that spell it in the response.
pub(super) struct Character {
    pub(super) value: char,
    pub(super) place: Range<usize>,
}

impl Character {
    /// The characters of a text.
    pub(super) fn all(text: &str) -> Vec<Self> {
        let characters = text.char_indices();
        let with_place = |(at, value): (usize, char)| Self {
            value,
            place: at..at + value.len_utf8(),
        };
        characters.map(with_place).collect()
    }
}

/// Characters without their case. A plus sign is a space, as in forms.
pub(super) fn fold(characters: impl IntoIterator<Item = char>) -> impl Iterator<Item = char> {
    let spaced = characters
        .into_iter()
        .map(|character| if character == '+' { ' ' } else { character });
    spaced.flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Decodes escapes once. Those inside of escapes remain.
pub(super) fn decode(characters: &[Character]) -> Vec<Character> {
    let (mut decoded, mut bytes) = (Vec::with_capacity(characters.len()), Vec::new());
    let mut rest = characters;
    while let Some(first) = rest.first() {
        let (value, length) = escape(rest).unwrap_or((Escaped::Character(first.value), 1));
        let place = first.place.start..rest[length - 1].place.end;
        rest = &rest[length..];
        match value {
            Escaped::Byte(byte) => bytes.push((byte, place)),
            Escaped::Character(value) => {
                push_bytes(&mut bytes, &mut decoded);
                decoded.push(Character { value, place });
            }
        }
    }
    push_bytes(&mut bytes, &mut decoded);
    decoded
}

/// Adds bytes as characters.
fn push_bytes(bytes: &mut Vec<(u8, Range<usize>)>, decoded: &mut Vec<Character>) {
    let text: Vec<u8> = bytes.iter().map(|(byte, _)| *byte).collect();
    let mut places = bytes.drain(..).map(|(_, place)| place);
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid().chars().map(|value| (value, value.len_utf8()));
        let invalid = (!chunk.invalid().is_empty()).then_some(('\u{fffd}', chunk.invalid().len()));
        for (value, length) in valid.chain(invalid) {
            let place = places
                .by_ref()
                .take(length)
                .reduce(|first, last| first.start..last.end);
            decoded.extend(place.map(|place| Character { value, place }));
        }
    }
}

enum Escaped {
    /// A byte of UTF-8.
    Byte(u8),
    Character(char),
}

/// The escape at the start of a text, and its length.
fn escape(text: &[Character]) -> Option<(Escaped, usize)> {
    let hex = |from: usize, digits: usize| -> Option<u32> {
        let mut digits = text.get(from..from + digits)?.iter();
        digits.try_fold(0, |number, digit| Some(number * 16 + digit.value.to_digit(16)?))
    };
    let byte = |from, length| Some((Escaped::Byte(u8::try_from(hex(from, 2)?).ok()?), length));
    let character = |value, length| Some((Escaped::Character(value), length));
    match text.first()?.value {
        '%' => byte(1, 3),
        '&' => {
            let end = text
                .iter()
                .take(10)
                .position(|character| character.value == ';')?;
            let name: String = text[1..end].iter().map(|character| character.value).collect();
            character(entity(&name)?, end + 1)
        }
        '\\' => match text.get(1)?.value {
            'x' => byte(2, 4),
            'u' => match char::from_u32(hex(2, 4)?) {
                Some(value) => character(value, 6),
                None => {
                    let units = [hex(2, 4)?, hex(8, 4)?].map(|unit| unit as u16);
                    character(char::decode_utf16(units).next()?.ok()?, 12)
                }
            },
            'n' => character('\n', 2),
            'r' => character('\r', 2),
            't' => character('\t', 2),
            same @ ('"' | '\'' | '/' | '\\') => character(same, 2),
            _ => None,
        },
        _ => None,
    }
}

/// The character of an HTML entity.
fn entity(name: &str) -> Option<char> {
    let number = name.strip_prefix('#');
    match (name, number.and_then(|number| number.strip_prefix(['x', 'X']))) {
        ("amp", _) => Some('&'),
        ("apos", _) => Some('\''),
        ("gt", _) => Some('>'),
        ("lt", _) => Some('<'),
        ("quot", _) => Some('"'),
        (_, Some(hex)) => char::from_u32(u32::from_str_radix(hex, 16).ok()?),
        _ => char::from_u32(number?.parse().ok()?),
    }
}

/// Length of a text without a cut escape at its end.
pub(super) fn complete(text: &str) -> usize {
    let text = text.trim_end_matches('\u{fffd}');
    let is_of_escape = |character: char| character.is_ascii_alphanumeric() || character == '#';
    match text.rfind(['%', '\\', '&']) {
        Some(at) if text.len() - at < 8 && text[at + 1..].chars().all(is_of_escape) => complete(&text[..at]),
        _ => text.len(),
    }
}
