//! Canaries: secrets, searched for in every encoding.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Prefix by which an encoding is found before it is compared as a whole.
const PREFIX: usize = 6;

/// A secret, and the encodings that reveal it.
#[derive(Debug)]
struct Form {
    name: String,
    bytes: Vec<u8>,
}

/// A search for many secrets in one pass over a text.
#[derive(Debug, Default)]
pub(super) struct Searcher {
    forms: Vec<Form>,
    by_prefix: HashMap<[u8; PREFIX], Vec<usize>>,
}

impl Searcher {
    /// Searches for `text` from now on, and if it is base64, as tokens are, for its decoded form.
    pub(super) fn plant(&mut self, name: &str, text: &str) {
        assert!(text.len() >= 12, "{name} is too short to be told from chance");
        self.plant_bytes(name, text.as_bytes());
        let body = text.trim_start_matches("whsec_");
        let decoded = URL_SAFE_NO_PAD.decode(body).or_else(|_| STANDARD.decode(body));
        if let Some(bytes) = decoded.ok().filter(|bytes| bytes.len() >= 12) {
            self.plant_bytes(&format!("the bytes of {name}"), &bytes);
        }
    }

    pub(super) fn plant_bytes(&mut self, name: &str, secret: &[u8]) {
        for (encoding, bytes) in forms(secret) {
            let known = self.forms.iter().any(|form| form.bytes == bytes);
            if !known && bytes.len() >= 2 * PREFIX {
                let prefix = bytes[..PREFIX].try_into().unwrap();
                let name = format!("{name} ({encoding})");
                self.by_prefix.entry(prefix).or_default().push(self.forms.len());
                self.forms.push(Form { name, bytes });
            }
        }
    }

    /// The names of the secrets in `text`, each with its position.
    pub(super) fn hits(&self, text: &[u8]) -> Vec<String> {
        let mut hits = Vec::new();
        for (at, prefix) in text.windows(PREFIX).enumerate() {
            let Some(forms) = self.by_prefix.get(prefix) else {
                continue;
            };
            for form in forms.iter().map(|index| &self.forms[*index]) {
                if text[at..].starts_with(&form.bytes) {
                    let around = at.saturating_sub(120)..text.len().min(at + form.bytes.len() + 40);
                    hits.push(format!("{}: {}", form.name, text[around].escape_ascii()));
                }
            }
        }
        hits
    }
}

/// The forms of a secret, each with its name.
fn forms(secret: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![("plain".to_owned(), secret.to_vec())];
    let hex = |upper: bool, separator: &str| {
        secret.iter().fold(String::new(), |mut text, byte| {
            let _ = match upper {
                true => write!(text, "{separator}{byte:02X}"),
                false => write!(text, "{separator}{byte:02x}"),
            };
            text
        })
    };
    for upper in [false, true] {
        forms.push(("hex".to_owned(), hex(upper, "").into()));
        forms.push(("URL-encoded, every byte".to_owned(), hex(upper, "%").into()));
    }
    forms.push((
        "URL-encoded".to_owned(),
        url::form_urlencoded::byte_serialize(secret)
            .collect::<String>()
            .into(),
    ));
    // as `{:?}` shows bytes
    let list = format!("{secret:?}");
    forms.push(("list".to_owned(), list[1..list.len() - 1].into()));
    if let Ok(text) = std::str::from_utf8(secret) {
        let inside = |quoted: &str| quoted[1..quoted.len() - 1].into();
        let json = serde_json::to_string(text).unwrap();
        forms.push(("JSON".to_owned(), inside(&json)));
        forms.push(("Debug".to_owned(), inside(&format!("{text:?}"))));
        let percent: String = url::form_urlencoded::byte_serialize(secret).collect();
        forms.push(("URL-encoded path".to_owned(), percent.replace('+', "%20").into()));
    }
    for offset in 0..3 {
        for (name, alphabet) in [("base64", STANDARD_NO_PAD), ("base64url", URL_SAFE_NO_PAD)] {
            // letters that also encode neighboring bytes are cut off
            let mut padded = vec![0; offset];
            padded.extend_from_slice(secret);
            let text = alphabet.encode(&padded);
            let first = (offset * 8).div_ceil(6);
            let last = padded.len() * 8 / 6;
            forms.push((format!("{name}, {offset} bytes in"), text[first..last].into()));
        }
    }
    forms
}

#[test]
fn canary_search_finds_every_encoding() {
    let (text, token) = (
        "pääss word&more=\"yes\"/\\%+",
        "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA",
    );
    let mut searcher = Searcher::default();
    searcher.plant("text", text);
    searcher.plant("token", token);
    let found = |text: &[u8], name: &str| {
        let hits = searcher.hits(text);
        assert!(
            hits.iter().any(|hit| hit.starts_with(name)),
            "{name} is not found in {}",
            text.escape_ascii()
        );
    };
    let raw = URL_SAFE_NO_PAD.decode(token).unwrap();
    for (secret, name) in [
        (text.as_bytes(), "text"),
        (token.as_bytes(), "token"),
        (&raw, "the bytes of token"),
    ] {
        found(
            &[b"before ", secret, b" after"].concat(),
            &format!("{name} (plain)"),
        );
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        found(hex.as_bytes(), &format!("{name} (hex)"));
        found(hex.to_uppercase().as_bytes(), &format!("{name} (hex)"));
        found(format!("{secret:?}").as_bytes(), &format!("{name} (list)"));
        for before in 0..6 {
            for after in 0..4 {
                let within = [&vec![b'<'; before], secret, &vec![b'>'; after]].concat();
                for alphabet in [STANDARD, base64::engine::general_purpose::URL_SAFE] {
                    let encoded = alphabet.encode(&within);
                    let hits = searcher.hits(encoded.as_bytes());
                    assert!(
                        !hits.is_empty(),
                        "{name}, {before} bytes before, {after} after: {encoded}"
                    );
                }
            }
        }
    }
    let pairs = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("q", text)
        .finish();
    found(pairs.as_bytes(), "text (URL-encoded)");
    let mut url: url::Url = "https://x.example/".parse().unwrap();
    url.set_query(Some(&pairs.replace('+', "%20")));
    found(url.as_str().as_bytes(), "text (URL-encoded path)");
    let percent: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    found(percent.as_bytes(), "text (URL-encoded, every byte)");
    found(
        serde_json::json!({ "q": text }).to_string().as_bytes(),
        "text (JSON)",
    );
    found(format!("{text:?}").as_bytes(), "text (");
    assert_eq!(
        searcher.hits(b"nothing to see here, and nothing there"),
        Vec::<String>::new()
    );
}
