//! Bodies of `/api/v2/webmessaging/guest-sessions` except the create body.

use std::collections::BTreeMap;
#[cfg(feature = "client")]
use std::time::Duration;

use genesys_api::strict_json::{BodyError, Object};
use genesys_api::{GuestId, SessionId, SessionState, timestamp};
use guest_payload::{
    Age, AttributeWarning, Category, Choice, ConsentChange, ConsentRecord, Evidence, Purpose, Signals,
    sensitive_choices,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use time::OffsetDateTime;

use crate::secret;

/// A guest session that was created: the body of the 201 response. **Both tokens are serialized in the clear.**
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedSession {
    /// Its id and first tokens, as fields of this body.
    #[serde(flatten)]
    pub tokens: RefreshedTokens,
    /// The guest's id.
    pub guest_id: GuestId,
    /// URL of the conversation's WebSocket, without a token.
    pub websocket_url: String,
    /// Time of creation.
    #[serde(with = "timestamp")]
    pub created_at: OffsetDateTime,
    /// The consent record of the session, with the obligations of the operator.
    pub consent: ConsentRecord,
    /// Attributes whose names suggest sensitive data that the policy does not declare.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<AttributeWarning>,
}

/// The present state of a guest session. It holds no token.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionInfo {
    /// The session's id.
    pub id: SessionId,
    /// The guest's id.
    pub guest_id: GuestId,
    /// The stage that the session has reached.
    pub state: SessionState,
    /// Time of creation.
    #[serde(with = "timestamp")]
    pub created_at: OffsetDateTime,
    /// Expiry of the access token.
    #[serde(with = "timestamp")]
    pub expires_at: OffsetDateTime,
    /// Time of the end, if the session has ended.
    #[serde(with = "timestamp::option", default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<OffsetDateTime>,
    /// Reason of the end, if the session has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<String>,
    /// The consent record of the session.
    pub consent: ConsentRecord,
}

/// The body that exchanges a refresh token. **The token is serialized in the clear.**
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefreshBody {
    /// The refresh token that was issued last.
    #[serde(with = "secret")]
    pub refresh_token: SecretString,
}

impl RefreshBody {
    /// Parses the body of `POST …/{id}/refresh`.
    ///
    /// # Errors
    /// If the body does not match the contract. No error repeats a value.
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut body = Object::parse(bytes)?;
        let refresh_token = SecretString::from(&*body.required("refreshToken")?.text()?);
        body.finish()?;
        Ok(Self { refresh_token })
    }
}

/// A new pair of tokens: the response to a [`RefreshBody`]. **Both tokens are serialized in the clear.**
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefreshedTokens {
    /// The session's id.
    pub id: SessionId,
    /// The access token, which opens the socket.
    #[serde(with = "secret")]
    pub access_token: SecretString,
    /// The refresh token, which is exchanged for a new pair once.
    #[serde(with = "secret")]
    pub refresh_token: SecretString,
    /// Expiry of the access token, by the clock of the service.
    #[serde(with = "timestamp")]
    pub expires_at: OffsetDateTime,
    /// Seconds until then, rounded down. Count them from when the request was sent: no wall clock matters.
    pub expires_in: u64,
    /// Seconds until the refresh token ends, and with it the session, rounded down. Counted as `expires_in`.
    pub refresh_expires_in: u64,
}

#[cfg(feature = "client")]
impl TryFrom<RefreshedTokens> for token_window::Tokens {
    type Error = token_window::TokensError;

    fn try_from(issued: RefreshedTokens) -> Result<Self, Self::Error> {
        let [access, refresh] = [issued.expires_in, issued.refresh_expires_in].map(Duration::from_secs);
        let tokens = Self::new(issued.access_token, Some(issued.refresh_token), access)?;
        Ok(tokens.with_refresh_lifetime(refresh))
    }
}

/// The body of `PATCH …/{id}/consent`.
#[derive(Clone, Copy, Debug)]
pub struct ConsentChangeBody<'a>(pub &'a ConsentChange);

impl ConsentChangeBody<'_> {
    /// Parses the body, which names at least one purpose or category of sensitive data, or has `withdrawAll` or `age`. An
    /// opt-out signal is a change too. Without `consentTimestamp` the guest chose when the body was `received`. The returned
    /// signals are `signals`, those of the request's headers, and `gpc` of the body.
    ///
    /// # Errors
    /// If the body does not match the contract, or the choice is more than five minutes after `received`. No error
    /// repeats a value.
    pub fn parse(
        bytes: &[u8],
        signals: Signals,
        received: OffsetDateTime,
    ) -> Result<(ConsentChange, Signals), BodyError> {
        let mut body = Object::parse(bytes)?;
        let mut choices = Vec::new();
        for purpose in Purpose::ALL {
            if let Some(field) = body.optional(purpose.as_str()) {
                choices.push((purpose, field.boolean()?));
            }
        }
        let sensitive = sensitive_choices(&mut body)?;
        let withdrawal = body.optional("withdrawAll");
        let withdraws_all = withdrawal.as_ref().map(|field| field.boolean()).transpose()? == Some(true);
        let age = body.optional("age").map(|field| field.parse()).transpose()?;
        let signals = signals.or_in_body(&mut body)?;
        let change = ConsentChange::new(Evidence::parse(&mut body, received)?);
        let change = change.with_age(age.unwrap_or(Age::UNKNOWN));
        body.finish()?;
        let names_any = !choices.is_empty() || !sensitive.is_empty();
        if let Some(field) = withdrawal.filter(|_| withdraws_all && names_any) {
            return Err(field.invalid("it stands for every choice: leave the others out"));
        }
        if withdraws_all {
            return Ok((change.withdrawing_all(), signals));
        }
        if !names_any && age.is_none() && !signals.gpc {
            let expected = "marketing, personalization, analytics or sensitive, or withdrawAll, age or gpc";
            return Err(BodyError::empty(expected));
        }
        let change = choices
            .into_iter()
            .fold(change, |change, (purpose, granted)| match granted {
                true => change.granting(purpose),
                false => change.withdrawing(purpose),
            });
        let change = sensitive.into_iter().fold(change, |change, (category, choice)| {
            change.with_sensitive(category, choice == Choice::Granted)
        });
        Ok((change, signals))
    }
}

impl Serialize for ConsentChangeBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten)]
            choices: BTreeMap<&'static str, bool>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            sensitive: BTreeMap<Category, bool>,
            #[serde(rename = "withdrawAll", skip_serializing_if = "std::ops::Not::not")]
            withdraws_all: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            age: Option<String>,
            #[serde(flatten)]
            evidence: &'a Evidence,
        }

        let withdraws_all = self.0.is_full_withdrawal();

        let choice = |purpose: Purpose| Some((purpose.as_str(), self.0.choice(purpose)? == Choice::Granted));
        let choices = Purpose::ALL.into_iter().filter_map(choice);
        Body {
            choices: choices.filter(|_| !withdraws_all).collect(),
            sensitive: self
                .0
                .sensitive()
                .filter(|_| !withdraws_all)
                .map(|(category, choice)| (category, choice == Choice::Granted))
                .collect(),
            withdraws_all,
            age: self.0.age().years().map(|_| self.0.age().to_string()),
            evidence: self.0.evidence(),
        }
        .serialize(serializer)
    }
}

/// A page of the audit entries of a session, newest first. An entry in JSON is as it was logged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AuditTrail<E> {
    /// The entries.
    pub entries: Vec<E>,
    /// [`AuditQuery::before`](crate::AuditQuery::before) of the next page. `None` if no more entries match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl<E> AuditTrail<E> {
    /// Converts each entry.
    ///
    /// # Errors
    /// The first error of `convert`.
    pub fn try_map<'a, T, X>(&'a self, convert: impl Fn(&'a E) -> Result<T, X>) -> Result<AuditTrail<T>, X> {
        Ok(AuditTrail {
            entries: self.entries.iter().map(convert).collect::<Result<_, X>>()?,
            next: self.next,
        })
    }
}

/// A page of the consent records of all sessions.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ConsentRecords<R> {
    /// The records or receipts, in the fields of ISO/IEC TS 27560.
    pub records: Vec<R>,
    /// The session after which the next page begins. `None` at the end.
    pub next: Option<SessionId>,
}

/// A page of the whole audit log: the lines of its export.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AuditLines<L> {
    /// The lines, oldest first, each the JSON of one line of an export.
    pub lines: Vec<L>,
    /// [`AuditQuery::from`](crate::AuditQuery::from) of the next page.
    pub next: u64,
    /// False at the end of the log.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use genesys_api::parse_rfc3339;
    use guest_payload::{Consent, NewGuest, Policy};
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::*;

    fn at() -> OffsetDateTime {
        parse_rfc3339("2026-11-22T12:30:00Z").unwrap()
    }

    fn consent() -> ConsentRecord {
        let choices = [Choice::Denied, Choice::Unknown, Choice::Granted];
        let consent = Consent::together(choices, Evidence::at(at()));
        let guest = NewGuest::new("channel".parse().unwrap(), "DE".parse().unwrap(), consent);
        guest
            .decide(Policy::purpose_scoped(), at())
            .unwrap()
            .data()
            .consent()
            .clone()
    }

    #[test]
    fn created_session_round_trips_and_debug_hides_its_tokens() {
        let session = CreatedSession {
            tokens: RefreshedTokens {
                id: "s-1".parse().unwrap(),
                access_token: "canary-access".into(),
                refresh_token: "canary-refresh".into(),
                expires_at: at(),
                expires_in: 3_600,
                refresh_expires_in: 86_400,
            },
            guest_id: "g-1".parse().unwrap(),
            websocket_url: "wss://gateway.example/socket".to_owned(),
            created_at: at(),
            consent: consent(),
            warnings: Vec::new(),
        };
        assert!(!format!("{session:?}").contains("canary"));
        let json = serde_json::to_value(&session).unwrap();
        assert_eq!(json["accessToken"], "canary-access");
        assert_eq!(json["expiresAt"], "2026-11-22T12:30:00.000Z");
        let read: CreatedSession = serde_json::from_value(json).unwrap();
        assert_eq!(read.tokens.refresh_token.expose_secret(), "canary-refresh");
        assert_eq!(
            (read.tokens.id, read.consent),
            (session.tokens.id, session.consent)
        );
    }

    #[test]
    fn session_info_round_trips_without_absent_fields() {
        let info = SessionInfo {
            id: "s-1".parse().unwrap(),
            guest_id: "g-1".parse().unwrap(),
            state: SessionState::Ended,
            created_at: at(),
            expires_at: at(),
            ended_at: Some(at()),
            end_reason: None,
            consent: consent(),
        };
        let json = serde_json::to_value(&info).unwrap();
        assert_eq!(
            (&json["state"], &json["endedAt"]),
            (&json!("ended"), &json!("2026-11-22T12:30:00.000Z"))
        );
        assert!(json.get("endReason").is_none());
        assert_eq!(serde_json::from_value::<SessionInfo>(json).unwrap(), info);
    }

    #[test]
    fn refresh_body_round_trips_and_no_error_repeats_the_token() {
        let body = RefreshBody::parse(br#"{"refreshToken":"r\"0"}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"refreshToken":"r\"0"}"#
        );
        assert!(!format!("{body:?}").contains("r\"0"));
        let bodies: [&[u8]; 4] = [
            b"{}",
            br#"{"refreshToken":7}"#,
            br#"["canary"]"#,
            br#"{"refreshToken":"canary","x":1}"#,
        ];
        for bytes in bodies {
            let error = RefreshBody::parse(bytes).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    #[test]
    fn refreshed_tokens_are_read_with_unknown_fields_but_none_missing() {
        let body = r#"{"id":"s-1","accessToken":"a-1","refreshToken":"r-1","expiresAt":"2026-11-22T14:00:00+01:00","expiresIn":3600,"refreshExpiresIn":86400,"more":1}"#;
        let tokens: RefreshedTokens = serde_json::from_str(body).unwrap();
        assert!(!format!("{tokens:?}").contains("a-1"));
        assert_eq!(tokens.expires_at, parse_rfc3339("2026-11-22T13:00:00Z").unwrap());
        assert_eq!((tokens.expires_in, tokens.refresh_expires_in), (3_600, 86_400));
        for body in [
            "{}",
            r#"{"id":"s-1","accessToken":"a","refreshToken":"r","expiresIn":1,"refreshExpiresIn":1}"#,
            r#"{"id":"s-1","accessToken":"a","refreshToken":"r","expiresAt":"2026-11-22T14:00:00Z","refreshExpiresIn":1}"#,
            r#"{"id":"s-1","accessToken":"a","refreshToken":"r","expiresAt":"2026-11-22T14:00:00Z","expiresIn":1}"#,
            r#"{"id":"s-1","accessToken":"a","expiresAt":"2026-11-22T14:00:00Z","expiresIn":1,"refreshExpiresIn":1}"#,
            r#"{"id":"s-1","accessToken":"a","refreshToken":"r","expiresAt":"2026-11-22T14:00:00","expiresIn":1,"refreshExpiresIn":1}"#,
            r#"{"id":"s-1","accessToken":"a","refreshToken":"r","expiresAt":1795000000,"expiresIn":1,"refreshExpiresIn":1}"#,
        ] {
            assert!(serde_json::from_str::<RefreshedTokens>(body).is_err(), "{body}");
        }
    }

    #[test]
    fn consent_change_round_trips() {
        let change = ConsentChange::new(Evidence::at(at())).withdrawing(Purpose::Marketing);
        let body = serde_json::to_string(&ConsentChangeBody(&change)).unwrap();
        assert_eq!(
            body,
            r#"{"marketing":false,"consentTimestamp":"2026-11-22T12:30:00.000Z"}"#
        );
        assert_eq!(
            ConsentChangeBody::parse(body.as_bytes(), Signals::default(), at()),
            Ok((change, Signals::default()))
        );
    }

    #[test]
    fn signal_alone_is_a_consent_change() {
        let none = (ConsentChange::new(Evidence::at(at())), Signals { gpc: true });
        for (body, header) in [
            (r#"{"gpc":true}"#, false),
            (r#"{"gpc":true}"#, true),
            (r#"{"gpc":false}"#, true),
            ("{}", true),
        ] {
            let parsed = ConsentChangeBody::parse(body.as_bytes(), Signals { gpc: header }, at());
            assert_eq!(parsed.as_ref(), Ok(&none), "{body} {header}");
        }
    }

    #[test]
    fn consent_change_names_at_least_one_purpose() {
        let parse = |body: &str| ConsentChangeBody::parse(body.as_bytes(), Signals::default(), at());
        let (change, signals) = parse(r#"{"marketing":false,"gpc":true}"#).unwrap();
        assert!(signals.gpc);
        assert_eq!(change.choice(Purpose::Marketing), Some(Choice::Denied));
        assert_eq!(
            (change.choice(Purpose::Analytics), change.evidence().chosen_at),
            (None, at())
        );
        for (body, expected) in [
            (
                "{}",
                "the body is empty: send marketing, personalization, analytics or sensitive, or withdrawAll, age or gpc",
            ),
            (
                r#"{"consentTimestamp":"2026-11-22T12:30:00Z"}"#,
                "the body is empty: send marketing, personalization, analytics or sensitive, or withdrawAll, age or gpc",
            ),
            (
                r#"{"marketing":null}"#,
                "marketing must be true or false, and is null",
            ),
            (
                r#"{"consent":{}}"#,
                "the field \"consent\" is unknown: the fields here are marketing, personalization, analytics, \
                 sensitive, withdrawAll, age, gpc, consentTimestamp, how, actor, notice, gpp, guardian",
            ),
            (
                r#"{"withdrawAll":false}"#,
                "the body is empty: send marketing, personalization, analytics or sensitive, or withdrawAll, age or gpc",
            ),
            (
                r#"{"gpc":false}"#,
                "the body is empty: send marketing, personalization, analytics or sensitive, or withdrawAll, age or gpc",
            ),
            (
                r#"{"withdrawAll":true,"marketing":true}"#,
                "invalid withdrawAll: it stands for every choice: leave the others out",
            ),
        ] {
            assert_eq!(parse(body).unwrap_err().to_string(), expected);
        }
        let (change, _) = parse(r#"{"withdrawAll":true}"#).unwrap();
        assert_eq!(
            Purpose::ALL.map(|purpose| change.choice(purpose)),
            [Some(Choice::Denied); 3]
        );
        let (change, _) = parse(r#"{"sensitive":{"health":true,"faith":false}}"#).unwrap();
        let sensitive = [
            (Category::Health, Choice::Granted),
            (Category::Faith, Choice::Denied),
        ];
        assert_eq!(change.sensitive().collect::<Vec<_>>(), sensitive);
        let (child, _) = parse(r#"{"age":"13-15"}"#).unwrap();
        assert_eq!(child.age(), Age::at_least(13));
        let withdrawal = ConsentChange::new(Evidence::at(at())).withdrawing_all();
        for change in [
            change,
            child,
            withdrawal.clone(),
            withdrawal.with_age(Age::at_least(0)),
        ] {
            let body = serde_json::to_string(&ConsentChangeBody(&change)).unwrap();
            assert_eq!(parse(&body).unwrap().0, change, "{body}");
        }
    }
}
