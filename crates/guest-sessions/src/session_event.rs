//! Bodies of webhook deliveries.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use genesys_api::{ChannelId, SessionId, rfc3339};
use guest_payload::GuestData;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use webhook::{EventBody, EventName, FieldSource};

use crate::SessionInfo;

/// The data of an event: the session when the event is sent.
#[derive(Clone, Debug)]
pub struct SessionEvent<'a> {
    /// The session.
    pub session: &'a SessionInfo,
    /// Its channel.
    pub channel: &'a ChannelId,
    /// Its consent, and the attributes that it allows.
    pub data: &'a GuestData,
    /// Sequence number of the event. That of a snapshot is the highest one of the session.
    pub sequence: u64,
    /// Sequence numbers of the events that a snapshot stands for.
    pub range: Option<&'a RangeInclusive<u64>>,
    /// The fields that the subscription chooses. Empty for all.
    pub fields: &'a BTreeMap<String, FieldSource>,
    /// Whether the constants of the fields are sent: the session meets the conditions of the subscription.
    pub with_constants: bool,
}

/// Fields that no subscription renames or leaves out: without them a receiver cannot drop what is repeated or late.
pub(crate) const ALWAYS_SENT: [&str; 3] = ["id", "sequence", "range"];
/// The other fields of an event's data.
pub(crate) const FIELDS: [&str; 8] = [
    "guestId",
    "channelConfigurationId",
    "state",
    "createdAt",
    "endedAt",
    "endReason",
    "consent",
    ATTRIBUTES,
];
/// The field with the attributes.
pub(crate) const ATTRIBUTES: &str = "guestAttributes";

impl SessionEvent<'_> {
    /// Serializes the body of an event of this time.
    #[must_use]
    pub fn to_bytes(&self, event: EventName, at: OffsetDateTime) -> Bytes {
        body(event, at, &self.to_json())
    }

    /// Keys and lists for the audit entry of its disclosure: the names of the fields, the names of the attributes, and the
    /// purposes that those serve. No value.
    #[must_use]
    pub fn disclosure_details(&self) -> Vec<(&'static str, Vec<String>)> {
        let all = self.all_fields();
        let chosen = |name: &str| self.fields.values().any(|source| source.field() == Some(name));
        let is_sent =
            |name: &&String| self.fields.is_empty() || ALWAYS_SENT.contains(&name.as_str()) || chosen(name);
        let names = all.as_object().into_iter().flat_map(|fields| fields.keys());
        let fields = names.filter(is_sent).cloned().collect();
        let data = self.data.disclosure_details_of(|attribute| {
            let sends = |path: &str| match path.split_once('.') {
                Some((field, name)) => (field, name) == (ATTRIBUTES, attribute),
                None => path == ATTRIBUTES,
            };
            let is_source = |source: &FieldSource| matches!(source, FieldSource::Path(path) if sends(path));
            self.fields.is_empty() || self.fields.values().any(is_source)
        });
        [("fields", fields)].into_iter().chain(data).collect()
    }

    /// The data of the event as the subscription chooses it.
    fn to_json(&self) -> Value {
        let all = self.all_fields();
        if self.fields.is_empty() {
            return all;
        }
        let always = ALWAYS_SENT
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), all.get(name)?.clone())));
        let is_sent = |source: &FieldSource| self.with_constants || source.field().is_some();
        let chosen = self.fields.iter().filter(|(_, source)| is_sent(source));
        let chosen = chosen.filter_map(|(name, source)| Some((name.clone(), source.value(&all)?)));
        always.chain(chosen).collect::<Map<_, _>>().into()
    }

    fn all_fields(&self) -> Value {
        let session = self.session;
        let mut data = json!({
            "id": session.id,
            "sequence": self.sequence,
            "guestId": session.guest_id,
            "channelConfigurationId": self.channel,
            "state": session.state,
            "createdAt": rfc3339(session.created_at),
            "consent": self.data.consent(),
            "guestAttributes": self.data.attributes().collect::<BTreeMap<_, _>>(),
        });
        if let (Some(at), Some(reason)) = (session.ended_at, &session.end_reason) {
            data["endedAt"] = rfc3339(at).into();
            data["endReason"] = reason.as_str().into();
        }
        if let Some(range) = self.range {
            data["range"] = range_data(range);
        }
        data
    }
}

/// Serializes the body of the event of an erased session, of which nothing else is known.
#[must_use]
pub fn erased_event(session: &SessionId, range: &RangeInclusive<u64>, at: OffsetDateTime) -> Bytes {
    let data = json!({
        "id": session,
        "sequence": range.end(),
        "range": range_data(range),
    });
    body(EventName::Erased, at, &data)
}

fn body(event: EventName, timestamp: OffsetDateTime, data: &Value) -> Bytes {
    let body = EventBody {
        event,
        timestamp,
        data,
    };
    body.to_bytes()
}

fn range_data(range: &RangeInclusive<u64>) -> Value {
    json!({ "first": range.start(), "last": range.end() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use genesys_api::{SessionStage, SessionState, parse_rfc3339};
    use guest_payload::{Choice, Consent, Evidence, NewGuest, Policy};

    use super::*;

    fn at() -> OffsetDateTime {
        parse_rfc3339("2026-11-22T12:30:00.125Z").unwrap()
    }

    /// An EU guest who agreed to all but marketing.
    fn guest() -> (SessionInfo, GuestData) {
        let choices = [Choice::Denied, Choice::Granted, Choice::Granted];
        let consent = Consent::together(choices, Evidence::at(at()));
        let mut guest = NewGuest::new("c".parse().unwrap(), "EU".parse().unwrap(), consent);
        guest.attributes.insert("source", "web").unwrap();
        guest.attributes.insert("marketing.segment", "canary").unwrap();
        let new = guest.decide(Policy::purpose_scoped(), at()).unwrap();
        let session = SessionInfo {
            id: "s-1".parse().unwrap(),
            guest_id: "g".parse().unwrap(),
            state: SessionState::Live(SessionStage::FirstReply),
            created_at: at(),
            expires_at: at(),
            ended_at: None,
            end_reason: None,
            consent: new.data().consent().clone(),
        };
        (session, new.data().clone())
    }

    fn rendered(session: &SessionInfo, data: &GuestData, range: Option<&RangeInclusive<u64>>) -> Value {
        let event = SessionEvent {
            session,
            channel: &"c".parse().unwrap(),
            data,
            sequence: 5,
            range,
            fields: &BTreeMap::new(),
            with_constants: true,
        };
        assert!(!format!("{event:?}").contains("web"), "values may be personal");
        let details = event.disclosure_details();
        assert_eq!(details[0].1.len(), event.to_json().as_object().unwrap().len());
        assert!(!format!("{details:?}").contains("web"));
        serde_json::from_slice(&event.to_bytes(EventName::Updated, at())).unwrap()
    }

    #[test]
    fn event_has_the_attributes_that_consent_allows() {
        let (session, data) = guest();
        let body = rendered(&session, &data, None);
        assert_eq!(body["type"], "webmessaging.guestsession.updated");
        assert_eq!(body["timestamp"], "2026-11-22T12:30:00.125Z");
        let data = &body["data"];
        assert_eq!(data["guestAttributes"], json!({ "source": "web" }));
        assert_eq!(
            (&data["sequence"], &data["state"]),
            (&json!(5), &json!("answered"))
        );
        assert_eq!(data["consent"]["marketing"], "denied");
        assert!(data.get("range").is_none() && data.get("endedAt").is_none());
    }

    #[test]
    fn event_of_ended_session_has_its_range_and_attributes() {
        let (mut session, data) = guest();
        session.state = SessionState::Ended;
        (session.ended_at, session.end_reason) = (Some(at()), Some("guest".to_owned()));
        let body = rendered(&session, &data, Some(&(2..=3)));
        let data = &body["data"];
        assert_eq!(data["range"], json!({ "first": 2, "last": 3 }));
        assert_eq!(
            (&data["state"], &data["endReason"]),
            (&json!("ended"), &json!("guest"))
        );
        assert_eq!(data["guestAttributes"], json!({ "source": "web" }));
    }

    #[test]
    fn chosen_fields_are_renamed_and_never_widened() {
        let (session, data) = guest();
        let path = |path: &str| FieldSource::Path(path.to_owned());
        let fields = BTreeMap::from([
            ("contact".to_owned(), path("guestId")),
            ("ended".to_owned(), path("endedAt")),
            ("marketing".to_owned(), path("consent.marketing")),
            ("origin".to_owned(), FieldSource::Constant("shop".to_owned())),
            ("segment".to_owned(), path("guestAttributes.marketing.segment")),
            ("source".to_owned(), path("guestAttributes.source")),
        ]);
        let mut event = SessionEvent {
            session: &session,
            channel: &"c".parse().unwrap(),
            data: &data,
            sequence: 5,
            range: Some(&(2..=3)),
            fields: &fields,
            with_constants: true,
        };
        let expected = json!({
            "id": "s-1", "sequence": 5, "range": {"first": 2, "last": 3},
            "contact": "g", "marketing": "denied", "origin": "shop", "source": "web",
        });
        assert_eq!(event.to_json(), expected);
        event.with_constants = false;
        assert!(event.to_json().get("origin").is_none());
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let details = [
            (
                "fields",
                texts(&["consent", "guestAttributes", "guestId", "id", "range", "sequence"]),
            ),
            ("attributes", texts(&["source"])),
            ("purposes", texts(&["functional"])),
        ];
        assert_eq!(event.disclosure_details(), details);
        let fields = BTreeMap::from([("contact".to_owned(), path("guestId"))]);
        event.fields = &fields;
        assert_eq!(
            event.disclosure_details()[1..],
            [("attributes", vec![]), ("purposes", vec![])]
        );
    }

    #[test]
    fn every_field_of_an_event_can_be_chosen() {
        let (mut session, data) = guest();
        (session.ended_at, session.end_reason) = (Some(at()), Some("guest".to_owned()));
        let all = rendered(&session, &data, Some(&(2..=3)))["data"].clone();
        let known: BTreeSet<&str> = ALWAYS_SENT.into_iter().chain(FIELDS).collect();
        let names: BTreeSet<&str> = all.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, known);
    }

    #[test]
    fn erased_event_names_session_and_range_only() {
        let body: Value =
            serde_json::from_slice(&erased_event(&"s-1".parse().unwrap(), &(2..=7), at())).unwrap();
        let expected = json!({ "id": "s-1", "sequence": 7, "range": { "first": 2, "last": 7 } });
        assert_eq!(body["type"], "webmessaging.guestsession.erased");
        assert_eq!(body["data"], expected);
    }
}
