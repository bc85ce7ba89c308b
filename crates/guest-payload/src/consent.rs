//! What a guest chose, and when.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};

use crate::Purpose;

/// What the guest said about one purpose.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// No.
    Denied,
    /// Yes.
    Granted,
    /// Nothing: not asked, or not answered.
    #[default]
    Unknown,
}

impl Choice {
    /// The name, as in `granted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Granted => "granted",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a choice can be shown to have been made.
///
/// `Debug` shows no GPP string: it can tell guests apart.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Evidence {
    /// When the guest chose, in UTC, to the millisecond. Not when the session is built.
    pub when: OffsetDateTime,
    /// How they were asked.
    pub how: How,
    /// Who chose.
    pub actor: Actor,
    /// What they were shown.
    pub notice: Option<Notice>,
    /// What a consent platform says of it.
    pub gpp: Option<Gpp>,
}

impl Evidence {
    /// The guest chose at `when`; nothing else is known.
    #[must_use]
    pub fn at(when: OffsetDateTime) -> Self {
        // a time that has no equal in UTC lies at the very end of the calendar, and stays as it is
        let utc = when.checked_to_offset(UtcOffset::UTC).unwrap_or(when);
        Self {
            when: utc.truncate_to_millisecond(),
            how: How::default(),
            actor: Actor::default(),
            notice: None,
            gpp: None,
        }
    }

    /// The guest was asked in this way.
    #[must_use]
    pub fn how(mut self, how: How) -> Self {
        self.how = how;
        self
    }

    /// This is who chose.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// This is what they were shown.
    #[must_use]
    pub fn notice(mut self, notice: Notice) -> Self {
        self.notice = Some(notice);
        self
    }

    /// This is what a consent platform says of it.
    #[must_use]
    pub fn gpp(mut self, gpp: Gpp) -> Self {
        self.gpp = Some(gpp);
        self
    }

    pub(crate) fn is_by_guardian(&self) -> bool {
        self.actor == Actor::Guardian
    }
}

/// How a guest was asked.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum How {
    /// A banner on the page.
    Banner,
    /// In the conversation.
    Chat,
    /// A form, or the settings of an account.
    Form,
    /// On the phone.
    Phone,
    /// Nobody says.
    #[default]
    Unstated,
}

impl How {
    /// The name, as in `form`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Banner => "banner",
            Self::Chat => "chat",
            Self::Form => "form",
            Self::Phone => "phone",
            Self::Unstated => "unstated",
        }
    }
}

/// Who chose for the guest.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Actor {
    /// An agent, on the guest's word.
    Agent,
    /// A parent or guardian.
    Guardian,
    /// The guest.
    #[default]
    Guest,
}

impl Actor {
    /// The name, as in `guest`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Guardian => "guardian",
            Self::Guest => "guest",
        }
    }
}

/// The privacy notice that a guest was shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    version: String,
    language: String,
}

impl Notice {
    /// A notice by its version (1 to 64 printable ASCII characters) and its language (a tag of BCP 47, as in `de-CH`).
    ///
    /// # Errors
    /// If one of them cannot be that.
    pub fn new(version: impl Into<String>, language: impl Into<String>) -> Result<Self, EvidenceError> {
        let (version, language) = (version.into(), language.into());
        let printable = version.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if version.trim().is_empty() || version.len() > 64 || !printable {
            return Err(EvidenceError::Version);
        }
        let is_subtag = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let primary = language.split('-').next().unwrap_or_default();
        let is_primary = primary.len() >= 2 && primary.bytes().all(|byte| byte.is_ascii_alphabetic());
        if language.len() > 35 || !is_primary || !language.split('-').all(is_subtag) {
            return Err(EvidenceError::Language);
        }
        Ok(Self { version, language })
    }

    /// Its version, as the controller names it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The language in which it was shown, as in `de-CH`.
    #[must_use]
    pub fn language(&self) -> &str {
        &self.language
    }
}

/// A string of the IAB Global Privacy Platform, as a consent platform gave it. It is kept byte for byte, and neither
/// read nor written anew: what was agreed to stands in the choices.
#[derive(Clone, Eq, PartialEq)]
pub struct Gpp(String);

impl Gpp {
    /// Most characters. Our choice.
    pub const LONGEST: usize = 4096;

    /// Keeps the text as it is: 1 to [`Gpp::LONGEST`] visible ASCII characters.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn new(text: impl Into<String>) -> Result<Self, EvidenceError> {
        let text = text.into();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > Self::LONGEST || !visible {
            return Err(EvidenceError::Gpp);
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Gpp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpp({} characters)", self.0.len())
    }
}

/// A piece of evidence cannot be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// No string of the IAB Global Privacy Platform.
    #[error("the GPP string must be 1 to {} visible ASCII characters", Gpp::LONGEST)]
    Gpp,
    /// No language.
    #[error("the notice's language is none: give a tag such as de or de-CH")]
    Language,
    /// No version of a notice.
    #[error("the notice's version must be 1 to 64 printable ASCII characters")]
    Version,
}

/// A choice and how it can be shown to have been made. For [`Choice::Unknown`] it is when the guest was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Given {
    /// What was chosen.
    pub choice: Choice,
    /// How that can be shown.
    pub evidence: Evidence,
}

/// A guest's choices, one for each purpose, each with its evidence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Consent {
    given: [Given; 3],
}

impl Consent {
    /// Choices that were made together, in the order of [`Purpose::ALL`].
    #[must_use]
    pub fn together(choices: [Choice; 3], evidence: Evidence) -> Self {
        let given = choices.map(|choice| Given {
            choice,
            evidence: evidence.clone(),
        });
        Self { given }
    }

    /// The same, but for one purpose, about which the guest chose apart.
    #[must_use]
    pub fn with(mut self, purpose: Purpose, choice: Choice, evidence: Evidence) -> Self {
        self.given[purpose as usize] = Given { choice, evidence };
        self
    }

    /// The choice about one purpose, and its evidence.
    #[must_use]
    pub fn given(&self, purpose: Purpose) -> &Given {
        &self.given[purpose as usize]
    }

    /// The choice about one purpose.
    #[must_use]
    pub fn choice(&self, purpose: Purpose) -> Choice {
        self.given(purpose).choice
    }

    /// When the guest last chose anything, or was last asked.
    #[must_use]
    pub fn latest(&self) -> OffsetDateTime {
        let [marketing, personalization, analytics] = self.given.each_ref().map(|given| given.evidence.when);
        marketing.max(personalization).max(analytics)
    }
}

/// What a guest changes about earlier choices. A purpose that is not named stays as it was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsentChange {
    choices: [Option<Choice>; 3],
    evidence: Evidence,
}

impl ConsentChange {
    /// A change that names no purpose yet.
    #[must_use]
    pub fn new(evidence: Evidence) -> Self {
        Self {
            choices: [None; 3],
            evidence,
        }
    }

    /// The guest agrees to `purpose`.
    #[must_use]
    pub fn granting(mut self, purpose: Purpose) -> Self {
        self.choices[purpose as usize] = Some(Choice::Granted);
        self
    }

    /// The guest refuses `purpose`, or withdraws what they agreed to.
    #[must_use]
    pub fn withdrawing(mut self, purpose: Purpose) -> Self {
        self.choices[purpose as usize] = Some(Choice::Denied);
        self
    }

    /// What is chosen about one purpose, if anything is: granted or denied, never unknown.
    #[must_use]
    pub fn choice(&self, purpose: Purpose) -> Option<Choice> {
        self.choices[purpose as usize]
    }

    /// When the guest chose, and how that can be shown.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}

/// What the guest's browser says on their behalf.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Signals {
    /// Global Privacy Control: the guest opts out of the sale and sharing of their data. It switches marketing and
    /// personalization off everywhere, even where they were granted, and switches nothing on.
    pub gpc: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_kept_as_the_wire_can_carry_it() {
        let when = genesys_api::parse_rfc3339("2026-11-22T13:30:00.123456+01:00").unwrap();
        let evidence = Evidence::at(when);
        assert_eq!(genesys_api::rfc3339(evidence.when), "2026-11-22T12:30:00.123Z");
        assert_eq!(
            genesys_api::parse_rfc3339("2026-11-22T12:30:00.123Z"),
            Some(evidence.when)
        );
    }

    #[test]
    fn evidence_is_what_it_says_it_is_or_an_error() {
        let notice = Notice::new("2026-03", "de-CH").unwrap();
        assert_eq!((notice.version(), notice.language()), ("2026-03", "de-CH"));
        for version in ["", " ", "a\nb", "é", &"x".repeat(65)] {
            assert_eq!(
                Notice::new(version, "de"),
                Err(EvidenceError::Version),
                "{version:?}"
            );
        }
        for language in [
            "",
            "d",
            "-",
            "de-",
            "de_CH",
            "1a",
            "de-überlang",
            "german-deutschland",
        ] {
            assert_eq!(
                Notice::new("1", language),
                Err(EvidenceError::Language),
                "{language:?}"
            );
        }
        let gpp = Gpp::new("DBABMA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA").unwrap();
        assert_eq!(
            gpp.as_str(),
            "DBABMA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"
        );
        assert_eq!(format!("{gpp:?}"), "Gpp(51 characters)");
        for text in ["", "a b", "a\0", &"x".repeat(4097)] {
            assert_eq!(Gpp::new(text), Err(EvidenceError::Gpp));
        }
    }

    #[test]
    fn a_change_names_only_what_it_changes() {
        let change = ConsentChange::new(Evidence::at(OffsetDateTime::UNIX_EPOCH))
            .granting(Purpose::Analytics)
            .withdrawing(Purpose::Marketing);
        assert_eq!(change.choice(Purpose::Analytics), Some(Choice::Granted));
        assert_eq!(change.choice(Purpose::Marketing), Some(Choice::Denied));
        assert_eq!(change.choice(Purpose::Personalization), None);
    }
}
