//! Verification of the header `X-Hub-Signature-256`, in constant time and without allocation.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::HeaderName;
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq;

use crate::verify::{malformed, single};
use crate::{KeyError, VerifyError};

const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
const PREFIX: &str = "sha256=";
/// Length of the longest encoding of a MAC, that in hexadecimal digits.
const LONGEST: usize = 64;

/// Verifies deliveries of Genesys Cloud open messaging and of GitHub, which have the header `X-Hub-Signature-256`: an
/// HMAC-SHA256 of the raw body.
///
/// The header contains no time and no id, so anyone who saw a delivery can repeat it at any time. Store the ids of processed
/// messages, which the signed body contains.
#[derive(Clone, Debug)]
pub struct HubVerifier {
    keys: Vec<hmac::Key>,
    encoding: Encoding,
}

#[derive(Clone, Copy, Debug)]
enum Encoding {
    Base64,
    Hex,
}

impl HubVerifier {
    /// A verifier of the notifications of Genesys Cloud open messaging: `sha256=` and base64. A secret is an integration's
    /// `outboundNotificationWebhookSignatureSecretToken`. Give one, or two during a rotation.
    ///
    /// Source: developer.genesys.cloud, "Validate webhook notifications". Its sample hashes the parsed body, serialized
    /// again. That this equals the raw body is our conclusion.
    ///
    /// # Errors
    /// If a secret is empty.
    pub fn genesys(secrets: impl IntoIterator<Item = impl Into<SecretString>>) -> Result<Self, KeyError> {
        Self::new(Encoding::Base64, secrets)
    }

    /// A verifier of the webhooks of GitHub: `sha256=` and lower-case hexadecimal digits. Give one secret, or two during a
    /// rotation.
    ///
    /// Source: docs.github.com, "Validating webhook deliveries".
    ///
    /// # Errors
    /// If a secret is empty.
    pub fn github(secrets: impl IntoIterator<Item = impl Into<SecretString>>) -> Result<Self, KeyError> {
        Self::new(Encoding::Hex, secrets)
    }

    fn new(
        encoding: Encoding,
        secrets: impl IntoIterator<Item = impl Into<SecretString>>,
    ) -> Result<Self, KeyError> {
        let key = |secret: SecretString| match secret.expose_secret() {
            "" => Err(KeyError::Empty),
            secret => Ok(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())),
        };
        let keys = secrets
            .into_iter()
            .map(Into::into)
            .map(key)
            .collect::<Result<_, _>>()?;
        Ok(Self { keys, encoding })
    }

    /// Verifies the header against the raw bytes of the body.
    ///
    /// # Errors
    /// If the header is missing, repeated or malformed, or no secret matches.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), VerifyError> {
        let [given] = single(headers, [SIGNATURE])?;
        let given = given
            .strip_prefix(PREFIX)
            .ok_or_else(|| malformed(SIGNATURE, "it does not begin with sha256="))?;
        for key in &self.keys {
            let mut buffer = [0; LONGEST];
            let expected = self.encoding.encode(hmac::sign(key, body).as_ref(), &mut buffer);
            if bool::from(expected.ct_eq(given.as_bytes())) {
                return Ok(());
            }
        }
        Err(VerifyError::Forged)
    }
}

impl Encoding {
    /// Writes the encoded MAC to the start of the buffer.
    fn encode<'a>(self, mac: &[u8], buffer: &'a mut [u8; LONGEST]) -> &'a [u8] {
        match self {
            Self::Base64 => {
                let length = STANDARD.encode_slice(mac, buffer).unwrap_or_default();
                &buffer[..length]
            }
            Self::Hex => {
                let digits = mac.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                for (place, digit) in buffer.iter_mut().zip(digits) {
                    *place = b"0123456789abcdef"[usize::from(digit)];
                }
                buffer
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// RFC 4231 section 4, test cases 1 to 4, 6 and 7: key, data, MAC. Case 5 is of a truncated MAC.
    const RFC_4231: [(&[u8], &[u8], &str); 6] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19",
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            &[0xaa; 131],
            b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be \
              hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ];

    fn headers(signature: &str) -> HeaderMap {
        HeaderMap::from_iter([(SIGNATURE, HeaderValue::from_str(signature).unwrap())])
    }

    #[test]
    fn mac_matches_vectors_of_rfc_4231() {
        for (key, data, mac) in RFC_4231 {
            let verifier = HubVerifier {
                keys: vec![hmac::Key::new(hmac::HMAC_SHA256, key)],
                encoding: Encoding::Hex,
            };
            assert_eq!(
                verifier.verify(&headers(&format!("sha256={mac}")), data),
                Ok(()),
                "{mac}"
            );
        }
    }

    #[test]
    fn hub_verifier_accepts_any_of_its_secrets() {
        let signed = headers("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
        let verify = |secrets: &[&str]| {
            let verifier = HubVerifier::github(secrets.iter().copied()).unwrap();
            verifier.verify(&signed, b"Hello, World!")
        };
        let secret = "It's a Secret to Everybody";
        assert_eq!(verify(&[secret]), Ok(()));
        assert_eq!(verify(&["other", secret]), Ok(()));
        assert_eq!(verify(&["other"]), Err(VerifyError::Forged));
        assert_eq!(verify(&[]), Err(VerifyError::Forged));
        for verifier in [HubVerifier::github(["x", ""]), HubVerifier::genesys([""])] {
            assert_eq!(verifier.unwrap_err(), KeyError::Empty);
        }
    }
}
