//! The secrets of a session and their sealed form.

use std::fmt;

use audit::Pseudonym;
use genesys_api::{SessionId, entropy};
use ring::hmac;
use secrecy::SecretString;

/// The secrets of a session. They are sealed at rest under the subject key, which is itself sealed.
#[derive(Clone)]
pub struct SessionSecrets {
    /// The UUID that identifies the guest to Genesys Cloud: a bearer secret.
    pub genesys_token: SecretString,
    /// The key of the session's pseudonym in the audit log. Its destruction
    /// unlinks the entries permanently and makes the personal data of the session unreadable.
    pub subject_key: [u8; 32],
    /// The refresh token of a signed-in guest.
    pub refresh_token: Option<SecretString>,
}

impl SessionSecrets {
    /// The random secrets of a new session, without a refresh token.
    #[must_use]
    pub fn random() -> Self {
        Self {
            genesys_token: entropy::uuid().to_string().into(),
            subject_key: entropy::bytes(),
            refresh_token: None,
        }
    }

    /// The pseudonym of the session with this id in the audit log. Its prefix in the index of the entries is the time of
    /// a UUID of version 7, so that the entries of new sessions are neighbors there.
    #[must_use]
    pub fn pseudonym(&self, id: &SessionId) -> Pseudonym {
        let pseudonym = Pseudonym::of(&self.subject_key, id.as_str());
        match uuid_v7_time(id.as_str()) {
            Some(time) => pseudonym.with_prefix(time),
            None => pseudonym,
        }
    }

    /// The key from which the tokens of the session are derived. Like the personal data, they are lost with the subject key.
    #[must_use]
    pub fn token_key(&self) -> [u8; 32] {
        self.derived_key(b"guest-store/tokens")
    }

    /// The key from which the credentials of the session's browser are derived. It is lost as [`Self::token_key`] is.
    #[must_use]
    pub fn browser_key(&self) -> [u8; 32] {
        self.derived_key(b"guest-store/browser")
    }

    fn derived_key(&self, purpose: &[u8]) -> [u8; 32] {
        // not the text of a pseudonym, which the audit log shows
        let subject_key = hmac::Key::new(hmac::HMAC_SHA256, &self.subject_key);
        let mut key = [0; 32];
        key.copy_from_slice(hmac::sign(&subject_key, purpose).as_ref());
        key
    }
}

/// The 48 bits of time in the text of a UUID of version 7.
pub(crate) fn uuid_v7_time(id: &str) -> Option<[u8; 6]> {
    let bytes = id.as_bytes();
    if bytes.len() != 36 || bytes[14] != b'7' || bytes[8] != b'-' {
        return None;
    }
    let millis =
        u64::from_str_radix(id.get(..8)?, 16).ok()? << 16 | u64::from_str_radix(id.get(9..13)?, 16).ok()?;
    millis.to_be_bytes()[2..].try_into().ok()
}

impl fmt::Debug for SessionSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecrets(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_debug_is_redacted() {
        assert_eq!(
            format!("{:?}", SessionSecrets::random()),
            "SessionSecrets(redacted)"
        );
    }
}
