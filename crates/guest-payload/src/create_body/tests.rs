//! Tests of the create body.

use genesys_api::rfc3339;
use http::HeaderValue;
use proptest::prelude::*;

use genesys_api::strict_json::BodyErrorKind;

use super::*;
use crate::{Actor, CollectionMethod, Jurisdiction, Policy};

/// As the tutorial's `SessionPayloadBuilder` and httpx write it.
const TUTORIAL: &str = r#"{"channelConfigurationId":"your_web_messaging_channel_config_id","guestId":"7d1f0c0e-95ad-4c0e-8d15-0f8b3f4a2a11","guestAttributes":{"source":"web","region":"EU","timestamp":"2026-11-22T12:30:00.123456+00:00"},"consent":{"marketing":true,"personalization":true,"analytics":true,"consentTimestamp":"2026-11-22T12:30:00.123467+00:00"}}"#;

fn received() -> OffsetDateTime {
    parse_rfc3339("2026-11-22T12:30:01Z").unwrap()
}

fn parse(body: impl AsRef<[u8]>) -> Result<NewGuest, BodyError> {
    NewGuest::parse(body.as_ref(), Signals::default(), received())
}

fn with_consent(consent: &str) -> String {
    format!(r#"{{"channelConfigurationId":"c","guestAttributes":{{}},"consent":{consent}}}"#)
}

fn with_attributes(attributes: &str) -> String {
    format!(r#"{{"channelConfigurationId":"c","guestAttributes":{attributes},"consent":{{}}}}"#)
}

#[test]
fn body_of_the_tutorial_is_accepted() {
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
fn choice_that_is_null_or_missing_is_unknown() {
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
fn error_names_the_field_and_repeats_no_value() {
    let message = |body: &str| parse(body).unwrap_err().to_string();
    for (body, expected) in [
        ("", "the body is not JSON: line 1, column 0"),
        ("{", "the body is not JSON: line 1, column 1"),
        ("{} {}", "the body is not JSON: line 1, column 4"),
        ("[]", "the body must be an object, and is a list"),
        ("null", "the body must be an object, and is null"),
        ("{}", "the field \"channelConfigurationId\" is missing"),
        (
            r#"{"channelConfigurationId":7}"#,
            "channelConfigurationId must be a string, and is a number",
        ),
        (
            r#"{"channelConfigurationId":"\ud800"}"#,
            "channelConfigurationId must be a string, and is a string that is not Unicode",
        ),
        (
            r#"{"channelConfigurationId":""}"#,
            "channelConfigurationId: invalid channel configuration id: it is empty, give 1 to 128 characters, or \
             omit it to get a new one",
        ),
        (
            r#"{"channelConfigurationId":"c","guestId":null}"#,
            "guestId must be a string, and is null",
        ),
        (
            r#"{"channelConfigurationId":"c","guestId":"a b"}"#,
            "guestId: invalid guest id: the character at byte 1 is not one of A-Z a-z 0-9 . _ : -",
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
            "the field \"xy\" is unknown: the fields here are channelConfigurationId, guestId, guestAttributes, consent",
        ),
        (
            r#"{"channelConfigurationId":"c","channelConfigurationId":"d"}"#,
            "the field \"channelConfigurationId\" is repeated: send it once",
        ),
        (
            &with_attributes("[]"),
            "guestAttributes must be an object, and is a list",
        ),
        (
            &with_attributes(r#"{"age":42}"#),
            "guestAttributes.age must be a string, and is a number",
        ),
        (
            &with_attributes(r#"{"a":"1","a":"2"}"#),
            "the field \"guestAttributes.a\" is repeated: send it once",
        ),
        (
            &with_attributes(r#"{"region":"california"}"#),
            "guestAttributes.region: invalid region \"california\": write US-CA for California",
        ),
        (
            &with_attributes(r#"{"":"x"}"#),
            "guestAttributes: invalid attribute: the key is empty, use 1 to 64 characters",
        ),
        (
            &with_attributes(&format!(r#"{{"a":"{}"}}"#, "x".repeat(1_025))),
            "invalid guestAttributes.a: 1025 characters, at most 1024 are allowed",
        ),
        (
            &with_consent(r#"{"marketing":"hunter2"}"#),
            "consent.marketing must be true, false or null, and is a string",
        ),
        (
            &with_consent(r#"{"marketing":1}"#),
            "consent.marketing must be true, false or null, and is a number",
        ),
        (
            &with_consent(r#"{"advertising":true}"#),
            "the field \"consent.advertising\" is unknown: the fields here are marketing, personalization, analytics, \
             sensitive, age, gpc, consentTimestamp, how, actor, notice, gpp, guardian",
        ),
        (
            &with_consent(r#"{"consentTimestamp":"hunter2"}"#),
            "invalid consent.consentTimestamp: give RFC 3339 with its offset, from 1970 on, as in \
             2026-11-22T12:30:00Z",
        ),
        (
            &with_consent(r#"{"marketing":false,"marketing":true}"#),
            "the field \"consent.marketing\" is repeated: send it once",
        ),
    ] {
        assert_eq!(message(body), expected, "{body}");
        assert!(!message(body).contains("hunter2"));
    }
}

#[test]
fn sensitive_choices_and_guardian_evidence_are_read() {
    let consent = r#"{"marketing":true,"sensitive":{"health":true,"faith":false},"guardian":{"relationship":"parent",
        "verification":"payment-card","verifiedAt":"2026-11-22T12:29:00Z","reference":"case-42"}}"#;
    let guest = parse(with_consent(consent)).unwrap();
    let choices: Vec<_> = guest
        .consent
        .sensitive()
        .map(|(category, given)| (category, given.choice))
        .collect();
    assert_eq!(
        choices,
        [
            (Category::Health, Choice::Granted),
            (Category::Faith, Choice::Denied)
        ]
    );
    let evidence = &guest.consent.purpose(Purpose::Marketing).evidence;
    assert!(evidence.is_by_guardian());
    let guardian = evidence.guardian.as_ref().unwrap();
    assert_eq!(
        guardian.reference.as_ref().map(Reference::as_str),
        Some("case-42")
    );
    let message = |body: &str| parse(body).unwrap_err().to_string();
    let guardian = |fields: &str| message(&with_consent(&format!(r#"{{"guardian":{{{fields}}}}}"#)));
    for (fields, expected) in [
        (
            r#""relationship":"aunt""#,
            "invalid consent.guardian.relationship: it must be parent or guardian",
        ),
        (
            r#""relationship":"parent""#,
            "the field \"consent.guardian.verification\" is missing",
        ),
        (
            r#""relationship":"parent","verification":"payment-card","verifiedAt":"2036-01-01T00:00:00Z""#,
            "invalid consent.guardian.verifiedAt: ",
        ),
    ] {
        assert!(guardian(fields).starts_with(expected), "{}", guardian(fields));
    }
    let wrong = message(&with_consent(r#"{"sensitive":{"wealth":true}}"#));
    assert!(
        wrong.starts_with("the field \"consent.sensitive.wealth\" is unknown"),
        "{wrong}"
    );
}

#[test]
fn choice_in_the_future_is_refused() {
    let consent = |time: &str| {
        let body = with_consent(&format!(r#"{{"consentTimestamp":"{time}"}}"#));
        parse(body)
    };
    assert!(consent("2026-11-22T12:35:01Z").is_ok(), "clocks differ");
    assert_eq!(
        consent("2026-11-22T12:35:03Z").unwrap_err().to_string(),
        "invalid consent.consentTimestamp: 302 s in the future: check the clock of the machine that sent it"
    );
    for time in [
        "1969-12-31T23:59:59Z",
        "2026-11-22T12:35:01",
        "2026-11-22",
        "now",
        "",
    ] {
        let body = with_consent(&format!(r#"{{"consentTimestamp":"{time}"}}"#));
        assert_eq!(parse(body).unwrap_err().kind(), BodyErrorKind::Value);
    }
}

#[test]
fn evidence_and_age_are_parsed_or_named_in_an_error() {
    let body = with_consent(
        r#"{"marketing":true,"age":"13-15","how":"banner","actor":"guardian","notice":{"version":"7","language":"de"},"gpp":"DBABMA~x"}"#,
    );
    let body = parse(body).unwrap();
    assert_eq!(body.age, Age::at_least(13));
    let evidence = &body.consent.purpose(Purpose::Marketing).evidence;
    assert_eq!(
        (evidence.method, evidence.actor),
        (CollectionMethod::Banner, Actor::Guardian)
    );
    assert_eq!(evidence.notice, Notice::new("7", "de").ok());
    assert_eq!(evidence.gpp.as_ref().map(Gpp::as_str), Some("DBABMA~x"));
    for (consent, expected) in [
        (
            r#"{"age":"old"}"#,
            "consent.age: invalid age \"old\": write years, as in 16, 13-15, 18+ or \"under 13\", or unknown",
        ),
        (
            r#"{"how":"hunter2"}"#,
            "invalid consent.how: it must be banner, chat, form, phone or unstated",
        ),
        (
            r#"{"notice":{"version":"7"}}"#,
            "the field \"consent.notice.language\" is missing",
        ),
        (
            r#"{"notice":{"version":"7","language":"hunter2 "}}"#,
            "consent.notice.language: invalid notice language: use a tag such as de or de-CH",
        ),
        (
            r#"{"gpp":""}"#,
            "consent.gpp: invalid GPP string: use 1 to 4096 visible ASCII characters",
        ),
    ] {
        let error = parse(with_consent(consent)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

fn session(places: &[Jurisdiction], gpc: bool) -> NewSession {
    let choices = [Choice::Denied, Choice::Unknown, Choice::Granted];
    let consent = Consent::together(choices, Evidence::at(received()));
    let mut guest = NewGuest::new("channel".parse().unwrap(), places.into(), consent);
    guest.guest = Some("guest".parse().unwrap());
    guest.signals = Signals { gpc };
    let attributes = &mut guest.attributes;
    attributes.insert("source", "web").unwrap();
    attributes.insert("region", "Bavaria").unwrap();
    attributes.insert("marketing.segment", "gold").unwrap();
    attributes.insert("analytics.page", "/").unwrap();
    guest.decide(Policy::purpose_scoped(), received()).unwrap()
}

#[test]
fn built_body_parses_into_the_same_guest() {
    let session = session(&["DE".parse().unwrap(), "US-CA".parse().unwrap()], true);
    let body = serde_json::to_string(&session).unwrap();
    assert_eq!(
        body,
        r#"{"channelConfigurationId":"channel","guestId":"guest","guestAttributes":{"analytics.page":"/","region":"DE,US-CA","source":"web"},"consent":{"marketing":false,"personalization":null,"analytics":true,"gpc":true,"consentTimestamp":"2026-11-22T12:30:01.000Z"}}"#
    );
    let guest = parse(body).unwrap();
    assert!(guest.signals.gpc);
    assert_eq!(&guest.channel, session.channel());
    assert_eq!(guest.guest.as_ref(), session.guest());
    assert_eq!(guest.jurisdictions, session.data().consent().jurisdictions);
    assert_eq!(guest.consent.latest(), received());
    for purpose in Purpose::ALL {
        assert_eq!(
            guest.consent.choice(purpose),
            session.data().consent().purpose(purpose).choice
        );
    }
}

#[test]
fn unknown_jurisdiction_is_not_sent() {
    let body = serde_json::to_string(&session(&[], false)).unwrap();
    assert!(parse(body).unwrap().jurisdictions.is_empty());
}

#[test]
fn gpc_signal_is_exactly_1() {
    let mut headers = HeaderMap::new();
    assert!(!Signals::from_headers(&headers).gpc);
    for value in ["0", "true", "", "1 ", "11"] {
        headers.insert("Sec-GPC", HeaderValue::from_static(value));
        assert!(!Signals::from_headers(&headers).gpc, "{value:?}");
    }
    headers.append("Sec-GPC", HeaderValue::from_static("1"));
    assert!(Signals::from_headers(&headers).gpc);
}

#[test]
fn gpc_signal_is_in_the_header_or_in_the_body() {
    let gpc = |header, consent: &str| {
        let body = with_consent(consent);
        let guest = NewGuest::parse(body.as_ref(), Signals { gpc: header }, received());
        guest
            .map(|guest| guest.signals.gpc)
            .map_err(|error| error.to_string())
    };
    for (header, consent, expected) in [
        (false, "{}", false),
        (false, r#"{"gpc":false}"#, false),
        (false, r#"{"gpc":true}"#, true),
        (true, "{}", true),
        // a field cannot take the guest's own signal back
        (true, r#"{"gpc":false}"#, true),
        (true, r#"{"gpc":true}"#, true),
    ] {
        assert_eq!(gpc(header, consent), Ok(expected), "{header} {consent}");
    }
    for value in ["null", "1", "\"1\""] {
        let consent = format!(r#"{{"gpc":{value}}}"#);
        let error = gpc(true, &consent).unwrap_err();
        assert!(error.starts_with("consent.gpc must be true or false"), "{error}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    assert!(parse(&deep).is_err());
    assert!(parse(with_attributes(&format!(r#"{{"a":{deep}}}"#))).is_err());
}

#[test]
fn corrupted_bodies_are_refused() {
    let mut refused = std::collections::BTreeSet::new();
    for at in 0..TUTORIAL.len() {
        for other in [
            "\0", "\"", "[", "]", "{", "}", ",", ":", "\\", "é", "\n", "1e999", "\u{1}", "\u{b}", "\u{c}",
            "\u{1f}", "\t", "null",
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
    fn mutated_body_never_panics(at in 0..TUTORIAL.len(), byte in any::<u8>(), cut in any::<bool>()) {
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
