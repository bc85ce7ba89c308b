//! Signatures of Standard Webhooks 1.0.0 with HMAC-SHA256 (`v1`) and with Ed25519 (`v1a`).

use std::fmt;
use std::io::Write as _;
use std::ops::Range;
use std::str::FromStr;

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderName;
use ring::hmac;
use time::OffsetDateTime;

use crate::Secret;

/// Name of the header with the id of the message, which is the same in every attempt.
pub const ID_HEADER: HeaderName = HeaderName::from_static("webhook-id");
/// Name of the header with the time of the attempt, in whole seconds since 1970.
pub(crate) const TIMESTAMP_HEADER: HeaderName = HeaderName::from_static("webhook-timestamp");
/// Name of the header with the signatures, separated by spaces.
pub(crate) const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("webhook-signature");

/// Version tag of an HMAC-SHA256 signature, with its separator.
pub(crate) const VERSION: &str = "v1,";
/// Version tag of an Ed25519 signature, with its separator.
pub(crate) const VERSION_ASYMMETRIC: &str = "v1a,";
/// Length of an HMAC-SHA256, in bytes.
pub(crate) const MAC: usize = 32;
/// Length of an Ed25519 signature, in bytes.
pub(crate) const ED25519: usize = 64;
/// Characters of the longest timestamp, that of the year -9999.
pub(crate) const LONGEST_SECONDS: usize = 13;

/// Versions of the signatures of Standard Webhooks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SignatureVersion {
    /// HMAC-SHA256 with a secret that the receiver has too.
    #[default]
    V1,
    /// Ed25519: the receiver has a public key, which signs nothing.
    V1a,
}

impl SignatureVersion {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }

    /// A new secret that makes signatures of this version.
    #[must_use]
    pub fn generate(self, random: [u8; 32]) -> Secret {
        match self {
            Self::V1 => Secret::generate(random),
            Self::V1a => Secret::generate_private(random),
        }
    }
}

impl FromStr for SignatureVersion {
    type Err = UnknownSignatureVersion;

    fn from_str(text: &str) -> Result<Self, UnknownSignatureVersion> {
        let version = [Self::V1, Self::V1a]
            .into_iter()
            .find(|version| version.as_str() == text);
        version.ok_or(UnknownSignatureVersion)
    }
}

/// An unknown version of signatures.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid version of signatures: give v1 or v1a")]
pub struct UnknownSignatureVersion;

/// Signs `body` for one attempt with `current`, and with `old` secrets during a rotation. Returns the headers of the
/// delivery.
///
/// `timestamp` is the time of this attempt, not of the event: receivers reject old timestamps. Each secret adds at most
/// 93 bytes to a header, so keep few old ones: receivers limit their headers.
///
/// # Panics
/// Never: ids and base64 are valid header values.
#[must_use]
pub fn sign(
    current: &Secret,
    old: &[Secret],
    id: &MessageId,
    timestamp: OffsetDateTime,
    body: &[u8],
) -> [(HeaderName, HeaderValue); 3] {
    let secrets = || std::iter::once(current).chain(old);
    let signatures: usize = secrets().map(|secret| secret.signature_length() + 1).sum();
    // the three values share a buffer, which begins with the signed prefix
    let mut text = Vec::with_capacity(id.0.len() + LONGEST_SECONDS + 2 + signatures);
    text.extend_from_slice(id.0.as_bytes());
    write!(text, ".{}.", timestamp.unix_timestamp()).expect("a Vec grows");
    let prefix = text.len();
    for secret in secrets() {
        secret.append_signature(&mut text, prefix, body);
        text.push(b' ');
    }
    let text = Bytes::from(text);
    let value = |part: Range<usize>| {
        let value = HeaderValue::from_maybe_shared(text.slice(part));
        value.expect("ids and base64 are visible ASCII")
    };
    [
        (ID_HEADER, value(0..id.0.len())),
        (TIMESTAMP_HEADER, value(id.0.len() + 1..prefix - 1)),
        (SIGNATURE_HEADER, value(prefix..text.len() - 1)),
    ]
}

/// The MAC over the signed content, without a copy of it.
pub(crate) fn mac<const N: usize>(key: &hmac::Key, content: [&[u8]; N]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    content.into_iter().for_each(|part| context.update(part));
    context.sign()
}

/// Id of a message, by which a receiver detects a repeated delivery.
///
/// 1 to 128 characters of `A-Z a-z 0-9 _ : -`. A `.` is not allowed: it separates the signed parts.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageId(String);

impl MessageId {
    /// A new id: `msg_` and 32 hexadecimal digits.
    #[must_use]
    pub fn generate(random: [u8; 16]) -> Self {
        Self(format!("msg_{:032x}", u128::from_be_bytes(random)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MessageIdError)
        }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An invalid message id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid message id: give 1 to 128 characters of A-Z a-z 0-9 _ : -")]
pub struct MessageIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_match_reference_libraries() {
        for (secret, id, seconds, body, signature) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
            (
                "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
            ),
        ] {
            let timestamp = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            let headers = sign(
                &secret.parse().unwrap(),
                &[],
                &id.parse().unwrap(),
                timestamp,
                body.as_bytes(),
            );
            let headers = headers
                .each_ref()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
            assert_eq!(
                headers,
                [
                    ("webhook-id", id),
                    ("webhook-timestamp", &seconds.to_string()),
                    ("webhook-signature", signature),
                ]
            );
        }
    }

    #[test]
    fn signed_headers_share_one_buffer() {
        let (secret, id) = (Secret::generate([1; 32]), MessageId::generate([1; 16]));
        let headers = sign(&secret, &[], &id, OffsetDateTime::UNIX_EPOCH, b"x");
        let [id, seconds, signature] = headers
            .each_ref()
            .map(|(_, value)| value.as_bytes().as_ptr_range());
        assert_eq!(id.end.addr() + 1, seconds.start.addr());
        assert_eq!(seconds.end.addr() + 1, signature.start.addr());
    }

    #[test]
    fn secret_rotation_signs_with_every_secret() {
        let mut secrets: Vec<Secret> = (0..20).map(|n| Secret::generate([n; 32])).collect();
        secrets[1] = Secret::generate_private([1; 32]);
        let id = MessageId::generate([1; 16]);
        let at = OffsetDateTime::UNIX_EPOCH;
        let signature = |current: &Secret, old: &[Secret]| {
            let [_, _, (_, signature)] = sign(current, old, &id, at, b"x");
            signature.to_str().unwrap().to_owned()
        };
        let [first, second] = [0, 1].map(|n| signature(&secrets[n], &[]));
        assert_eq!(
            signature(&secrets[0], &secrets[1..2]),
            format!("{first} {second}")
        );
        let many = signature(&secrets[0], &secrets[1..]);
        assert_eq!(many.split(' ').count(), secrets.len());
    }

    #[test]
    fn signature_version_makes_its_signatures() {
        for version in [SignatureVersion::V1, SignatureVersion::V1a] {
            assert_eq!(version.as_str().parse(), Ok(version));
            let secret = version.generate([1; 32]);
            let id = MessageId::generate([1; 16]);
            let [.., (_, signature)] = sign(&secret, &[], &id, OffsetDateTime::UNIX_EPOCH, b"x");
            let (tag, _) = signature.to_str().unwrap().split_once(',').unwrap();
            assert_eq!(tag, version.as_str());
        }
        for text in ["", "V1", "v2", "v1,"] {
            assert_eq!(
                text.parse::<SignatureVersion>(),
                Err(UnknownSignatureVersion),
                "{text}"
            );
        }
    }

    #[test]
    fn message_id_rejects_separators() {
        assert_eq!(
            MessageId::generate([0xab; 16]).as_str(),
            "msg_abababababababababababababababab"
        );
        let long = "x".repeat(129);
        for text in ["", "a.b", "a b", "é", "a\n", long.as_str()] {
            assert_eq!(text.parse::<MessageId>(), Err(MessageIdError), "{text:?}");
        }
    }
}
