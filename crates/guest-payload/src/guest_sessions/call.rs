//! The contract's calls, as a client makes them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use genesys_api::{Call, ChannelId, GuestId, Host, ReplyError, SessionId, json, rfc3339};
use http::{HeaderValue, Method, Request, Response};
use serde::Serialize;

use super::PATH;
use super::reply::{Body, Session, SessionView};
use super::signals::SEC_GPC;
use crate::{Actor, Choice, ConsentChange, ConsentRecord, Evidence, Gpp, How, NewSession, Purpose};

/// Creates a session. Not idempotent: two requests make two sessions.
///
/// A refusal is a [`Problem`](genesys_api::Problem): 422 `consent.required` names the missing purposes and their
/// rules in its details, 409 `guest.id.in.use` says that the guest has a live session.
#[derive(Clone, Copy, Debug)]
pub struct Create<'a>(pub &'a NewSession);

impl Call for Create<'_> {
    type Reply = Session;
    const IDEMPOTENT: bool = false;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let Self(session) = self;
        let record = session.data().consent();
        // the place that was decided about is the one that is sent
        let mut attributes: BTreeMap<&str, Cow<'_, str>> = session
            .data()
            .attributes()
            .filter(|(key, _)| *key != "region")
            .map(|(key, value)| (key, value.into()))
            .collect();
        if !record.jurisdictions().is_empty() {
            attributes.insert("region", record.jurisdictions().to_string().into());
        }
        let choice = |purpose| match record.purpose(purpose).choice {
            Choice::Denied => Some(false),
            Choice::Granted => Some(true),
            Choice::Unknown => None,
        };
        let body = CreateBody {
            channel_configuration_id: session.channel(),
            guest_id: session.guest(),
            guest_attributes: attributes,
            consent: CreateConsent {
                marketing: choice(Purpose::Marketing),
                personalization: choice(Purpose::Personalization),
                analytics: choice(Purpose::Analytics),
                consent_timestamp: rfc3339(record.recorded_at()),
                age: record.age().years().map(|_| record.age().to_string()),
                shown: Shown::of(latest(record)),
            },
        };
        let mut request = json::with_body(Method::POST, host, PATH, &body);
        if record.gpc() {
            request
                .headers_mut()
                .insert(SEC_GPC, HeaderValue::from_static("1"));
        }
        request
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Session, ReplyError> {
        json::reply::<Body<String>>(response, "a guest session").map(Session::from)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateBody<'a> {
    channel_configuration_id: &'a ChannelId,
    #[serde(skip_serializing_if = "Option::is_none")]
    guest_id: Option<&'a GuestId>,
    guest_attributes: BTreeMap<&'a str, Cow<'a, str>>,
    consent: CreateConsent<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateConsent<'a> {
    marketing: Option<bool>,
    personalization: Option<bool>,
    analytics: Option<bool>,
    consent_timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<String>,
    #[serde(flatten)]
    shown: Shown<'a>,
}

/// Evidence beside its time.
#[derive(Default, Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<How>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<ShownNotice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpp: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownNotice<'a> {
    version: &'a str,
    language: &'a str,
}

impl<'a> Shown<'a> {
    fn of(evidence: Option<&'a Evidence>) -> Self {
        let Some(evidence) = evidence else {
            return Self::default();
        };
        Self {
            how: Some(evidence.how).filter(|how| *how != How::default()),
            actor: Some(evidence.actor).filter(|actor| *actor != Actor::default()),
            notice: evidence.notice.as_ref().map(|notice| ShownNotice {
                version: notice.version(),
                language: notice.language(),
            }),
            gpp: evidence.gpp.as_ref().map(Gpp::as_str),
        }
    }
}

/// The contract carries one piece of evidence: the latest, and a guardian's only if there is no other.
fn latest(record: &ConsentRecord) -> Option<&Evidence> {
    let given = Purpose::ALL.map(|purpose| record.purpose(purpose).evidence.as_ref());
    let given = given.into_iter().flatten();
    given.max_by_key(|evidence| (!evidence.is_by_guardian(), evidence.when))
}

/// Asks how a session stands.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a>(pub &'a SessionId);

impl Call for Fetch<'_> {
    type Reply = SessionView;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::get(host, &format!("{PATH}/{}", self.0))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<SessionView, ReplyError> {
        json::reply(response, "a view of a guest session")
    }
}

/// Changes consent in a live session. Idempotent, since the time of the choice is sent with it.
#[derive(Clone, Copy, Debug)]
pub struct ChangeConsent<'a> {
    /// The session.
    pub id: &'a SessionId,
    /// What the guest changes. A change that names no purpose is refused.
    pub change: &'a ConsentChange,
}

impl Call for ChangeConsent<'_> {
    type Reply = SessionView;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let choice = |purpose| {
            self.change
                .choice(purpose)
                .map(|choice| choice == Choice::Granted)
        };
        let body = ChangeBody {
            marketing: choice(Purpose::Marketing),
            personalization: choice(Purpose::Personalization),
            analytics: choice(Purpose::Analytics),
            consent_timestamp: rfc3339(self.change.evidence().when),
            shown: Shown::of(Some(self.change.evidence())),
        };
        json::with_body(Method::PATCH, host, &format!("{PATH}/{}/consent", self.id), &body)
    }

    fn reply(&self, response: Response<Bytes>) -> Result<SessionView, ReplyError> {
        json::reply(response, "a view of a guest session")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    marketing: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    personalization: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analytics: Option<bool>,
    consent_timestamp: String,
    #[serde(flatten)]
    shown: Shown<'a>,
}

/// Ends a session.
#[derive(Clone, Copy, Debug)]
pub struct End<'a>(pub &'a SessionId);

impl Call for End<'_> {
    type Reply = ();
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::delete(host, &format!("{PATH}/{}", self.0))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<(), ReplyError> {
        json::accepted(response).map(|_| ())
    }
}

/// Asks for the audit entries of a session, which this crate does not read.
#[derive(Clone, Copy, Debug)]
pub struct AuditTrail<'a>(pub &'a SessionId);

impl Call for AuditTrail<'_> {
    type Reply = serde_json::Value;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::get(host, &format!("{PATH}/{}/audit", self.0))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<serde_json::Value, ReplyError> {
        json::reply(response, "the audit trail of a guest session")
    }
}

/// Asks for the figures of all sessions, which this crate does not read.
#[derive(Clone, Copy, Debug)]
pub struct MetricsSnapshot;

impl Call for MetricsSnapshot {
    type Reply = serde_json::Value;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::get(host, &format!("{PATH}/metrics"))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<serde_json::Value, ReplyError> {
        json::reply(response, "a snapshot of session metrics")
    }
}

#[cfg(test)]
mod tests {
    use genesys_api::{Problem, SessionState, parse_rfc3339};
    use secrecy::ExposeSecret;
    use time::OffsetDateTime;

    use super::*;
    use crate::guest_sessions;
    use crate::{Consent, Jurisdiction, NewGuest, Policy, Signals, Use};

    fn host() -> Host {
        "https://gateway.example".parse().unwrap()
    }

    fn when() -> OffsetDateTime {
        parse_rfc3339("2026-11-22T12:30:00Z").unwrap()
    }

    fn session(places: &[Jurisdiction], gpc: bool) -> NewSession {
        let choices = [Choice::Denied, Choice::Unknown, Choice::Granted];
        let consent = Consent::together(choices, Evidence::at(when()));
        let mut guest = NewGuest::new("channel".parse().unwrap(), places.into(), consent);
        guest.guest = Some("guest".parse().unwrap());
        guest.signals = Signals { gpc };
        let attributes = &mut guest.attributes;
        attributes.insert("source", "web").unwrap();
        attributes.insert("region", "Bavaria").unwrap();
        attributes.insert("marketing.segment", "gold").unwrap();
        attributes
            .insert_for(Use::For(Purpose::Analytics), "page", "/")
            .unwrap();
        guest.decide(Policy::purpose_scoped(), when()).unwrap()
    }

    fn parse(request: &Request<Bytes>) -> NewGuest {
        let signals = guest_sessions::signals(request.headers());
        guest_sessions::parse_new_guest(request.body(), signals, when()).unwrap()
    }

    fn answer(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
        Response::builder().status(status).body(body.into()).unwrap()
    }

    #[test]
    fn what_a_client_writes_the_gateway_reads() {
        let session = session(&["DE".parse().unwrap(), "US-CA".parse().unwrap()], true);
        let request = Create(&session).request(&host());
        assert_eq!(request.method(), Method::POST);
        assert_eq!(
            request.uri(),
            "https://gateway.example/api/v2/webmessaging/guest-sessions"
        );
        assert!(guest_sessions::signals(request.headers()).gpc);
        assert_eq!(
            std::str::from_utf8(request.body()).unwrap(),
            r#"{"channelConfigurationId":"channel","guestId":"guest","guestAttributes":{"page":"/","region":"DE,US-CA","source":"web"},"consent":{"marketing":false,"personalization":null,"analytics":true,"consentTimestamp":"2026-11-22T12:30:00.000Z"}}"#
        );
        let body = parse(&request);
        assert_eq!(&body.channel, session.channel());
        assert_eq!(body.guest.as_ref(), session.guest());
        assert_eq!(&body.jurisdictions, session.data().consent().jurisdictions());
        let consent = body.consent;
        assert_eq!(consent.latest(), when());
        for purpose in Purpose::ALL {
            assert_eq!(
                consent.choice(purpose),
                session.data().consent().purpose(purpose).choice
            );
        }
    }

    #[test]
    fn an_unknown_place_is_not_sent() {
        let request = Create(&session(&[], false)).request(&host());
        let body = parse(&request);
        assert!(body.jurisdictions.is_empty());
        assert!(!guest_sessions::signals(request.headers()).gpc);
    }

    #[test]
    fn what_the_gateway_answers_the_client_reads_and_its_tokens_stay_hidden() {
        let new = session(&["DE".parse().unwrap()], false);
        let sent = Session {
            id: "s-1".parse().unwrap(),
            guest_id: new.guest().unwrap().clone(),
            access_token: "canary-access".into(),
            refresh_token: "canary-refresh".into(),
            websocket_url: "wss://gateway.example/api/v2/webmessaging/guest-sessions/s-1/socket".to_owned(),
            expires_at: when(),
            created_at: when(),
            consent: new.data().consent().clone(),
        };
        let read = Create(&new).reply(answer(201, sent.to_body())).unwrap();
        assert_eq!(read.access_token.expose_secret(), "canary-access");
        assert_eq!(read.refresh_token.expose_secret(), "canary-refresh");
        assert_eq!(read.consent, sent.consent);
        assert_eq!(
            (read.id, read.websocket_url),
            (sent.id.clone(), sent.websocket_url.clone())
        );
        assert!(!format!("{sent:?}").contains("canary"));

        let broken = answer(201, Bytes::from_static(br#"{"accessToken":"canary-access"}"#));
        let error = Create(&new).reply(broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[test]
    fn a_refusal_reaches_the_caller_with_its_code() {
        let new = session(&["DE".parse().unwrap()], false);
        for (status, code) in [(422, "consent.required"), (409, "guest.id.in.use")] {
            let body = serde_json::to_vec(&Problem::new(status, code, "no")).unwrap();
            let error = Create(&new).reply(answer(status, body)).unwrap_err();
            let problem = error.problem().unwrap();
            assert_eq!((problem.status, problem.code.as_str()), (status, code));
        }
    }

    #[test]
    fn a_change_is_written_and_read_and_dated() {
        let id: SessionId = "s-1".parse().unwrap();
        let change = ConsentChange::new(Evidence::at(when())).withdrawing(Purpose::Marketing);
        let request = ChangeConsent {
            id: &id,
            change: &change,
        }
        .request(&host());
        assert_eq!(request.method(), Method::PATCH);
        assert_eq!(
            request.uri(),
            "https://gateway.example/api/v2/webmessaging/guest-sessions/s-1/consent"
        );
        assert_eq!(
            request.body(),
            r#"{"marketing":false,"consentTimestamp":"2026-11-22T12:30:00.000Z"}"#
        );
        assert_eq!(
            guest_sessions::parse_consent_change(request.body(), when()),
            Ok(change)
        );
    }

    #[test]
    fn the_other_calls_name_their_session() {
        let id: SessionId = "s-1".parse().unwrap();
        let target = |request: Request<Bytes>| {
            let path = request.uri().path().strip_prefix(PATH).map(str::to_owned);
            (request.method().clone(), path.unwrap())
        };
        assert_eq!(
            target(Fetch(&id).request(&host())),
            (Method::GET, "/s-1".to_owned())
        );
        assert_eq!(
            target(End(&id).request(&host())),
            (Method::DELETE, "/s-1".to_owned())
        );
        assert_eq!(
            target(AuditTrail(&id).request(&host())),
            (Method::GET, "/s-1/audit".to_owned())
        );
        assert_eq!(
            target(MetricsSnapshot.request(&host())),
            (Method::GET, "/metrics".to_owned())
        );
        assert!(End(&id).reply(answer(204, Bytes::new())).is_ok());
        assert!(End(&id).reply(answer(404, Bytes::new())).is_err());
    }

    #[test]
    fn a_view_survives_the_wire() {
        let view = SessionView {
            id: "s-1".parse().unwrap(),
            guest_id: "guest".parse().unwrap(),
            state: SessionState::Ended,
            created_at: when(),
            expires_at: when(),
            ended_at: Some(when()),
            end_reason: None,
            consent: session(&[], false).data().consent().clone(),
        };
        let json = serde_json::to_vec(&view).unwrap();
        let text = std::str::from_utf8(&json).unwrap();
        assert!(
            text.contains(r#""state":"ended""#) && text.contains(r#""endedAt":"2026-11-22T12:30:00.000Z""#)
        );
        assert!(!text.contains("endReason"));
        let id: SessionId = "s-1".parse().unwrap();
        assert_eq!(Fetch(&id).reply(answer(200, json)).unwrap(), view);
    }
}
