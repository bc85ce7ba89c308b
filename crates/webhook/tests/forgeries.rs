//! Published vectors of each signature scheme, and forgeries of them: none verifies.

#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "helpers of tests")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use time::OffsetDateTime;
use webhook::{HubVerifier, Secret, Verifier, VerifyError, VerifyingKey};

const MUTATIONS: usize = 10_000;
const SEED: u64 = 1;

/// A key, and a delivery that it verifies.
struct Vector {
    scheme: Scheme,
    key: &'static str,
    /// Name and value. The last one is the signature.
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    /// With the time of the delivery.
    Standard(i64),
    Genesys,
    GitHub,
}

const VECTORS: [Vector; 5] = [
    // the reference libraries of Standard Webhooks
    Vector {
        scheme: Scheme::Standard(1_614_265_330),
        key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        headers: &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ],
        body: r#"{"test": 2432232314}"#,
    },
    Vector {
        scheme: Scheme::Standard(1_649_367_553),
        key: "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        headers: &[
            ("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
            ("webhook-timestamp", "1649367553"),
            (
                "webhook-signature",
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ],
        body: r#"{"email":"test@example.com","username":"test_user"}"#,
    },
    // Svix
    Vector {
        scheme: Scheme::Standard(1_614_265_330),
        key: "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
        headers: &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
            ),
        ],
        body: r#"{"test": 2432232314}"#,
    },
    // the documentation of GitHub
    Vector {
        scheme: Scheme::GitHub,
        key: "It's a Secret to Everybody",
        headers: &[(
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )],
        body: "Hello, World!",
    },
    // Genesys publishes none: made with Python's `hmac` by its description
    Vector {
        scheme: Scheme::Genesys,
        key: "a secret of at least 16 characters",
        headers: &[(
            "x-hub-signature-256",
            "sha256=vRfvwAfWW0AFxQbZoOTWBT9KIbaarqyeVG7aSTY+ksg=",
        )],
        body: r#"{"id":"m-1","type":"Text","text":"Grüße"}"#,
    },
];

impl Vector {
    fn texts(&self) -> Vec<Vec<u8>> {
        self.headers
            .iter()
            .map(|(_, value)| value.as_bytes().to_vec())
            .collect()
    }

    fn signature(&self) -> &'static str {
        self.headers[self.headers.len() - 1].1
    }

    /// The encoded part of the signature.
    fn encoded(&self) -> &'static str {
        self.signature().split_once([',', '=']).unwrap().1
    }

    /// `None` if these values cannot be headers.
    fn headers(&self, values: &[Vec<u8>]) -> Option<HeaderMap> {
        let pairs = self.headers.iter().zip(values).map(|((name, _), value)| {
            let value = HeaderValue::from_bytes(value).ok()?;
            Some((HeaderName::from_static(name), value))
        });
        pairs.collect()
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), VerifyError> {
        match self.scheme {
            Scheme::Standard(seconds) => {
                let key: VerifyingKey = self.key.parse().unwrap();
                let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
                Verifier::new([key]).verify(headers, body, now).map(|verified| {
                    assert_eq!(verified.timestamp, now);
                })
            }
            Scheme::Genesys => HubVerifier::genesys([self.key]).unwrap().verify(headers, body),
            Scheme::GitHub => HubVerifier::github([self.key]).unwrap().verify(headers, body),
        }
    }

    fn verify_signature(&self, signature: &str) -> Result<(), VerifyError> {
        let mut values = self.texts();
        *values.last_mut().unwrap() = signature.as_bytes().to_vec();
        self.verify(&self.headers(&values).unwrap(), self.body.as_bytes())
    }
}

#[test]
fn published_vectors_verify() {
    for vector in VECTORS {
        assert_eq!(
            vector.verify_signature(vector.signature()),
            Ok(()),
            "{}",
            vector.key
        );
    }
}

/// Changes one to three places.
fn mutate(random: &mut fastrand::Rng, text: &mut Vec<u8>) {
    for _ in 0..random.usize(1..=3) {
        let place = random.usize(..=text.len());
        let end = random.usize(place..=text.len());
        match random.u8(..7) {
            0 => text.insert(place, random.u8(..)),
            1 => text.truncate(place),
            2 => drop(text.drain(place..end)),
            3 => text.extend_from_within(place..end),
            4 if place < end => text.swap(place, end - 1),
            5 if place < end => text[place] = random.u8(b' '..=b'~'),
            _ if place < end => text[place] ^= 1 << random.u8(..8),
            _ => {}
        }
    }
}

#[test]
fn mutated_vectors_are_refused() {
    for vector in VECTORS {
        let mut random = fastrand::Rng::with_seed(SEED);
        let original = [vector.texts(), vec![vector.body.as_bytes().to_vec()]].concat();
        let mut refused = 0;
        while refused < MUTATIONS {
            let mut parts = original.clone();
            let part = random.usize(..parts.len());
            mutate(&mut random, &mut parts[part]);
            let (body, values) = parts.split_last().unwrap();
            let Some(headers) = vector.headers(values) else {
                continue;
            };
            // the signature beside others, which are skipped, is no forgery
            let mut signatures = values[values.len() - 1].split(|byte| *byte == b' ');
            let is_signed = signatures.any(|entry| entry == vector.signature().as_bytes());
            if part == values.len() - 1 && is_signed || parts == original {
                continue;
            }
            assert!(vector.verify(&headers, body).is_err(), "{} {parts:?}", vector.key);
            refused += 1;
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for vector in VECTORS {
        let original = [vector.texts(), vec![vector.body.as_bytes().to_vec()]].concat();
        for (part, text) in original.iter().enumerate() {
            for bit in 0..text.len() * 8 {
                let mut parts = original.clone();
                parts[part][bit / 8] ^= 1 << (bit % 8);
                let (body, values) = parts.split_last().unwrap();
                let Some(headers) = vector.headers(values) else {
                    continue;
                };
                assert!(vector.verify(&headers, body).is_err(), "{} {parts:?}", vector.key);
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same bytes in base64, with a bit set that a lax decoder ignores.
fn with_bits_after_the_last_byte(signature: &str) -> String {
    let digits = signature.trim_end_matches('=');
    let (start, last) = digits.split_at(digits.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    format!("{start}{next}{}", &signature[digits.len()..])
}

#[test]
fn signatures_in_another_form_are_refused() {
    for vector in VECTORS {
        let (signature, encoded) = (vector.signature(), vector.encoded());
        let tag = &signature[..signature.len() - encoded.len()];
        let raw = match vector.scheme {
            Scheme::GitHub => (0..encoded.len() / 2)
                .map(|at| u8::from_str_radix(&encoded[2 * at..][..2], 16).unwrap())
                .collect(),
            _ => STANDARD.decode(encoded).unwrap(),
        };
        let mut forms = vec![
            String::new(),
            tag.to_owned(),
            tag.replace([',', '='], ""),
            encoded.to_owned(),
            format!("{}{encoded}", tag.to_uppercase()),
            format!("{}{encoded}", tag.replace(',', "=").replace("256=", "256,")),
            format!("v2,{encoded}"),
            format!("v1a,v1,{encoded}"),
            format!("sha1={encoded}"),
            format!("{tag}{}", STANDARD.encode(&raw[..16])),
            format!("{tag}{encoded}{encoded}"),
            format!("{tag} {encoded}"),
            format!("{signature}\t"),
            format!("{signature},{signature}"),
            format!("{tag}{}", hex(&raw).to_uppercase()),
        ];
        if vector.scheme == Scheme::GitHub {
            forms.extend([
                format!("{tag}{}", STANDARD.encode(&raw)),
                format!("{tag}+{}", &encoded[1..]),
            ]);
        } else {
            forms.extend([
                format!("{tag}{}", hex(&raw)),
                format!("{tag}{}", STANDARD_NO_PAD.encode(&raw)),
                format!("{tag}{}", URL_SAFE.encode(&raw)),
                with_bits_after_the_last_byte(signature),
            ]);
        }
        for form in forms {
            assert_ne!(form, signature);
            assert!(vector.verify_signature(&form).is_err(), "{form:?}");
        }
    }
}

#[test]
fn mac_with_the_public_key_is_refused() {
    let vector = &VECTORS[2];
    let public = STANDARD.decode(&vector.key["whpk_".len()..]).unwrap();
    let [id, timestamp, _] = [0, 1, 2].map(|at| vector.headers[at].1);
    let signed = format!("{id}.{timestamp}.{}", vector.body);
    for key in [&public[..], vector.key.as_bytes()] {
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
        for tag in ["v1", "v1a"] {
            let forged = format!("{tag},{}", STANDARD.encode(mac));
            assert_eq!(
                vector.verify_signature(&forged),
                Err(VerifyError::Forged),
                "{tag}"
            );
        }
    }
}

#[test]
fn verifier_with_both_keys_refuses_a_signature_of_the_other_version() {
    let keys = [0, 2].map(|at| VECTORS[at].key.parse::<VerifyingKey>().unwrap());
    let verifier = Verifier::new(keys);
    let now = OffsetDateTime::from_unix_timestamp(1_614_265_330).unwrap();
    for (vector, tag) in [(&VECTORS[0], "v1a"), (&VECTORS[2], "v1")] {
        let verify = |signature: String| {
            let mut values = vector.texts();
            values[2] = signature.into_bytes();
            let headers = vector.headers(&values).unwrap();
            verifier.verify(&headers, vector.body.as_bytes(), now).map(|_| ())
        };
        assert_eq!(verify(vector.signature().to_owned()), Ok(()));
        let other = format!("{tag},{}", vector.encoded());
        assert_eq!(verify(other), Err(VerifyError::Forged));
    }
    assert!(
        "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
            .parse::<Secret>()
            .is_err()
    );
}

#[test]
fn hub_header_is_single_and_in_its_own_encoding() {
    let [github, genesys] = [&VECTORS[3], &VECTORS[4]];
    for (vector, other) in [(github, Scheme::Genesys), (genesys, Scheme::GitHub)] {
        let headers = vector.headers(&vector.texts()).unwrap();
        let body = vector.body.as_bytes();
        let other = Vector {
            scheme: other,
            ..*vector
        };
        assert_eq!(other.verify(&headers, body), Err(VerifyError::Forged));
        let missing = vector.verify(&HeaderMap::new(), body).unwrap_err();
        assert!(matches!(missing, VerifyError::Missing { .. }), "{missing}");
        let mut twice = headers.clone();
        twice.append("x-hub-signature-256", headers["x-hub-signature-256"].clone());
        let repeated = vector.verify(&twice, body).unwrap_err();
        assert!(matches!(repeated, VerifyError::Malformed { .. }), "{repeated}");
    }
}
