//! Verification of deliveries by Standard Webhooks 1.0.0, in constant time. A shared secret needs no allocation.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::HeaderName;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use crate::VerifyingKey;
use crate::signature::{
    ED25519, ID_HEADER, LONGEST_SECONDS, MAC, SIGNATURE_HEADER, TIMESTAMP_HEADER, VERSION,
    VERSION_ASYMMETRIC, mac,
};
use crate::verifying_key::Kind;

/// Default of the maximum difference between the time of an attempt and the receiver's clock, in both directions: 5
/// minutes, as in the reference libraries of Standard Webhooks.
const TOLERANCE: Duration = Duration::from_secs(300);

/// Longest accepted id, in bytes. Our choice.
const MAX_ID: usize = 256;

/// Maximum number of `v1a` signatures that are checked. Our choice: each costs as much as a hundred MACs, and anyone can
/// send them.
const MAX_ASYMMETRIC: usize = 32;

/// Verifies that a delivery was signed by the sender, within the last five minutes.
///
/// A delivery can be repeated within that time, by its sender or by anyone who saw it. A
/// [`ReplayCache`](crate::ReplayCache) detects that.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: Vec<VerifyingKey>,
    /// In seconds.
    tolerance: i64,
}

impl Verifier {
    /// A verifier that accepts signatures of any of `keys`, each a [`Secret`](crate::Secret), a
    /// [`PublicKey`](crate::PublicKey) or a [`VerifyingKey`]: one, or two during a rotation. Without a key nothing verifies.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = impl Into<VerifyingKey>>) -> Self {
        Self {
            keys: keys.into_iter().map(Into::into).collect(),
            tolerance: 0,
        }
        .with_tolerance(TOLERANCE)
    }

    /// Sets the maximum difference between the time of an attempt and this machine's clock, in both directions, in whole
    /// seconds. Default: 5 minutes.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance.as_secs().try_into().unwrap_or(i64::MAX);
        self
    }

    /// Verifies the headers against the raw bytes of the body. `now` is `SystemTime::now()` or an `OffsetDateTime`.
    ///
    /// One matching signature suffices. Malformed ones and those of other versions than `v1` and `v1a` are skipped. The
    /// limit of the web server for a header bounds their number.
    ///
    /// # Errors
    /// If a header is missing, repeated or malformed, there are more than 32 `v1a` signatures for a public key, the delivery
    /// is too old or too new, or no signature matches.
    pub fn verify<'h>(
        &self,
        headers: &'h HeaderMap,
        body: &[u8],
        now: impl Into<OffsetDateTime>,
    ) -> Result<Verified<'h>, VerifyError> {
        let names = [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER];
        let [id, written, signatures] = single(headers, names)?;
        // a dot would let a part of the body pass as the timestamp
        let is_separator = |byte| matches!(byte, b'.' | b' ' | b'\t');
        if id.is_empty()
            || id.len() > MAX_ID
            || id.bytes().fold(false, |found, byte| found | is_separator(byte))
        {
            let reason = "it is empty, longer than 256 bytes, or contains a dot or a space";
            return Err(malformed(ID_HEADER, reason));
        }
        let (seconds, timestamp) = parse_timestamp(written)
            .ok_or_else(|| malformed(TIMESTAMP_HEADER, "not a whole number of seconds since 1970"))?;
        let tolerance = self.tolerance;
        let age = now.into().unix_timestamp() - seconds;
        if age > tolerance {
            return Err(VerifyError::TooOld {
                seconds: age,
                tolerance,
            });
        }
        if age < -tolerance {
            return Err(VerifyError::TooNew {
                seconds: -age,
                tolerance,
            });
        }
        let content = [id.as_bytes(), b".", written.as_bytes(), b".", body];
        let mut signed = None;
        for key in &self.keys {
            let is_valid = match &key.0 {
                Kind::Shared(key) => {
                    let mut expected = [0; MAC.div_ceil(3) * 4];
                    let encoded = STANDARD.encode_slice(mac(key, content), &mut expected);
                    encoded.is_ok()
                        && entries(signatures, VERSION)
                            .any(|given| given.try_into().is_ok_and(|given| equals(given, &expected)))
                }
                Kind::Public(key) => {
                    let given = || entries(signatures, VERSION_ASYMMETRIC).filter_map(decode);
                    if given().nth(MAX_ASYMMETRIC).is_some() {
                        return Err(malformed(SIGNATURE_HEADER, "it has more than 32 v1a signatures"));
                    }
                    given().any(|given| key.verify(signed.get_or_insert_with(|| content.concat()), &given))
                }
            };
            if is_valid {
                return Ok(Verified { id, timestamp });
            }
        }
        Err(VerifyError::Forged)
    }
}

/// A delivery with a valid signature and a recent timestamp.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Verified<'h> {
    /// Id of the message. A repeated delivery has the same id.
    pub id: &'h str,
    /// Time of the attempt, in whole seconds.
    pub timestamp: OffsetDateTime,
}

/// The reason that a delivery is not trusted. No message contains received data.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// No signature was made with any of the keys.
    #[error(
        "invalid signature: check that the key is this endpoint's, and that the body is verified as raw bytes"
    )]
    Forged,
    /// A malformed header.
    #[error("invalid header {header}: {reason}")]
    Malformed {
        /// Name of the header.
        header: HeaderName,
        /// Reason.
        reason: &'static str,
    },
    /// A header is missing.
    #[error("invalid delivery: no header {header}, it is not signed or a proxy removed the header")]
    Missing {
        /// Name of the header.
        header: HeaderName,
    },
    /// The timestamp is too far in the future.
    #[error(
        "invalid timestamp: {seconds} s in the future, more than {tolerance}, check this machine's clock"
    )]
    TooNew {
        /// Seconds after this machine's time.
        seconds: i64,
        /// The tolerance of the verifier, in seconds.
        tolerance: i64,
    },
    /// The timestamp is too old.
    #[error(
        "invalid timestamp: {seconds} s old, more than {tolerance}, the delivery is a replay or this machine's clock is \
         wrong"
    )]
    TooOld {
        /// Age in seconds.
        seconds: i64,
        /// The tolerance of the verifier, in seconds.
        tolerance: i64,
    },
}

pub(crate) fn malformed(header: HeaderName, reason: &'static str) -> VerifyError {
    VerifyError::Malformed { header, reason }
}

/// Returns the values of headers, each of which must occur once. One pass costs less than the hashes of their names.
pub(crate) fn single<const N: usize>(
    headers: &HeaderMap,
    names: [HeaderName; N],
) -> Result<[&str; N], VerifyError> {
    let mut values = [None; N];
    for (name, value) in headers {
        if let Some(index) = names.iter().position(|wanted| wanted == name) {
            let text = value.to_str().ok().filter(|_| values[index].is_none());
            let text = text.ok_or_else(|| malformed(name.clone(), "it is repeated or not visible ASCII"))?;
            values[index] = Some(text);
        }
    }
    match names.into_iter().zip(values).find(|(_, value)| value.is_none()) {
        Some((header, _)) => Err(VerifyError::Missing { header }),
        None => Ok(values.map(Option::unwrap_or_default)),
    }
}

/// Parses decimal digits without sign, space or leading zero.
fn parse_timestamp(text: &str) -> Option<(i64, OffsetDateTime)> {
    let canonical = (1..=LONGEST_SECONDS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if !canonical {
        return None;
    }
    let digits = text.bytes().map(|byte| i64::from(byte - b'0'));
    let seconds = digits.fold(0, |seconds, digit| seconds * 10 + digit);
    Some((seconds, OffsetDateTime::from_unix_timestamp(seconds).ok()?))
}

/// Returns the encoded signatures of a version. Others are skipped, as the standard requires.
fn entries<'h>(signatures: &'h str, version: &'static str) -> impl Iterator<Item = &'h [u8]> {
    let entries = signatures.as_bytes().split(|byte| *byte == b' ');
    entries.filter_map(|entry| entry.strip_prefix(version.as_bytes()))
}

/// Decodes an Ed25519 signature. Malformed ones are skipped, as in the reference libraries.
fn decode(encoded: &[u8]) -> Option<[u8; ED25519]> {
    // base64 is decoded in blocks of three bytes
    let mut decoded = [0; ED25519.next_multiple_of(3)];
    let length = STANDARD.decode_slice(encoded, &mut decoded).ok()?;
    decoded[..length].try_into().ok()
}

/// Whether two texts are equal, in constant time.
fn equals<const N: usize>(left: &[u8; N], right: &[u8; N]) -> bool {
    let pairs = left.iter().zip(right);
    let difference = pairs.fold(0, |difference, (left, right)| difference | (left ^ right));
    difference.ct_eq(&0).into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::{MessageId, Secret, sign};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SENT: i64 = 1_614_265_330;
    const BODY: &str = r#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ID_HEADER, HeaderValue::from_str(id).unwrap());
        headers.insert(TIMESTAMP_HEADER, HeaderValue::from_str(timestamp).unwrap());
        headers.insert(SIGNATURE_HEADER, HeaderValue::from_str(signature).unwrap());
        headers
    }

    fn not_seconds() -> VerifyError {
        malformed(TIMESTAMP_HEADER, "not a whole number of seconds since 1970")
    }

    fn invalid_id() -> VerifyError {
        malformed(
            ID_HEADER,
            "it is empty, longer than 256 bytes, or contains a dot or a space",
        )
    }

    fn not_single(header: HeaderName) -> VerifyError {
        malformed(header, "it is repeated or not visible ASCII")
    }

    fn verifier() -> Verifier {
        Verifier::new([SECRET.parse::<VerifyingKey>().unwrap()])
    }

    fn verify(id: &str, timestamp: &str, signature: &str, body: &str) -> Result<String, VerifyError> {
        verifier()
            .verify(&headers(id, timestamp, signature), body.as_bytes(), at(SENT))
            .map(|verified| verified.id.to_owned())
    }

    #[test]
    fn signature_matches_among_others() {
        let wrong = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let sent = SENT.to_string();
        for list in [
            format!("{wrong} {SIGNATURE}"),
            format!("v1a,xx {SIGNATURE} v2,yy"),
            format!("v1, {SIGNATURE}"),
            format!("{}{SIGNATURE}", format!("{wrong} ").repeat(600)),
            format!("{SIGNATURE}{}", format!(" {wrong}").repeat(16)),
            format!("{SIGNATURE} garbage"),
            format!("garbage {SIGNATURE} v1"),
            format!("v1,!!! {SIGNATURE}"),
            format!("{SIGNATURE} "),
            format!(" {SIGNATURE}"),
            format!("{SIGNATURE}  {wrong}"),
        ] {
            assert_eq!(verify(ID, &sent, &list, BODY).as_deref(), Ok(ID), "{list}");
        }
    }

    #[test]
    fn tolerance_is_configurable() {
        let headers = headers(ID, &SENT.to_string(), SIGNATURE);
        let verify = |tolerance, now| {
            let verifier = verifier().with_tolerance(tolerance);
            verifier.verify(&headers, BODY.as_bytes(), at(now)).map(|_| ())
        };
        let minute = Duration::from_secs(60);
        assert_eq!(verify(minute, SENT + 60), Ok(()));
        let error = verify(minute, SENT + 61).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("invalid timestamp: 61 s old, more than 60,"),
            "{error}"
        );
        assert_eq!(verify(Duration::ZERO, SENT), Ok(()));
        assert!(verify(Duration::ZERO, SENT - 1).is_err());
        assert_eq!(verify(Duration::MAX, 0), Ok(()));
    }

    #[test]
    fn asymmetric_signatures_are_bounded() {
        let secret = Secret::generate_private([1; 32]);
        let [_, _, (_, signature)] = sign(&secret, &[], &ID.parse().unwrap(), at(SENT), BODY.as_bytes());
        let signature = signature.to_str().unwrap();
        let wrong = format!("v1a,{}", STANDARD.encode([0; ED25519]));
        let verify = |count: usize| {
            let list = format!("{}{signature}", format!("{wrong} ").repeat(count - 1));
            let headers = headers(ID, &SENT.to_string(), &list);
            let verified = Verifier::new([secret.clone()]).verify(&headers, BODY.as_bytes(), at(SENT));
            verified.map(|_| ())
        };
        assert_eq!(verify(MAX_ASYMMETRIC), Ok(()));
        let error = malformed(SIGNATURE_HEADER, "it has more than 32 v1a signatures");
        assert_eq!(verify(MAX_ASYMMETRIC + 1), Err(error));
    }

    #[test]
    fn verifier_accepts_any_of_its_secrets() {
        let headers = headers(ID, &SENT.to_string(), SIGNATURE);
        let other = Secret::generate([3; 32]);
        let verify = |secrets: Vec<Secret>| {
            Verifier::new(secrets)
                .verify(&headers, BODY.as_bytes(), at(SENT))
                .is_ok()
        };
        assert!(verify(vec![other.clone(), SECRET.parse().unwrap()]));
        assert!(!verify(vec![other]));
        assert!(!verify(Vec::new()));
    }

    #[test]
    fn malformed_timestamps_and_ids_are_rejected() {
        for timestamp in [
            "",
            "-1",
            "+1614265330",
            "1e9",
            " 1614265330",
            "1614265330 ",
            "01614265330",
            "1614265330.0",
            "0x6037b4f2",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "1_614_265_330",
        ] {
            assert_eq!(
                verify(ID, timestamp, SIGNATURE, BODY),
                Err(not_seconds()),
                "{timestamp:?}"
            );
        }
        for id in ["", "a.b", "a b", &"x".repeat(257)] {
            assert_eq!(
                verify(id, &SENT.to_string(), SIGNATURE, BODY),
                Err(invalid_id()),
                "{id:?}"
            );
        }
    }

    #[test]
    fn id_with_dot_from_body_is_rejected() {
        let secret: Secret = SECRET.parse().unwrap();
        let id: MessageId = "msg_1".parse().unwrap();
        let body = format!("{SENT}.{BODY}");
        let [_, _, (_, signature)] = sign(&secret, &[], &id, at(SENT), body.as_bytes());
        let misaligned = format!("msg_1.{SENT}");
        assert_eq!(
            verify(&misaligned, &SENT.to_string(), signature.to_str().unwrap(), BODY),
            Err(invalid_id())
        );
    }

    #[test]
    fn missing_or_repeated_headers_are_rejected() {
        let verifier = verifier();
        for name in [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER] {
            let complete = headers(ID, &SENT.to_string(), SIGNATURE);
            let mut missing = complete.clone();
            let value = missing.remove(&name).unwrap();
            assert_eq!(
                verifier.verify(&missing, BODY.as_bytes(), at(SENT)),
                Err(VerifyError::Missing { header: name.clone() })
            );
            let mut duplicated = complete.clone();
            duplicated.append(&name, value);
            assert_eq!(
                verifier.verify(&duplicated, BODY.as_bytes(), at(SENT)),
                Err(not_single(name.clone()))
            );
            let mut binary = complete;
            binary.insert(&name, HeaderValue::from_bytes(b"\xff").unwrap());
            assert_eq!(
                verifier.verify(&binary, BODY.as_bytes(), at(SENT)),
                Err(not_single(name))
            );
        }
    }

    #[test]
    fn timestamp_tolerance_is_five_minutes_in_both_directions() {
        let verifier = verifier();
        let headers = headers(ID, &SENT.to_string(), SIGNATURE);
        let tolerance = 300;
        let too_old = |seconds| VerifyError::TooOld { seconds, tolerance };
        let too_new = |seconds| VerifyError::TooNew { seconds, tolerance };
        let verify = |now| verifier.verify(&headers, BODY.as_bytes(), now).map(|_| ());
        assert_eq!(verify(at(SENT + 300)), Ok(()));
        assert_eq!(verify(at(SENT + 300) + time::Duration::milliseconds(999)), Ok(()));
        assert_eq!(verify(at(SENT + 301)), Err(too_old(301)));
        assert_eq!(verify(at(SENT - 300)), Ok(()));
        assert_eq!(verify(at(SENT - 301)), Err(too_new(301)));
        assert_eq!(verify(at(0)), Err(too_new(SENT)));
    }

    proptest! {
        #[test]
        fn verify_never_panics(id in "\\PC{0,40}", timestamp in "\\PC{0,30}", signature in "\\PC{0,90}") {
            let [id, timestamp, signature] = [id, timestamp, signature].map(|text| HeaderValue::from_str(&text));
            if let (Ok(id), Ok(timestamp), Ok(signature)) = (id, timestamp, signature) {
                let mut headers = HeaderMap::new();
                headers.insert(ID_HEADER, id);
                headers.insert(TIMESTAMP_HEADER, timestamp);
                headers.insert(SIGNATURE_HEADER, signature);
                let verifier = verifier();
                prop_assert!(verifier.verify(&headers, b"", at(SENT)).is_err());
            }
        }
    }
}
