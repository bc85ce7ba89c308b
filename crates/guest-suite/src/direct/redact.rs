//! The words of a receiver's response that are stored in the log of deliveries.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde_json::Value;

/// Longest start of a response, in bytes.
const LONGEST: usize = 4 * 1024;

/// The words of error messages. None of them is an answer to a question about a guest, as `true` or `no` is.
static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "a abort aborted accept accepted access account action active after again allowed already an and answer api application \
     argument array at attribute attributes auth authenticate authentication authorization authorize authorized bad batch \
     be been before between body boolean bug busy by call can cannot certificate change changed character characters check \
     client code codes column columns configuration configured conflict connect connection contact contacts contain \
     contains content could create created crm data database date deadlock decode denied deprecated description detail \
     details did disabled does down duplicate email empty enabled encoding endpoint entity error errors event events \
     exceed exceeded exception exist existing exists exit expected expired external fail failed failure fatal field fields \
     file for forbidden form format found from gateway get given gone guest had handler has have header headers host id ids \
     identifier implemented in inactive incorrect index info input insert integer internal invalid is issue item items its \
     json key keys lead leads length less limit line list locked long malformed many mapping match matches max maximum \
     media merge message messages method min minimum missing mode module more must name names network nginx not nothing \
     number object of off ok old only operation option or organization out page param parameter parameters parse parser \
     parsed parsing path payload pending permission permissions permitted please policy position post present process \
     processed processing properties property provided query queue quota range rate read reached reason received record \
     records redirect reference refused region reject rejected reload removed request requests required resource resources \
     response restart result retry role rule salesforce schema scope secret see send sent server service session sessions \
     set should signature size sobject source sql state status step storage stream string success such support supported \
     syntax system table target temporarily temporary tenant than that the this throttled time timed timeout timestamp to \
     token too trace try type unable unauthorized unavailable unexpected unhandled unique unknown unprocessable \
     unrecognized unsupported update updated upstream url use user using uuid valid validate validation value values \
     verification verify version violation wait warning was webhook while with write wrong you your"
        .split_whitespace()
        .collect()
});

/// Returns the known words of the first 4 KiB of a response, with `…` for what is between them.
///
/// Known are the words of error messages, and the names of the fields of `body`, the delivery. Hidden is a word that is part
/// of a value of `body` or of one of `values`. A list of what to hide would miss an encoding, and what the receiver knows of
/// the guest from elsewhere.
pub(super) fn redact<'a>(response: &[u8], body: &[u8], values: impl IntoIterator<Item = &'a str>) -> String {
    if response.is_empty() {
        return String::new();
    }
    let (mut names, mut sent) = (HashSet::new(), Vec::new());
    sent.extend(values.into_iter().map(fold));
    collect(
        &serde_json::from_slice(body).unwrap_or_default(),
        &mut names,
        &mut sent,
    );
    let start = String::from_utf8_lossy(&response[..response.len().min(LONGEST)]);
    let mut known = Vec::new();
    // an escape or an encoding is one word with what is next to it, so what it spells is hidden
    let words = start
        .split(|character: char| character.is_whitespace() || "\"'`(){}[]<>:;,.!?|*=".contains(character));
    // a quote in a string in a string
    for word in words.map(|word| word.trim_end_matches('\\')) {
        let folded = fold(word);
        let is_known = word.is_ascii()
            && (names.contains(&folded) || folded.split(['_', '-']).all(|part| WORDS.contains(part)))
            && !sent.iter().any(|value| value.contains(&folded));
        match known.last() {
            _ if is_known => known.push(word),
            Some(&"…") => {}
            _ if word.is_empty() => {}
            _ => known.push("…"),
        }
    }
    known.join(" ")
}

/// Adds the names and the texts in a JSON value.
fn collect(value: &Value, names: &mut HashSet<String>, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(fold(text)),
        Value::Array(values) => values.iter().for_each(|value| collect(value, names, texts)),
        Value::Object(fields) => {
            for (name, value) in fields {
                names.insert(fold(name));
                collect(value, names, texts);
            }
        }
        _ => {}
    }
}

/// A text without its case.
fn fold(text: &str) -> String {
    text.to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn response_is_stored_as_known_words() {
        let body =
            json!({ "data": { "customerTier": "gold", "name": "Noël", "code": "missing", "vip": true } });
        for (response, expected) in [
            ("", ""),
            ("ok", "ok"),
            (r#"{"error":"unknown field x"}"#, "error unknown field …"),
            (
                r#"{"error":"invalid_request","field":"customerTier"}"#,
                "error invalid_request field customerTier",
            ),
            (
                r#"[{"message":"No such column 'x' on sobject of type Contact","errorCode":"INVALID_FIELD"}]"#,
                "message … such column … sobject of type Contact … INVALID_FIELD",
            ),
            (
                r#"{"message":"values were not valid: [{\"error\":\"PROPERTY_INVALID\",\"name\":\"tier\"}]"}"#,
                "message values … not valid error PROPERTY_INVALID name …",
            ),
            (
                "<html><head><title>502 Bad Gateway</title></head>",
                "… Bad Gateway …",
            ),
            (
                "no field for Noël, no&euml;l, gold, true, ann@c.example or +49 30 1234567",
                "… field for … or …",
            ),
            ("code is missing", "code …"),
            ("code in use by Ms Miller", "code … use by …"),
            ("error\u{1b}[31m", "…"),
            ("…", "…"),
        ] {
            assert_eq!(
                redact(response.as_bytes(), body.to_string().as_bytes(), []),
                expected,
                "{response}"
            );
        }
        assert_eq!(redact(b"bad token", b"", ["a Token of ours"]), "bad …");
        assert_eq!(redact(b"error \xff", b"{", []), "error …");
        assert_eq!(
            redact(&[&b"error "[..], &[b' '; LONGEST], b"code"].concat(), b"", []),
            "error"
        );
    }

    fn hex(bytes: &[u8], before: &str) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{before}{byte:02x}").unwrap();
            text
        })
    }

    /// A value in the spellings in which a receiver may answer with it.
    fn spellings(value: &str) -> Vec<Vec<u8>> {
        let latin: Vec<u8> = value
            .chars()
            .map(|character| u8::try_from(character).unwrap_or(b'?'))
            .collect();
        let json = json!(value).to_string();
        let escaped = value.encode_utf16().fold(String::new(), |mut text, unit| {
            write!(text, "\\u{unit:04x}").unwrap();
            text
        });
        let texts = vec![
            value.to_owned(),
            value.to_uppercase(),
            value.to_lowercase(),
            json!(json).to_string(),
            json,
            escaped,
            hex(value.as_bytes(), ""),
            hex(value.as_bytes(), "").to_uppercase(),
            hex(value.as_bytes(), "%"),
            hex(value.as_bytes(), "\\x"),
            url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
            value
                .chars()
                .map(|character| format!("&#{};", u32::from(character)))
                .collect(),
            value
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('ë', "&euml;"),
        ];
        texts.into_iter().map(String::into_bytes).chain([latin]).collect()
    }

    /// A value in encodings that may spell a known word by chance: `file` is `~)^` in Base64.
    fn encodings(value: &str) -> Vec<Vec<u8>> {
        let mut texts = Vec::new();
        for before in ["", "x", "xy"] {
            let shifted = [before, value].concat();
            let encoded = STANDARD.encode(&shifted);
            texts.extend([
                encoded.to_lowercase(),
                encoded.replace('/', "\\/"),
                encoded,
                URL_SAFE_NO_PAD.encode(&shifted),
            ]);
        }
        let utf16 = [u16::to_le_bytes, u16::to_be_bytes]
            .map(|to_bytes| value.encode_utf16().flat_map(to_bytes).collect());
        texts.into_iter().map(String::into_bytes).chain(utf16).collect()
    }

    /// Asserts that `redact` stores nothing of a value that a receiver answers, but known words that its encodings spell by
    /// chance.
    fn assert_nothing_is_stored(value: &str) {
        let body = json!({ "type": "x", "data": { "segment": value } }).to_string();
        let by_chance = |word: &str| fold(word).split(['_', '-']).all(|part| WORDS.contains(part));
        let echoes = spellings(value).into_iter().map(|echo| (echo, false));
        for (echo, is_encoded) in echoes.chain(encodings(value).into_iter().map(|echo| (echo, true))) {
            for quote in ["\"", " ", ""] {
                let quote = quote.as_bytes();
                let start = b"{\"error\":\"invalid field segment\", \"is\": ";
                let response = [start, quote, &echo, quote, b"}"].concat();
                let stored = redact(&response, body.as_bytes(), []);
                let mut template = ["error", "invalid", "field", "segment", "is"].iter();
                let is_of_template = stored
                    .split(' ')
                    .filter(|word| *word != "…" && !(is_encoded && by_chance(word)))
                    .all(|word| template.any(|known| *known == word));
                assert!(
                    is_of_template,
                    "{stored:?} of {:?}",
                    String::from_utf8_lossy(&response)
                );
            }
        }
    }

    #[test]
    fn encoding_may_be_a_known_word_by_chance() {
        for (value, encoded, word) in [("\u{c41}", &b"A\x0c"[..], "A"), ("~)^", b"file", "file")] {
            assert!(encodings(value).iter().any(|encoding| encoding == encoded));
            assert_eq!(
                redact(encoded, json!({ "x": value }).to_string().as_bytes(), []),
                word
            );
            assert_nothing_is_stored(value);
        }
    }

    #[test]
    fn ligature_is_not_stored_as_its_letters() {
        assert_nothing_is_stored("ﬁeld");
    }

    proptest! {
        #[test]
        fn nothing_of_a_value_is_stored(value in r"\PC{1,24}|[a-zA-Zäßëøﬁ_.]{1,40}|[A-Za-z]{2,9} [a-z]{1,8}|(error|no|field|ë|İ| |\\|\n){1,6}") {
            assert_nothing_is_stored(&value);
        }
    }
}
