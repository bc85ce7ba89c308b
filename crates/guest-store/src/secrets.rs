//! The secrets of a session and their sealed form.

use std::fmt;

use audit::Pseudonym;
#[cfg(feature = "sqlite")]
use base64::{Engine as _, engine::general_purpose::STANDARD};
use genesys_api::{SessionId, entropy};
#[cfg(feature = "sqlite")]
use secrecy::ExposeSecret as _;
use secrecy::SecretString;

/// The secrets of a session. They are sealed at rest.
#[derive(Clone)]
pub struct SessionSecrets {
    /// The UUID that identifies the guest to Genesys Cloud: a bearer secret.
    pub genesys_token: SecretString,
    /// The key of the session's pseudonym in the audit log. Its destruction unlinks the entries for good.
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

    /// The pseudonym of the session with this id in the audit log.
    #[must_use]
    pub fn pseudonym(&self, id: &SessionId) -> Pseudonym {
        Pseudonym::of(&self.subject_key, id.as_str())
    }
}

/// The sealed text is `genesys_token SP base64(subject_key) [SP refresh_token]`.
#[cfg(feature = "sqlite")]
impl SessionSecrets {
    pub(crate) fn to_text(&self) -> SecretString {
        let token = self.genesys_token.expose_secret();
        let key = STANDARD.encode(self.subject_key);
        match &self.refresh_token {
            Some(refresh) => format!("{token} {key} {}", refresh.expose_secret()).into(),
            None => format!("{token} {key}").into(),
        }
    }

    pub(crate) fn parse(text: &SecretString) -> Option<Self> {
        let mut words = text.expose_secret().splitn(3, ' ');
        let (token, key) = (words.next()?, words.next()?);
        Some(Self {
            genesys_token: token.into(),
            subject_key: STANDARD.decode(key).ok()?.try_into().ok()?,
            refresh_token: words.next().map(SecretString::from),
        })
    }
}

impl fmt::Debug for SessionSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecrets(redacted)")
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    #[test]
    fn secrets_read_back_from_their_text() {
        let mut secrets = SessionSecrets::random();
        for refresh in [None, Some("a refresh token"), Some("")] {
            secrets.refresh_token = refresh.map(SecretString::from);
            let read = SessionSecrets::parse(&secrets.to_text()).unwrap();
            assert_eq!(
                read.genesys_token.expose_secret(),
                secrets.genesys_token.expose_secret()
            );
            assert_eq!(read.subject_key, secrets.subject_key);
            assert_eq!(
                read.refresh_token.as_ref().map(|token| token.expose_secret()),
                refresh
            );
        }
        assert_eq!(format!("{secrets:?}"), "SessionSecrets(redacted)");
    }

    #[test]
    fn text_of_revision_f2044ed_is_read() {
        let text =
            "01234567-89ab-4def-8123-456789abcdef AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= refresh";
        let read = SessionSecrets::parse(&text.into()).unwrap();
        assert_eq!(
            read.genesys_token.expose_secret(),
            "01234567-89ab-4def-8123-456789abcdef"
        );
        assert_eq!(read.subject_key, [1; 32]);
        assert_eq!(read.refresh_token.unwrap().expose_secret(), "refresh");
    }

    #[test]
    fn damaged_text_is_refused() {
        for text in ["", "token", "token AAAA", "token not-base64"] {
            assert!(SessionSecrets::parse(&text.into()).is_none(), "{text}");
        }
    }
}
