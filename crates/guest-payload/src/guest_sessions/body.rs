//! The bodies that a client sends, as the gateway reads them.

use genesys_api::{IdError, parse_rfc3339};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::object::{Object, join, text, wrong_type};
use crate::{
    Age, AgeError, AttributeError, Attributes, Choice, Consent, ConsentChange, Evidence, EvidenceError, Gpp,
    JurisdictionError, Jurisdictions, NewGuest, Notice, Purpose, Signals,
};

/// How far a client's clock may run ahead of ours when it says when a guest chose. Our choice.
const SKEW: time::Duration = time::Duration::minutes(5);

/// Parses the body of `POST /api/v2/webmessaging/guest-sessions`.
///
/// Unknown and repeated fields are refused, and so is anything of the wrong type. A choice that is `null` or missing
/// is [`Choice::Unknown`]. Without `guestAttributes.region` there is no place, and without `consentTimestamp` the
/// guest chose when the body was `received`. The attributes include `region` as it was sent.
///
/// # Errors
/// If the body is not the contract's, or dates a choice more than five minutes after `received`. The error names the
/// field, and repeats no value but a wrong region or age.
pub fn parse_new_guest(
    bytes: &[u8],
    signals: Signals,
    received: OffsetDateTime,
) -> Result<NewGuest, BodyError> {
    let mut body = Object::body(bytes)?;
    let channel = id(CHANNEL, body.require(CHANNEL)?)?;
    let guest = body.take(GUEST).map(|raw| id(GUEST, raw)).transpose()?;
    let (jurisdictions, attributes) = attributes(body.require(ATTRIBUTES)?)?;
    let mut consent = Object::read(CONSENT, body.require(CONSENT)?)?;
    body.finish("channelConfigurationId, guestId, guestAttributes, consent")?;
    let mut choices = [Choice::Unknown; 3];
    for (choice, path) in choices.iter_mut().zip(IN_CONSENT) {
        if let Some(raw) = consent.take(path) {
            *choice = match raw.get() {
                "null" => Choice::Unknown,
                _ => yes_or_no(path, raw, "true, false or null")?,
            };
        }
    }
    let age = match consent.take(AGE) {
        Some(raw) => text(AGE, raw)?
            .parse()
            .map_err(|error| BodyError::Age { field: AGE, error })?,
        None => Age::UNKNOWN,
    };
    let evidence = evidence(&mut consent, &IN_CREATION, received)?;
    consent
        .finish("marketing, personalization, analytics, consentTimestamp, age, how, actor, notice, gpp")?;
    Ok(NewGuest {
        channel,
        guest,
        jurisdictions,
        age,
        consent: Consent::together(choices, evidence),
        signals,
        attributes,
    })
}

/// Parses the body of `PATCH /api/v2/webmessaging/guest-sessions/{id}/consent`, which names at least one purpose.
/// Without `consentTimestamp` the guest chose when the body was `received`.
///
/// # Errors
/// If the body is not the contract's, or dates the change more than five minutes after `received`. The error names
/// the field, and repeats no value.
pub fn parse_consent_change(bytes: &[u8], received: OffsetDateTime) -> Result<ConsentChange, BodyError> {
    let mut body = Object::body(bytes)?;
    let mut choices = [None; 3];
    for (choice, purpose) in choices.iter_mut().zip(Purpose::ALL) {
        if let Some(raw) = body.take(purpose.as_str()) {
            *choice = Some(yes_or_no(purpose.as_str(), raw, "true or false")?);
        }
    }
    let mut change = ConsentChange::new(evidence(&mut body, &IN_CHANGE, received)?);
    body.finish("marketing, personalization, analytics, consentTimestamp, how, actor, notice, gpp")?;
    if choices == [None; 3] {
        return Err(BodyError::Nothing);
    }
    for (purpose, choice) in Purpose::ALL.into_iter().zip(choices) {
        change = match choice {
            Some(Choice::Granted) => change.granting(purpose),
            Some(Choice::Denied) => change.withdrawing(purpose),
            Some(Choice::Unknown) | None => change,
        };
    }
    Ok(change)
}

/// A body is not the contract's.
///
/// Its message is fit to be shown: it names the field, and repeats of what was sent only names of fields, cut short,
/// and a wrong region or age.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The age is none.
    #[error("{field}: {error}")]
    Age {
        /// Which field.
        field: &'static str,
        /// Why.
        error: AgeError,
    },
    /// An attribute cannot be taken.
    #[error("guestAttributes: {error}")]
    Attribute {
        /// Why.
        error: AttributeError,
    },
    /// A field stands twice in its object.
    #[error("the field {field:?} stands twice: send it once")]
    Duplicate {
        /// Which, with its path.
        field: String,
    },
    /// A piece of evidence is none.
    #[error("{field}: {error}")]
    Evidence {
        /// Which field.
        field: &'static str,
        /// Why.
        error: EvidenceError,
    },
    /// The guest would have chosen in the future.
    #[error("{field} lies {seconds} s in the future: check the clock of the machine that sent it")]
    Future {
        /// Which field.
        field: &'static str,
        /// How far ahead it is.
        seconds: i64,
    },
    /// An identifier cannot be one.
    #[error("{field}: {error}")]
    Id {
        /// Which field.
        field: &'static str,
        /// Why.
        error: IdError,
    },
    /// The region is none.
    #[error("guestAttributes.region: {error}")]
    Jurisdiction {
        /// Why.
        error: JurisdictionError,
    },
    /// A field is missing.
    #[error("the field {field:?} is missing")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A change of consent names no purpose.
    #[error("the body changes nothing: give marketing, personalization or analytics, each true or false")]
    Nothing,
    /// The body is not JSON.
    #[error("the body is not JSON from line {line}, column {column} on")]
    Syntax {
        /// Line of the first error, from 1.
        line: usize,
        /// Column of the first error.
        column: usize,
    },
    /// A time cannot be read.
    #[error("{field} is no time: give RFC 3339 with its offset, from 1970 on, as in 2026-11-22T12:30:00Z")]
    Time {
        /// Which field.
        field: &'static str,
    },
    /// A field that the contract does not have.
    #[error("the field {field:?} is unknown: there are {known}")]
    Unknown {
        /// Which, with its path.
        field: String,
        /// The fields that there are beside it.
        known: &'static str,
    },
    /// A field of the wrong type.
    #[error("{field} must be {expected}, and is {found}")]
    WrongType {
        /// Which.
        field: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
}

const CHANNEL: &str = "channelConfigurationId";
const GUEST: &str = "guestId";
const ATTRIBUTES: &str = "guestAttributes";
const REGION: &str = "region";
const CONSENT: &str = "consent";
/// In the order of [`Purpose::ALL`].
const IN_CONSENT: [&str; 3] = [
    "consent.marketing",
    "consent.personalization",
    "consent.analytics",
];
const AGE: &str = "consent.age";
const CONSENT_TIME: &str = "consent.consentTimestamp";
const CHANGE_TIME: &str = "consentTimestamp";

fn attributes(raw: &RawValue) -> Result<(Jurisdictions, Attributes), BodyError> {
    let mut jurisdictions = Jurisdictions::default();
    let mut attributes = Attributes::new();
    for (key, raw) in Object::read(ATTRIBUTES, raw)?.into_fields() {
        let value = text(&join(ATTRIBUTES, &key), raw)?;
        if key == REGION {
            jurisdictions = value.parse().map_err(|error| BodyError::Jurisdiction { error })?;
        }
        attributes
            .insert(key, value)
            .map_err(|error| BodyError::Attribute { error })?;
    }
    Ok((jurisdictions, attributes))
}

fn id<T: TryFrom<String, Error = IdError>>(field: &'static str, raw: &RawValue) -> Result<T, BodyError> {
    T::try_from(text(field, raw)?).map_err(|error| BodyError::Id { field, error })
}

fn yes_or_no(field: &str, raw: &RawValue, expected: &'static str) -> Result<Choice, BodyError> {
    match raw.get() {
        "true" => Ok(Choice::Granted),
        "false" => Ok(Choice::Denied),
        _ => Err(wrong_type(field, expected, raw)),
    }
}

fn time(field: &'static str, raw: Option<&RawValue>) -> Result<Option<OffsetDateTime>, BodyError> {
    let Some(raw) = raw else {
        return Ok(None);
    };
    parse_rfc3339(&text(field, raw)?)
        .filter(|when| *when >= OffsetDateTime::UNIX_EPOCH)
        .map(Some)
        .ok_or(BodyError::Time { field })
}

/// Where evidence stands in a body.
struct Paths {
    when: &'static str,
    how: &'static str,
    actor: &'static str,
    notice: &'static str,
    version: &'static str,
    language: &'static str,
    gpp: &'static str,
}

const IN_CREATION: Paths = Paths {
    when: CONSENT_TIME,
    how: "consent.how",
    actor: "consent.actor",
    notice: "consent.notice",
    version: "consent.notice.version",
    language: "consent.notice.language",
    gpp: "consent.gpp",
};
const IN_CHANGE: Paths = Paths {
    when: CHANGE_TIME,
    how: "how",
    actor: "actor",
    notice: "notice",
    version: "notice.version",
    language: "notice.language",
    gpp: "gpp",
};

fn evidence(object: &mut Object<'_>, paths: &Paths, received: OffsetDateTime) -> Result<Evidence, BodyError> {
    let wrong = |field| move |error| BodyError::Evidence { field, error };
    let mut notice = None;
    if let Some(raw) = object.take(paths.notice) {
        let mut object = Object::read(paths.notice, raw)?;
        let version = text(paths.version, object.require(paths.version)?)?;
        let language = text(paths.language, object.require(paths.language)?)?;
        object.finish("version, language")?;
        notice = Some(Notice::new(version, language).map_err(wrong(paths.notice))?);
    }
    let gpp = match object.take(paths.gpp) {
        Some(raw) => Some(Gpp::new(text(paths.gpp, raw)?).map_err(wrong(paths.gpp))?),
        None => None,
    };
    let when = time(paths.when, object.take(paths.when))?.unwrap_or(received);
    let ahead = when - received;
    if ahead > SKEW {
        return Err(BodyError::Future {
            field: paths.when,
            seconds: ahead.whole_seconds(),
        });
    }
    let how = word(
        paths.how,
        object.take(paths.how),
        "banner, chat, form, phone or unstated",
    )?;
    let actor = word(paths.actor, object.take(paths.actor), "guest, guardian or agent")?;
    let mut evidence = Evidence::at(when).how(how).by(actor);
    evidence.notice = notice;
    evidence.gpp = gpp;
    Ok(evidence)
}

/// One of a few words, or the usual one where nothing is said.
fn word<T: Default + DeserializeOwned>(
    field: &str,
    raw: Option<&RawValue>,
    expected: &'static str,
) -> Result<T, BodyError> {
    match raw {
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| wrong_type(field, expected, raw)),
        None => Ok(T::default()),
    }
}

#[cfg(test)]
mod tests {
    use genesys_api::rfc3339;
    use proptest::prelude::*;

    use super::*;
    use crate::{Actor, How};

    /// As the tutorial's `SessionPayloadBuilder` and httpx write it.
    const TUTORIAL: &str = r#"{"channelConfigurationId":"your_web_messaging_channel_config_id","guestId":"7d1f0c0e-95ad-4c0e-8d15-0f8b3f4a2a11","guestAttributes":{"source":"web","region":"EU","timestamp":"2026-11-22T12:30:00.123456+00:00"},"consent":{"marketing":true,"personalization":true,"analytics":true,"consentTimestamp":"2026-11-22T12:30:00.123467+00:00"}}"#;

    fn received() -> OffsetDateTime {
        parse_rfc3339("2026-11-22T12:30:01Z").unwrap()
    }

    fn parse(body: impl AsRef<[u8]>) -> Result<NewGuest, BodyError> {
        parse_new_guest(body.as_ref(), Signals::default(), received())
    }

    fn with_consent(consent: &str) -> String {
        format!(r#"{{"channelConfigurationId":"c","guestAttributes":{{}},"consent":{consent}}}"#)
    }

    fn with_attributes(attributes: &str) -> String {
        format!(r#"{{"channelConfigurationId":"c","guestAttributes":{attributes},"consent":{{}}}}"#)
    }

    #[test]
    fn the_tutorials_body_is_read_as_it_is() {
        let body = parse(TUTORIAL).unwrap();
        assert_eq!(body.channel.as_str(), "your_web_messaging_channel_config_id");
        assert!(body.guest.is_some());
        assert_eq!(body.jurisdictions.to_string(), "EU");
        assert_eq!(body.attributes.iter().count(), 3);
        let consent = body.consent;
        assert_eq!(
            Purpose::ALL.map(|purpose| consent.choice(purpose)),
            [Choice::Granted; 3]
        );
        assert_eq!(rfc3339(consent.latest()), "2026-11-22T12:30:00.123Z");
    }

    #[test]
    fn what_is_null_or_missing_was_not_chosen() {
        for consent in [
            r#"{"marketing":null,"personalization":null,"analytics":null}"#,
            "{}",
        ] {
            let body = parse(with_consent(consent)).unwrap();
            let consent = &body.consent;
            assert_eq!(
                Purpose::ALL.map(|purpose| consent.choice(purpose)),
                [Choice::Unknown; 3]
            );
            assert_eq!(consent.latest(), received());
            assert!(body.jurisdictions.is_empty() && body.guest.is_none());
        }
    }

    #[test]
    fn a_wrong_body_names_the_field_and_repeats_no_value() {
        let message = |body: &str| parse(body).unwrap_err().to_string();
        for (body, expected) in [
            ("", "the body is not JSON from line 1, column 0 on"),
            ("{", "the body is not JSON from line 1, column 1 on"),
            ("{} {}", "the body is not JSON from line 1, column 4 on"),
            ("[]", "the body must be an object, and is a list"),
            ("null", "the body must be an object, and is null"),
            ("{}", "the field \"channelConfigurationId\" is missing"),
            (
                r#"{"channelConfigurationId":7}"#,
                "channelConfigurationId must be text, and is a number",
            ),
            (
                r#"{"channelConfigurationId":"\ud800"}"#,
                "channelConfigurationId must be text, and is broken",
            ),
            (
                r#"{"channelConfigurationId":""}"#,
                "channelConfigurationId: the channel configuration id is empty: leave it out to have one made, or \
                 give 1 to 128 characters",
            ),
            (
                r#"{"channelConfigurationId":"c","guestId":null}"#,
                "guestId must be text, and is null",
            ),
            (
                r#"{"channelConfigurationId":"c","guestId":"a b"}"#,
                "guestId: the guest id has a character at byte 1 that is none of A-Z a-z 0-9 . _ : -",
            ),
            (
                r#"{"channelConfigurationId":"c"}"#,
                "the field \"guestAttributes\" is missing",
            ),
            (
                r#"{"channelConfigurationId":"c","guestAttributes":{}}"#,
                "the field \"consent\" is missing",
            ),
            (
                r#"{"channelConfigurationId":"c","guestAttributes":{},"consent":{},"x\u0007y":"hunter2"}"#,
                "the field \"xy\" is unknown: there are channelConfigurationId, guestId, guestAttributes, consent",
            ),
            (
                r#"{"channelConfigurationId":"c","channelConfigurationId":"d"}"#,
                "the field \"channelConfigurationId\" stands twice: send it once",
            ),
            (
                &with_attributes("[]"),
                "guestAttributes must be an object, and is a list",
            ),
            (
                &with_attributes(r#"{"age":42}"#),
                "guestAttributes.age must be text, and is a number",
            ),
            (
                &with_attributes(r#"{"a":"1","a":"2"}"#),
                "the field \"guestAttributes.a\" stands twice: send it once",
            ),
            (
                &with_attributes(r#"{"region":"california"}"#),
                "guestAttributes.region: \"california\" names no jurisdiction: write US-CA for California",
            ),
            (
                &with_attributes(r#"{"":"x"}"#),
                "guestAttributes: the key of an attribute is empty: give 1 to 64 characters",
            ),
            (
                &with_consent(r#"{"marketing":"hunter2"}"#),
                "consent.marketing must be true, false or null, and is text",
            ),
            (
                &with_consent(r#"{"marketing":1}"#),
                "consent.marketing must be true, false or null, and is a number",
            ),
            (
                &with_consent(r#"{"advertising":true}"#),
                "the field \"consent.advertising\" is unknown: there are marketing, personalization, analytics, \
                 consentTimestamp, age, how, actor, notice, gpp",
            ),
            (
                &with_consent(r#"{"consentTimestamp":"hunter2"}"#),
                "consent.consentTimestamp is no time: give RFC 3339 with its offset, from 1970 on, as in \
                 2026-11-22T12:30:00Z",
            ),
            (
                &with_consent(r#"{"marketing":false,"marketing":true}"#),
                "the field \"consent.marketing\" stands twice: send it once",
            ),
        ] {
            assert_eq!(message(body), expected, "{body}");
            assert!(!message(body).contains("hunter2"));
        }
    }

    #[test]
    fn a_choice_is_not_made_in_the_future() {
        let consent = |time: &str| {
            let body = with_consent(&format!(r#"{{"consentTimestamp":"{time}"}}"#));
            parse(body)
        };
        assert!(consent("2026-11-22T12:35:01Z").is_ok(), "clocks differ");
        assert_eq!(
            consent("2026-11-22T12:35:03Z").map(|_| ()),
            Err(BodyError::Future {
                field: "consent.consentTimestamp",
                seconds: 302
            })
        );
        for time in [
            "1969-12-31T23:59:59Z",
            "2026-11-22T12:35:01",
            "2026-11-22",
            "now",
            "",
        ] {
            let body = with_consent(&format!(r#"{{"consentTimestamp":"{time}"}}"#));
            assert!(matches!(parse(body), Err(BodyError::Time { .. })));
        }
    }

    #[test]
    fn a_change_names_at_least_one_purpose() {
        let parse = |body: &str| parse_consent_change(body.as_bytes(), received());
        let change = parse(r#"{"marketing":false,"consentTimestamp":"2026-11-22T12:30:00Z"}"#).unwrap();
        assert_eq!(change.choice(Purpose::Marketing), Some(Choice::Denied));
        assert_eq!(change.choice(Purpose::Analytics), None);
        assert_eq!(parse("{}"), Err(BodyError::Nothing));
        assert_eq!(
            parse(r#"{"consentTimestamp":"2026-11-22T12:30:00Z"}"#),
            Err(BodyError::Nothing)
        );
        for (body, expected) in [
            (
                r#"{"marketing":null}"#,
                "marketing must be true or false, and is null",
            ),
            (
                r#"{"consent":{}}"#,
                "the field \"consent\" is unknown: there are marketing, personalization, analytics, consentTimestamp, \
                 how, actor, notice, gpp",
            ),
        ] {
            assert_eq!(parse(body).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn evidence_and_age_are_read_or_named() {
        let body = with_consent(
            r#"{"marketing":true,"age":"13-15","how":"banner","actor":"guardian","notice":{"version":"7","language":"de"},"gpp":"DBABMA~x"}"#,
        );
        let body = parse(body).unwrap();
        assert_eq!(body.age, Age::at_least(13));
        let evidence = &body.consent.given(Purpose::Marketing).evidence;
        assert_eq!((evidence.how, evidence.actor), (How::Banner, Actor::Guardian));
        assert_eq!(evidence.notice, Notice::new("7", "de").ok());
        assert_eq!(evidence.gpp.as_ref().map(Gpp::as_str), Some("DBABMA~x"));
        for (consent, expected) in [
            (
                r#"{"age":"old"}"#,
                "consent.age: \"old\" is no age: write years, as in 16, 13-15, 18+ or \"under 13\", or unknown",
            ),
            (
                r#"{"how":"hunter2"}"#,
                "consent.how must be banner, chat, form, phone or unstated, and is text",
            ),
            (
                r#"{"notice":{"version":"7"}}"#,
                "the field \"consent.notice.language\" is missing",
            ),
            (
                r#"{"notice":{"version":"7","language":"hunter2 "}}"#,
                "consent.notice: the notice's language is none: give a tag such as de or de-CH",
            ),
            (
                r#"{"gpp":""}"#,
                "consent.gpp: the GPP string must be 1 to 4096 visible ASCII characters",
            ),
        ] {
            let error = parse(with_consent(consent)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn deep_nesting_is_harmless() {
        let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        assert!(parse(&deep).is_err());
        assert!(parse(with_attributes(&format!(r#"{{"a":{deep}}}"#))).is_err());
    }

    #[test]
    fn ten_thousand_bad_bodies_are_refused() {
        let mut refused = std::collections::BTreeSet::new();
        for at in 0..TUTORIAL.len() {
            for other in [
                "\0", "\"", "[", "]", "{", "}", ",", ":", "\\", "é", "\n", "1e999", "\u{1}", "\u{b}",
                "\u{c}", "\u{1f}", "\t", "null",
            ] {
                let cut = if TUTORIAL.as_bytes()[at] < 0x80 {
                    at + 1
                } else {
                    at
                };
                for rest in [&TUTORIAL[at..], &TUTORIAL[cut..]] {
                    let body = format!("{}{other}{rest}", &TUTORIAL[..at]);
                    if let Err(error) = parse(&body) {
                        assert!(!error.to_string().is_empty());
                        refused.insert(body);
                    }
                }
            }
        }
        assert!(refused.len() >= 10_000, "{}", refused.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_mutilated_body_never_panics(at in 0..TUTORIAL.len(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = TUTORIAL.as_bytes().to_vec();
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] = byte;
            }
            if let Err(error) = parse(&bytes) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
