//! Verification of deliveries, in constant time and without allocation.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::HeaderName;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use crate::Secret;
use crate::signature::{ENCODED, ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, VERSION};

/// Maximum difference between the time of an attempt and the receiver's clock, in seconds, in both directions: 5
/// minutes, as in the reference libraries of Standard Webhooks.
const TOLERANCE: i64 = 300;

/// Longest accepted id, in bytes. Our choice.
const MAX_ID: usize = 256;

type Mac = [u8; 32];

/// Verifies that a delivery was signed with the secret, within the last five minutes.
///
/// It stores no ids. To detect repeated deliveries, store the ids of those that you processed.
#[derive(Clone, Debug)]
pub struct Verifier {
    secrets: Vec<Secret>,
}

impl Verifier {
    /// A verifier that accepts any of `secrets`: one, or two during a rotation. Without a secret nothing verifies.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self {
            secrets: secrets.into_iter().collect(),
        }
    }

    /// Verifies the headers against the raw bytes of the body. `now` is `SystemTime::now()` or an `OffsetDateTime`.
    ///
    /// One matching signature suffices. Malformed ones and those of other versions than `v1` are skipped. The limit of the web
    /// server for a header bounds their number.
    ///
    /// # Errors
    /// If a header is missing, repeated or malformed, the delivery is too old or too new, or no signature matches.
    pub fn verify<'h>(
        &self,
        headers: &'h HeaderMap,
        body: &[u8],
        now: impl Into<OffsetDateTime>,
    ) -> Result<Verified<'h>, VerifyError> {
        let id = single(headers, &ID_HEADER)?;
        // a dot would let a part of the body pass as the timestamp
        if id.is_empty() || id.len() > MAX_ID || id.contains(['.', ' ', '\t']) {
            let reason = "it is empty, longer than 256 bytes, or contains a dot or a space";
            return Err(malformed(ID_HEADER, reason));
        }
        let written = single(headers, &TIMESTAMP_HEADER)?;
        let timestamp = parse_timestamp(written)
            .ok_or_else(|| malformed(TIMESTAMP_HEADER, "not a whole number of seconds since 1970"))?;
        let age = now.into().unix_timestamp() - timestamp.unix_timestamp();
        if age > TOLERANCE {
            return Err(VerifyError::TooOld { seconds: age });
        }
        if age < -TOLERANCE {
            return Err(VerifyError::TooNew { seconds: -age });
        }
        let signatures = single(headers, &SIGNATURE_HEADER)?;
        for secret in &self.secrets {
            let mac = secret.mac(id, written, body);
            if macs(signatures).any(|signature| bool::from(signature.ct_eq(mac.as_ref()))) {
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
    /// No signature was made with any of the secrets.
    #[error(
        "invalid signature: check that the secret is this endpoint's, and that the body is verified as raw bytes"
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
    #[error("invalid timestamp: {seconds} s in the future, more than 300, check this machine's clock")]
    TooNew {
        /// Seconds after this machine's time.
        seconds: i64,
    },
    /// The timestamp is too old.
    #[error(
        "invalid timestamp: {seconds} s old, more than 300, the delivery is a replay or this machine's clock is wrong"
    )]
    TooOld {
        /// Age in seconds.
        seconds: i64,
    },
}

fn malformed(header: HeaderName, reason: &'static str) -> VerifyError {
    VerifyError::Malformed { header, reason }
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, VerifyError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Err(VerifyError::Missing { header: name.clone() });
    };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(text),
        _ => Err(malformed(name.clone(), "it is repeated or not visible ASCII")),
    }
}

/// Parses decimal digits without sign, space or leading zero.
fn parse_timestamp(text: &str) -> Option<OffsetDateTime> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !canonical {
        return None;
    }
    OffsetDateTime::from_unix_timestamp(text.parse().ok()?).ok()
}

/// Returns the well-formed `v1` signatures of a header. Other entries are skipped, as the standard requires for versions
/// and as the reference libraries do for malformed ones.
fn macs(signatures: &str) -> impl Iterator<Item = Mac> {
    signatures.split(' ').filter_map(|entry| {
        let encoded = entry.strip_prefix(VERSION).filter(|text| text.len() == ENCODED)?;
        let mut decoded = [0; ENCODED / 4 * 3];
        match STANDARD.decode_slice(encoded, &mut decoded) {
            Ok(length) if length == size_of::<Mac>() => decoded[..length].try_into().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;
    use ring::hmac;

    use super::*;
    use crate::{MessageId, sign};

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
        Verifier::new([SECRET.parse().unwrap()])
    }

    fn verify(id: &str, timestamp: &str, signature: &str, body: &str) -> Result<String, VerifyError> {
        verifier()
            .verify(&headers(id, timestamp, signature), body.as_bytes(), at(SENT))
            .map(|verified| verified.id.to_owned())
    }

    #[test]
    fn reference_vectors_verify() {
        assert_eq!(verify(ID, &SENT.to_string(), SIGNATURE, BODY).unwrap(), ID);
        let verifier = Verifier::new(["C2FVsBQIhrscChlQIMV+b5sSYspob7oD".parse().unwrap()]);
        let headers = headers(
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            "1649367553",
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        );
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let verified = verifier.verify(&headers, body, at(1_649_367_553)).unwrap();
        assert_eq!(verified.timestamp, at(1_649_367_553));
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
    fn malformed_signatures_are_rejected() {
        let mac = SIGNATURE.strip_prefix("v1,").unwrap();
        let raw = STANDARD.decode(mac).unwrap();
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        let url_safe = mac.replace('+', "-").replace('/', "_");
        let unpadded = mac.trim_end_matches('=');
        // the last character before the padding has two bits that must be zero
        let altered = mac.replace("1OE=", "1OF=");
        for signature in [
            "",
            "v1",
            mac,
            "v1,",
            &format!("V1,{mac}"),
            &format!("v2,{mac}"),
            &format!("v1a,{mac}"),
            &format!("v1={mac}"),
            &format!("v1,{hex}"),
            &format!("v1,{url_safe}"),
            &format!("v1,{unpadded}"),
            &format!("v1,{altered}"),
            &format!("v1,{}", STANDARD.encode(&raw[..16])),
            &format!("v1,{mac}{mac}"),
            &format!("{SIGNATURE}\t"),
            &format!("{SIGNATURE},{SIGNATURE}"),
        ] {
            assert_eq!(
                verify(ID, &SENT.to_string(), signature, BODY),
                Err(VerifyError::Forged),
                "{signature:?}"
            );
        }
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
        let verify = |now| verifier.verify(&headers, BODY.as_bytes(), now).map(|_| ());
        assert_eq!(verify(at(SENT + 300)), Ok(()));
        assert_eq!(verify(at(SENT + 300) + time::Duration::milliseconds(999)), Ok(()));
        assert_eq!(verify(at(SENT + 301)), Err(VerifyError::TooOld { seconds: 301 }));
        assert_eq!(verify(at(SENT - 300)), Ok(()));
        assert_eq!(verify(at(SENT - 301)), Err(VerifyError::TooNew { seconds: 301 }));
        assert_eq!(verify(at(0)), Err(VerifyError::TooNew { seconds: SENT }));
    }

    #[test]
    fn public_key_is_not_accepted_as_secret() {
        let public = STANDARD
            .decode("1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
            .unwrap();
        let signed = format!("{ID}.{SENT}.{BODY}");
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), signed.as_bytes());
        let signature = format!("v1a,{}", STANDARD.encode(mac));
        for secret in [SECRET.parse().unwrap(), Secret::from_bytes(&public).unwrap()] {
            let verifier = Verifier::new([secret]);
            let headers = headers(ID, &SENT.to_string(), &signature);
            assert_eq!(
                verifier.verify(&headers, BODY.as_bytes(), at(SENT)),
                Err(VerifyError::Forged)
            );
        }
    }

    fn flip(text: &str, position: usize, bit: u8) -> Option<String> {
        let mut bytes = text.as_bytes().to_vec();
        let position = position % bytes.len();
        bytes[position] ^= 1 << bit;
        String::from_utf8(bytes)
            .ok()
            .filter(|text| HeaderValue::from_str(text).is_ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn flipped_bit_is_rejected(part in 0_usize..4, position in 0_usize..200, bit in 0_u8..7) {
            let sent = SENT.to_string();
            let mut parts = [ID, &sent, SIGNATURE, BODY].map(str::to_owned);
            let Some(flipped) = flip(&parts[part], position, bit) else { return Ok(()) };
            parts[part] = flipped;
            let [id, timestamp, signature, body] = &parts;
            prop_assert!(verify(id, timestamp, signature, body).is_err(), "{parts:?}");
        }

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
