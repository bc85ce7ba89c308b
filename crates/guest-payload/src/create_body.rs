//! The create-session body of the `guest-sessions` contract, as it is built and as it is parsed.
//!
//! The contract is this project's own: Genesys Cloud does not offer it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use genesys_api::strict_json::{BodyError, Field, Object};
use genesys_api::{ChannelId, GuestId, parse_rfc3339};
use http::{HeaderMap, HeaderName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::attributes::MAX_VALUE_LENGTH;
use crate::consent::is_default;
use crate::purpose::ByPurpose;
use crate::{
    Actor, Age, AttributeError, Attributes, Category, Choice, Consent, ConsentRecord, Evidence,
    EvidenceError, Gpp, GuardianEvidence, Jurisdictions, NewGuest, NewSession, Notice, Purpose,
    PurposeRecord, Reference, Signals,
};

/// Tolerance for the clock of a client that dates a choice. Our choice.
const SKEW: time::Duration = time::Duration::minutes(5);

const REGION: &str = "region";

impl NewGuest {
    /// Parses the body of `POST /api/v2/webmessaging/guest-sessions`.
    ///
    /// Unknown and repeated fields and values of the wrong type are refused. A choice that is `null` or missing is
    /// [`Choice::Unknown`]. Without `guestAttributes.region` the jurisdictions are empty. Without `consentTimestamp`
    /// the guest chose when the body was `received`. The attributes include `region` as it was sent. `consent.gpc` adds to
    /// the `signals` of the request's headers.
    ///
    /// # Errors
    /// If the body does not match the contract, or dates a choice more than five minutes after `received`. The error
    /// names the field, and repeats no value but an invalid region or age.
    pub fn parse(bytes: &[u8], signals: Signals, received: OffsetDateTime) -> Result<Self, BodyError> {
        let mut body = Object::parse(bytes)?;
        let channel = body.required("channelConfigurationId")?.parse()?;
        let guest = body.optional("guestId").map(|field| field.parse()).transpose()?;
        let (attributes, consent) = (body.required("guestAttributes")?, body.required("consent")?);
        body.finish()?;
        let parsed = Self::from_fields(channel, Some(&attributes), &consent, signals, received)?;
        Ok(Self { guest, ..parsed })
    }

    /// Parses the fields `guestAttributes` and `consent` of a body, by the rules of [`Self::parse`]. The guest has no id.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_fields(
        channel: ChannelId,
        attributes: Option<&Field<'_>>,
        consent: &Field<'_>,
        signals: Signals,
        received: OffsetDateTime,
    ) -> Result<Self, BodyError> {
        let (jurisdictions, attributes) = attributes.map(parse_attributes).transpose()?.unwrap_or_default();
        let mut consent = consent.object()?;
        let mut choices = [Choice::Unknown; 3];
        for (choice, purpose) in choices.iter_mut().zip(Purpose::ALL) {
            if let Some(field) = consent.optional(purpose.as_str())
                && !field.is_null()
            {
                *choice = match field.boolean() {
                    Ok(true) => Choice::Granted,
                    Ok(false) => Choice::Denied,
                    Err(_) => return Err(field.wrong_type("true, false or null")),
                };
            }
        }
        let sensitive = sensitive_choices(&mut consent)?;
        let age = consent.optional("age").map(|field| field.parse()).transpose()?;
        let signals = signals.or_in_body(&mut consent)?;
        let evidence = Evidence::parse(&mut consent, received)?;
        consent.finish()?;
        Ok(Self {
            channel,
            guest: None,
            jurisdictions,
            age: age.unwrap_or(Age::UNKNOWN),
            consent: sensitive.into_iter().fold(
                Consent::together(choices, evidence.clone()),
                |consent, (category, choice)| consent.with_sensitive(category, choice, evidence.clone()),
            ),
            signals,
            attributes,
        })
    }
}

/// Takes `sensitive` from a consent object of the `guest-sessions` contract: true or false for categories of sensitive data.
///
/// # Errors
/// If a name is unknown, or a value is neither true nor false.
pub fn sensitive_choices(consent: &mut Object<'_>) -> Result<Vec<(Category, Choice)>, BodyError> {
    let Some(field) = consent.optional("sensitive") else {
        return Ok(Vec::new());
    };
    let mut choices = Vec::new();
    let mut object = field.object()?;
    for category in Category::ALL {
        if let Some(field) = object.optional(category.as_str()) {
            let choice = if field.boolean()? {
                Choice::Granted
            } else {
                Choice::Denied
            };
            choices.push((category, choice));
        }
    }
    object.finish()?;
    Ok(choices)
}

fn parse_attributes(field: &Field<'_>) -> Result<(Jurisdictions, Attributes), BodyError> {
    let mut jurisdictions = Jurisdictions::default();
    let mut attributes = Attributes::default();
    for attribute in field.object()?.into_fields() {
        let value = attribute.text()?;
        if attribute.name() == REGION {
            jurisdictions = attribute.parse()?;
        }
        attributes
            .insert(attribute.name(), &*value)
            .map_err(|error| match error {
                AttributeError::LongValue { length, .. } => attribute.invalid(format_args!(
                    "{length} characters, at most {} are allowed",
                    MAX_VALUE_LENGTH
                )),
                _ => field.rejected(error),
            })?;
    }
    Ok((jurisdictions, attributes))
}

impl Evidence {
    /// Takes the fields of evidence from a consent object of the `guest-sessions` contract: `consentTimestamp`, `how`,
    /// `actor`, `notice`, `gpp` and `guardian`, which implies the actor. Without `consentTimestamp` the guest chose when the body was `received`.
    ///
    /// # Errors
    /// If a field does not match the contract, or the time is more than five minutes after `received`.
    pub fn parse(consent: &mut Object<'_>, received: OffsetDateTime) -> Result<Self, BodyError> {
        let when = match consent.optional("consentTimestamp") {
            Some(field) => past_time(&field, received)?,
            None => received,
        };
        let mut evidence = Self::at(when);
        evidence.method = one_of(consent.optional("how"), "banner, chat, form, phone or unstated")?;
        evidence.actor = one_of(consent.optional("actor"), "guest, guardian or agent")?;
        if let Some(field) = consent.optional("notice") {
            let mut notice = field.object()?;
            let (version, language) = (notice.required("version")?, notice.required("language")?);
            notice.finish()?;
            let notice = Notice::new(&*version.text()?, &*language.text()?);
            evidence.notice = Some(notice.map_err(|error| match error {
                EvidenceError::Version => version.rejected(error),
                EvidenceError::Language => language.rejected(error),
                EvidenceError::Gpp | EvidenceError::Reference => field.rejected(error),
            })?);
        }
        if let Some(field) = consent.optional("gpp") {
            let gpp = Gpp::new(&*field.text()?).map_err(|error| field.rejected(error))?;
            evidence.gpp = Some(gpp);
        }
        if let Some(field) = consent.optional("guardian") {
            evidence.guardian = Some(guardian(&field, received)?);
            evidence.actor = Actor::Guardian;
        }
        Ok(evidence)
    }
}

fn guardian(field: &Field<'_>, received: OffsetDateTime) -> Result<GuardianEvidence, BodyError> {
    let mut fields = field.object()?;
    let relationship = named(&fields.required("relationship")?, "parent or guardian")?;
    let methods = "email-confirmation, identity-document, payment-card, phone-call, signed-form, text-message or video-call";
    let verification = named(&fields.required("verification")?, methods)?;
    let verified_at = past_time(&fields.required("verifiedAt")?, received)?;
    let reference = fields.optional("reference");
    fields.finish()?;
    let mut evidence = GuardianEvidence::new(relationship, verification, verified_at);
    if let Some(field) = reference {
        let reference = Reference::new(&*field.text()?).map_err(|error| field.rejected(error))?;
        evidence.reference = Some(reference);
    }
    Ok(evidence)
}

/// A time that is not after `received`.
fn past_time(field: &Field<'_>, received: OffsetDateTime) -> Result<OffsetDateTime, BodyError> {
    let when = parse_rfc3339(&field.text()?)
        .filter(|when| *when >= OffsetDateTime::UNIX_EPOCH)
        .ok_or_else(|| {
            field.invalid("give RFC 3339 with its offset, from 1970 on, as in 2026-11-22T12:30:00Z")
        })?;
    let ahead = when - received;
    if ahead > SKEW {
        let seconds = ahead.whole_seconds();
        return Err(field.invalid(format_args!(
            "{seconds} s in the future: check the clock of the machine that sent it"
        )));
    }
    Ok(when)
}

/// One of a few names, or the default.
fn one_of<T: Default + DeserializeOwned>(
    field: Option<Field<'_>>,
    names: &'static str,
) -> Result<T, BodyError> {
    field.map_or_else(|| Ok(T::default()), |field| named(&field, names))
}

/// One of a few names.
fn named<T: DeserializeOwned>(field: &Field<'_>, names: &'static str) -> Result<T, BodyError> {
    let name = field.text()?;
    serde_json::from_value(serde_json::Value::from(&*name))
        .map_err(|_| field.invalid(format_args!("it must be {names}")))
}

impl Signals {
    /// Name of the header of Global Privacy Control.
    pub const HEADER: HeaderName = HeaderName::from_static("sec-gpc");

    /// Reads the headers of a guest's request. Only `Sec-GPC: 1` is a signal.
    ///
    /// Source: the Global Privacy Control specification of the W3C. A backend that calls for a guest forwards the
    /// header, or sets `gpc` in the body.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self {
            gpc: headers.get_all(Self::HEADER).iter().any(|value| value == "1"),
        }
    }

    /// These signals, and those of a consent object of the `guest-sessions` contract: `gpc`, true or false.
    ///
    /// # Errors
    /// If `gpc` is not Boolean.
    pub fn or_in_body(self, consent: &mut Object<'_>) -> Result<Self, BodyError> {
        let gpc = consent.optional("gpc").map(|field| field.boolean()).transpose()?;
        Ok(Self {
            gpc: self.gpc || gpc == Some(true),
        })
    }
}

/// The body of `POST /api/v2/webmessaging/guest-sessions`, for a session that may be created.
impl Serialize for NewSession {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.data().consent();
        // the jurisdictions of the decision are sent, not the region that the caller gave
        let mut attributes: BTreeMap<&str, Cow<'_, str>> = self
            .data()
            .attributes()
            .filter(|(key, _)| *key != REGION)
            .map(|(key, value)| (key, value.into()))
            .collect();
        if !record.jurisdictions.is_empty() {
            attributes.insert(REGION, record.jurisdictions.to_string().into());
        }
        let choice = |purpose: &PurposeRecord| match purpose.choice {
            Choice::Denied => Some(false),
            Choice::Granted => Some(true),
            Choice::Unknown => None,
        };
        let evidence = latest(record).cloned();
        CreateBody {
            channel_configuration_id: self.channel(),
            guest_id: self.guest(),
            guest_attributes: attributes,
            consent: CreateConsent {
                choices: record.purposes.each_ref().map(choice).into(),
                age: record.age.years().map(|_| record.age.to_string()),
                gpc: record.gpc,
                sensitive: record
                    .sensitive
                    .iter()
                    .filter_map(|(category, record)| Some((*category, choice(record)?)))
                    .collect(),
                evidence: Evidence {
                    chosen_at: record.recorded_at,
                    ..evidence.unwrap_or_else(|| Evidence::at(record.recorded_at))
                },
            },
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateBody<'a> {
    channel_configuration_id: &'a ChannelId,
    #[serde(skip_serializing_if = "Option::is_none")]
    guest_id: Option<&'a GuestId>,
    guest_attributes: BTreeMap<&'a str, Cow<'a, str>>,
    consent: CreateConsent,
}

#[derive(Serialize)]
struct CreateConsent {
    #[serde(flatten)]
    choices: ByPurpose<Option<bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    gpc: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sensitive: BTreeMap<Category, bool>,
    #[serde(flatten)]
    evidence: Evidence,
}

/// The contract has one piece of evidence: the latest. A guardian's is sent only if there is no other.
fn latest(record: &ConsentRecord) -> Option<&Evidence> {
    let evidence = record.states().filter_map(|(_, state)| state.evidence.as_ref());
    evidence.max_by_key(|evidence| (!evidence.is_by_guardian(), evidence.chosen_at))
}

#[cfg(test)]
mod tests;
