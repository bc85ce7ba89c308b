//! Choices of a guest, with their evidence.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};

use crate::{Age, Category, GuardianEvidence, Jurisdictions, Purpose, Subject};

/// A guest's choice about one purpose.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// Refused or withdrawn.
    Denied,
    /// Agreed.
    Granted,
    /// Not asked, or not answered.
    #[default]
    Unknown,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The proof of a choice.
///
/// `Debug` shows no GPP string: it can identify a guest. Serialized, it has the fields that a body of the
/// `guest-sessions` contract has for it, without defaults.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evidence {
    /// Time of the choice in UTC, with milliseconds. Not the time at which the session is built.
    #[serde(rename = "consentTimestamp", with = "genesys_api::timestamp")]
    pub chosen_at: OffsetDateTime,
    /// The way in which the guest was asked.
    #[serde(rename = "how", skip_serializing_if = "is_default")]
    pub method: CollectionMethod,
    /// The person who chose.
    #[serde(skip_serializing_if = "is_default")]
    pub actor: Actor,
    /// The privacy notice that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// The consent platform's string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpp: Option<Gpp>,
    /// The evidence that a parent or guardian agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guardian: Option<GuardianEvidence>,
}

/// A time in UTC with milliseconds. One without an equal in UTC is at the end of the calendar and stays unchanged.
pub(crate) fn in_milliseconds(time: OffsetDateTime) -> OffsetDateTime {
    let utc = time.checked_to_offset(UtcOffset::UTC).unwrap_or(time);
    utc.truncate_to_millisecond()
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Evidence {
    /// A choice at `when`, without further evidence. The other fields can be set.
    #[must_use]
    pub fn at(when: OffsetDateTime) -> Self {
        Self {
            chosen_at: in_milliseconds(when),
            method: CollectionMethod::default(),
            actor: Actor::default(),
            notice: None,
            gpp: None,
            guardian: None,
        }
    }

    /// Whether a parent or guardian chose, with evidence.
    pub(crate) fn is_by_guardian(&self) -> bool {
        self.actor == Actor::Guardian && self.guardian.is_some()
    }
}

/// The way in which a guest was asked.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CollectionMethod {
    /// A banner on the page.
    Banner,
    /// In the conversation.
    Chat,
    /// A form, or the settings of an account.
    Form,
    /// On the phone.
    Phone,
    /// Not stated.
    #[default]
    Unstated,
}

impl fmt::Display for CollectionMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The person who chose.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Actor {
    /// An agent, on behalf of the guest.
    Agent,
    /// A parent or guardian.
    Guardian,
    /// The guest.
    #[default]
    Guest,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The privacy notice that a guest was shown.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "NoticeFields")]
pub struct Notice {
    version: String,
    language: String,
}

#[derive(Deserialize)]
struct NoticeFields {
    version: String,
    language: String,
}

impl TryFrom<NoticeFields> for Notice {
    type Error = EvidenceError;

    fn try_from(fields: NoticeFields) -> Result<Self, EvidenceError> {
        Self::new(fields.version, fields.language)
    }
}

impl Notice {
    /// A notice by its version (1 to 64 printable ASCII characters) and its language (a tag of BCP 47, as in `de-CH`).
    ///
    /// # Errors
    /// If one of them is invalid.
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

    /// The version, as the controller names it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The language, as in `de-CH`.
    #[must_use]
    pub fn language(&self) -> &str {
        &self.language
    }
}

/// A string of the IAB Global Privacy Platform from a consent platform. It is stored byte for byte and not parsed: the
/// choices hold what was agreed to.
#[derive(Clone, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Gpp(String);

impl TryFrom<String> for Gpp {
    type Error = EvidenceError;

    fn try_from(text: String) -> Result<Self, EvidenceError> {
        Self::new(text)
    }
}

impl Gpp {
    /// Accepts 1 to 4,096 visible ASCII characters. The limit is our choice.
    ///
    /// # Errors
    /// If the text is anything else.
    pub fn new(text: impl Into<String>) -> Result<Self, EvidenceError> {
        let text = text.into();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > MAX_GPP || !visible {
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

/// Invalid evidence.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Not a string of the IAB Global Privacy Platform.
    #[error("invalid GPP string: use 1 to {MAX_GPP} visible ASCII characters")]
    Gpp,
    /// Not a language tag.
    #[error("invalid notice language: use a tag such as de or de-CH")]
    Language,
    /// Not a reference of the controller.
    #[error("invalid reference: use 1 to 64 of A-Z a-z 0-9 . _ : -")]
    Reference,
    /// Not a version of a notice.
    #[error("invalid notice version: use 1 to 64 printable ASCII characters")]
    Version,
}

/// Maximum characters of a GPP string.
const MAX_GPP: usize = 4096;

/// A choice about one subject and its evidence, which for [`Choice::Unknown`] is the time of asking.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PurposeChoice {
    /// The choice.
    pub choice: Choice,
    /// Its evidence.
    pub evidence: Evidence,
}

/// A guest's choices, one for each purpose and for categories of sensitive data, each with its evidence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Consent {
    choices: [PurposeChoice; 3],
    sensitive: BTreeMap<Category, PurposeChoice>,
}

impl Consent {
    /// Choices that were made together, in the order of [`Purpose::ALL`], and none about sensitive data.
    #[must_use]
    pub fn together(choices: [Choice; 3], evidence: Evidence) -> Self {
        let choices = choices.map(|choice| PurposeChoice {
            choice,
            evidence: evidence.clone(),
        });
        Self {
            choices,
            sensitive: BTreeMap::new(),
        }
    }

    /// Replaces the choice about one purpose.
    #[must_use]
    pub fn with(mut self, purpose: Purpose, choice: Choice, evidence: Evidence) -> Self {
        self.choices[purpose as usize] = PurposeChoice { choice, evidence };
        self
    }

    /// Replaces the choice about one category of sensitive data.
    #[must_use]
    pub fn with_sensitive(mut self, category: Category, choice: Choice, evidence: Evidence) -> Self {
        self.sensitive
            .insert(category, PurposeChoice { choice, evidence });
        self
    }

    /// The choice about one purpose, and its evidence.
    #[must_use]
    pub fn purpose(&self, purpose: Purpose) -> &PurposeChoice {
        &self.choices[purpose as usize]
    }

    /// The choice about one purpose.
    #[must_use]
    pub fn choice(&self, purpose: Purpose) -> Choice {
        self.purpose(purpose).choice
    }

    /// The choices about categories of sensitive data.
    pub fn sensitive(&self) -> impl Iterator<Item = (Category, &PurposeChoice)> {
        self.sensitive
            .iter()
            .map(|(category, choice)| (*category, choice))
    }

    /// The choice about one category of sensitive data, and its evidence, if one was asked for.
    #[must_use]
    pub fn category(&self, category: Category) -> Option<&PurposeChoice> {
        self.sensitive.get(&category)
    }

    /// The choice about a subject, if one was asked for.
    pub(crate) fn about(&self, subject: Subject) -> Option<&PurposeChoice> {
        match subject {
            Subject::Purpose(purpose) => Some(self.purpose(purpose)),
            Subject::Sensitive(category) => self.category(category),
            Subject::Functional => None,
        }
    }

    /// The same choices as a change of earlier ones, with the evidence of the latest. [`Choice::Unknown`] changes nothing.
    #[must_use]
    pub fn to_change(&self) -> ConsentChange {
        let latest = self.every().max_by_key(|choice| choice.evidence.chosen_at);
        let made = |choice: Choice| Some(choice).filter(|choice| *choice != Choice::Unknown);
        ConsentChange {
            choices: self.choices.each_ref().map(|choice| made(choice.choice)),
            sensitive: self
                .sensitive()
                .filter_map(|(category, choice)| Some((category, made(choice.choice)?)))
                .collect(),
            is_full_withdrawal: false,
            places: Jurisdictions::default(),
            age: Age::UNKNOWN,
            evidence: latest.unwrap_or(&self.choices[0]).evidence.clone(),
        }
    }

    /// Time of the latest choice, or of the latest asking.
    #[must_use]
    pub fn latest(&self) -> OffsetDateTime {
        let first = self.choices[0].evidence.chosen_at;
        self.every()
            .map(|choice| choice.evidence.chosen_at)
            .fold(first, OffsetDateTime::max)
    }

    fn every(&self) -> impl Iterator<Item = &PurposeChoice> {
        self.choices.iter().chain(self.sensitive.values())
    }
}

/// A change of earlier choices. A purpose or a category that is not named stays unchanged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsentChange {
    choices: [Option<Choice>; 3],
    sensitive: BTreeMap<Category, Choice>,
    is_full_withdrawal: bool,
    age: Age,
    places: Jurisdictions,
    evidence: Evidence,
}

impl ConsentChange {
    /// An empty change.
    #[must_use]
    pub fn new(evidence: Evidence) -> Self {
        Self {
            choices: [None; 3],
            sensitive: BTreeMap::new(),
            is_full_withdrawal: false,
            age: Age::UNKNOWN,
            places: Jurisdictions::default(),
            evidence,
        }
    }

    /// Grants `purpose`.
    #[must_use]
    pub fn granting(mut self, purpose: Purpose) -> Self {
        self.choices[purpose as usize] = Some(Choice::Granted);
        self
    }

    /// Refuses `purpose`, or withdraws an agreement to it.
    #[must_use]
    pub fn withdrawing(mut self, purpose: Purpose) -> Self {
        self.choices[purpose as usize] = Some(Choice::Denied);
        self
    }

    /// Agrees to the use of sensitive data of this category, or refuses it.
    #[must_use]
    pub fn with_sensitive(mut self, category: Category, is_granted: bool) -> Self {
        let choice = if is_granted {
            Choice::Granted
        } else {
            Choice::Denied
        };
        self.sensitive.insert(category, choice);
        self
    }

    /// Withdraws every agreement: of each purpose, and of each category of sensitive data that the record has.
    #[must_use]
    pub fn withdrawing_all(mut self) -> Self {
        self.is_full_withdrawal = true;
        self
    }

    /// Records this age, if it is lower than the recorded one or that is unknown. An unknown age changes nothing.
    #[must_use]
    pub fn with_age(self, age: Age) -> Self {
        Self { age, ..self }
    }

    /// Adds places of the guest to the recorded ones. The rules of all apply.
    #[must_use]
    pub fn with_places(self, places: Jurisdictions) -> Self {
        Self { places, ..self }
    }

    /// Whether every agreement is withdrawn.
    #[must_use]
    pub fn is_full_withdrawal(&self) -> bool {
        self.is_full_withdrawal
    }

    /// The new choice about one purpose, if it changes: granted or denied, never unknown.
    #[must_use]
    pub fn choice(&self, purpose: Purpose) -> Option<Choice> {
        match self.is_full_withdrawal {
            true => Some(Choice::Denied),
            false => self.choices[purpose as usize],
        }
    }

    /// The named categories of sensitive data with their new choices.
    pub fn sensitive(&self) -> impl Iterator<Item = (Category, Choice)> {
        self.sensitive
            .iter()
            .map(|(category, choice)| (*category, *choice))
    }

    /// The new choice about one category, if it changes.
    pub(crate) fn category(&self, category: Category) -> Option<Choice> {
        match self.is_full_withdrawal {
            true => Some(Choice::Denied),
            false => self.sensitive.get(&category).copied(),
        }
    }

    /// The age that the change records, if it is the lowest.
    #[must_use]
    pub fn age(&self) -> Age {
        self.age
    }

    /// The places that the change adds.
    pub(crate) fn places(&self) -> &Jurisdictions {
        &self.places
    }

    /// Whether a choice is a refusal.
    pub(crate) fn withdraws(&self) -> bool {
        let refused = |choice| choice == Choice::Denied;
        self.is_full_withdrawal
            || self.choices.iter().flatten().copied().any(refused)
            || self.sensitive.values().copied().any(refused)
    }

    /// The evidence of the change.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}

/// Opt-out signals of the guest's browser.
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
    fn evidence_has_milliseconds_in_utc() {
        let when = genesys_api::parse_rfc3339("2026-11-22T13:30:00.123456+01:00").unwrap();
        let evidence = Evidence::at(when);
        assert_eq!(
            genesys_api::rfc3339(evidence.chosen_at),
            "2026-11-22T12:30:00.123Z"
        );
        assert_eq!(
            genesys_api::parse_rfc3339("2026-11-22T12:30:00.123Z"),
            Some(evidence.chosen_at)
        );
    }

    #[test]
    fn invalid_evidence_is_refused() {
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
    fn change_names_only_changed_purposes() {
        let change = ConsentChange::new(Evidence::at(OffsetDateTime::UNIX_EPOCH))
            .granting(Purpose::Analytics)
            .withdrawing(Purpose::Marketing);
        assert_eq!(change.choice(Purpose::Analytics), Some(Choice::Granted));
        assert_eq!(change.choice(Purpose::Marketing), Some(Choice::Denied));
        assert_eq!(change.choice(Purpose::Personalization), None);
    }
}
