//! The secrets of a webhook: the current one, and those that sign too after a rotation.

use std::time::Duration;

use genesys_api::error_chain;
use secrecy::SecretString;
use time::OffsetDateTime;
use webhook::Secret;

/// Time for which a replaced secret signs too. Our choice, as of Svix.
const OVERLAP: Duration = Duration::from_secs(86_400);
/// Largest number of old secrets, as in Svix: each adds a signature to the header.
const MAX_OLD: usize = 10;

/// The secrets of one webhook.
#[derive(Clone, Debug)]
pub(super) struct SigningKeys {
    pub(super) current: Secret,
    /// The replaced secrets, newest first, with the time at which each stops signing.
    old: Vec<(Secret, OffsetDateTime)>,
}

impl SigningKeys {
    pub(super) fn new(current: Secret) -> Self {
        let old = Vec::new();
        Self { current, old }
    }

    /// Parses the text of [`to_text`](Self::to_text). A secret alone is one too.
    ///
    /// # Errors
    /// The cause as text, without a value.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let secret = |text: &str| text.parse::<Secret>().map_err(|error| error_chain(&error));
        let mut words = text.split(' ');
        let current = secret(words.next().unwrap_or_default())?;
        let mut old = Vec::new();
        while let Some(until) = words.next() {
            let until = until
                .parse()
                .ok()
                .and_then(|until| OffsetDateTime::from_unix_timestamp(until).ok());
            let until = until.ok_or("invalid end of an old secret: not a time in seconds")?;
            old.push((secret(words.next().unwrap_or_default())?, until));
        }
        Ok(Self { current, old })
    }

    /// The current secret, then the end in Unix seconds and the secret of each old one, separated by spaces.
    pub(super) fn to_text(&self) -> SecretString {
        let mut text = self.current.expose().to_owned();
        for (secret, until) in &self.old {
            text.push_str(&format!(" {} {}", until.unix_timestamp(), secret.expose()));
        }
        text.into()
    }

    /// The secrets that sign too at `now`.
    pub(super) fn old_at(&self, now: OffsetDateTime) -> Vec<Secret> {
        let signing = self.old.iter().filter(|(_, until)| *until > now);
        signing.map(|(secret, _)| secret.clone()).collect()
    }

    /// Makes `secret` the current one, and drops the old ones that no longer sign. `None` if too many still do.
    pub(super) fn rotated(mut self, secret: Secret, now: OffsetDateTime) -> Option<Self> {
        self.drop_ended(now);
        let replaced = std::mem::replace(&mut self.current, secret);
        self.old.insert(0, (replaced, now + OVERLAP));
        (self.old.len() <= MAX_OLD).then_some(self)
    }

    /// Drops the secrets that no longer sign at `now`. Returns whether there were any.
    pub(super) fn drop_ended(&mut self, now: OffsetDateTime) -> bool {
        let before = self.old.len();
        self.old.retain(|(_, until)| *until > now);
        self.old.len() < before
    }

    /// When the next old secret stops signing.
    pub(super) fn next_end(&self) -> Option<OffsetDateTime> {
        self.old.iter().map(|(_, until)| *until).min()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn secret(number: u8) -> Secret {
        Secret::generate([number; 32])
    }

    fn texts(secrets: &[Secret]) -> Vec<&str> {
        secrets.iter().map(Secret::expose).collect()
    }

    #[test]
    fn replaced_secret_signs_for_a_day() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let hour = time::Duration::HOUR;
        let keys = SigningKeys::new(secret(0)).rotated(secret(1), now).unwrap();
        let keys = keys.rotated(secret(2), now + hour).unwrap();
        let mut read = SigningKeys::parse(keys.to_text().expose_secret()).unwrap();
        assert_eq!(read.current.expose(), secret(2).expose());
        for (hours, expected) in [(23, &[1, 0][..]), (24, &[1]), (25, &[])] {
            let expected: Vec<Secret> = expected.iter().map(|number| secret(*number)).collect();
            assert_eq!(
                texts(&read.old_at(now + hour * hours)),
                texts(&expected),
                "{hours}"
            );
        }
        assert_eq!(read.next_end(), Some(now + hour * 24));
        assert!(!read.drop_ended(now + hour * 23));
        assert!(read.drop_ended(now + hour * 24));
        assert_eq!(read.next_end(), Some(now + hour * 25));
        assert!(!read.to_text().expose_secret().contains(secret(0).expose()));
    }

    #[test]
    fn old_secrets_are_limited_and_make_room_when_they_end() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut keys = SigningKeys::new(secret(0));
        for number in 1..=10 {
            keys = keys.rotated(secret(number), now).unwrap();
        }
        assert!(keys.clone().rotated(secret(11), now).is_none());
        assert!(keys.rotated(secret(11), now + OVERLAP).is_some());
    }

    #[test]
    fn malformed_text_is_refused_without_its_value() {
        let valid = secret(1);
        let valid = valid.expose();
        for text in [
            "",
            "whsec_!",
            &format!("{valid} soon {valid}"),
            &format!("{valid} 1"),
            &format!("{valid} "),
        ] {
            let error = SigningKeys::parse(text).unwrap_err();
            assert!(
                error.contains("invalid") && !error.contains(&valid[6..]),
                "{error}"
            );
        }
        assert!(!format!("{:?}", SigningKeys::new(secret(1))).contains(&valid[6..]));
    }
}
