//! The REST calls of the contract, as values.

use audit::Entry;
use bytes::Bytes;
use genesys_api::{Call, Host, ReplyError, SessionId, WebhookId, json};
use guest_payload::{ConsentChange, NewSession, Signals};
use http::{HeaderValue, Request, Response, StatusCode};
use secrecy::SecretString;
use serde::Serialize;
use session_metrics::Snapshot;
use webhook::{Secret, Subscription};

use crate::{
    AuditTrail, ConsentChangeBody, CreatedSession, Operation, RefreshBody, RefreshedTokens, SessionInfo,
    SubscriptionBody, Webhook,
};

/// Creates a session. Not idempotent: two requests create two sessions.
#[derive(Clone, Copy, Debug)]
pub struct CreateSession<'a>(pub &'a NewSession);

impl Call for CreateSession<'_> {
    type Reply = CreatedSession;
    const IDEMPOTENT: bool = false;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let mut request = with_body(Operation::CreateSession, host, "", self.0);
        if self.0.data().consent().gpc {
            request
                .headers_mut()
                .insert(Signals::HEADER, HeaderValue::from_static("1"));
        }
        request
    }

    fn reply(&self, response: Response<Bytes>) -> Result<CreatedSession, ReplyError> {
        json::reply(response, "a created guest session")
    }
}

/// Reads a session.
#[derive(Clone, Copy, Debug)]
pub struct FetchSession<'a>(pub &'a SessionId);

impl Call for FetchSession<'_> {
    type Reply = SessionInfo;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        bare(Operation::FetchSession, host, self.0.as_str())
    }

    fn reply(&self, response: Response<Bytes>) -> Result<SessionInfo, ReplyError> {
        json::reply(response, "a guest session")
    }
}

/// Exchanges a refresh token for a new pair of tokens. Not idempotent: a refresh token works once.
#[derive(Clone, Copy, Debug)]
pub struct RefreshSession<'a> {
    /// The session.
    pub id: &'a SessionId,
    /// The refresh token that was issued last.
    pub refresh_token: &'a SecretString,
}

impl Call for RefreshSession<'_> {
    type Reply = RefreshedTokens;
    const IDEMPOTENT: bool = false;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let body = RefreshBody {
            refresh_token: self.refresh_token.clone(),
        };
        with_body(Operation::RefreshSession, host, self.id.as_str(), &body)
    }

    fn reply(&self, response: Response<Bytes>) -> Result<RefreshedTokens, ReplyError> {
        let status = response.status().as_u16();
        let tokens: RefreshedTokens = json::reply(response, "the new tokens of a guest session")?;
        if tokens.id != *self.id {
            let expected = "the new tokens of the requested session";
            return Err(ReplyError::Malformed { status, expected });
        }
        Ok(tokens)
    }
}

/// Changes the consent of a live session. Idempotent, because the body has the time of the choice.
#[derive(Clone, Copy, Debug)]
pub struct ChangeConsent<'a> {
    /// The session.
    pub id: &'a SessionId,
    /// The change. One that names no purpose is refused.
    pub change: &'a ConsentChange,
}

impl Call for ChangeConsent<'_> {
    type Reply = SessionInfo;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let body = ConsentChangeBody(self.change);
        with_body(Operation::ChangeConsent, host, self.id.as_str(), &body)
    }

    fn reply(&self, response: Response<Bytes>) -> Result<SessionInfo, ReplyError> {
        json::reply(response, "a guest session")
    }
}

/// Ends a session.
#[derive(Clone, Copy, Debug)]
pub struct EndSession<'a>(pub &'a SessionId);

impl Call for EndSession<'_> {
    type Reply = ();
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        bare(Operation::EndSession, host, self.0.as_str())
    }

    fn reply(&self, response: Response<Bytes>) -> Result<(), ReplyError> {
        json::accepted(response).map(drop)
    }
}

/// Reads the audit entries of a session, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct FetchAuditTrail<'a>(pub &'a SessionId);

impl Call for FetchAuditTrail<'_> {
    type Reply = Vec<Entry>;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        bare(Operation::FetchAuditTrail, host, self.0.as_str())
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Vec<Entry>, ReplyError> {
        read(response, "the audit trail of a guest session", |bytes| {
            let trail: AuditTrail<'_> = serde_json::from_slice(bytes).ok()?;
            let entry = |entry: &&serde_json::value::RawValue| Entry::parse(entry.get().as_bytes()).ok();
            trail.entries.iter().map(entry).collect()
        })
    }
}

/// Reads the metrics of all sessions.
#[derive(Clone, Copy, Debug)]
pub struct FetchMetrics;

impl Call for FetchMetrics {
    type Reply = Snapshot;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        bare(Operation::FetchMetrics, host, "")
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Snapshot, ReplyError> {
        json::reply(response, "a snapshot of session metrics")
    }
}

/// Registers a webhook, unless one of the same name and content exists: then that one is returned, and nothing changes.
/// A webhook of the same name and other content is refused with 409 `webhook.name.in.use`.
///
/// Only the first response has the secret. If it is lost, remove the webhook and register it again.
#[derive(Clone, Copy, Debug)]
pub struct RegisterWebhook<'a>(pub &'a Subscription);

/// A registered webhook.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Registered {
    /// Its id.
    pub id: WebhookId,
    /// Whether the call created it.
    pub created: bool,
    /// The secret of its signatures, if the call created it. It is never returned again.
    pub secret: Option<Secret>,
    /// The subscription.
    pub subscription: Subscription,
}

impl Call for RegisterWebhook<'_> {
    type Reply = Registered;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        with_body(Operation::RegisterWebhook, host, "", &SubscriptionBody(self.0))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Registered, ReplyError> {
        let created = response.status() == StatusCode::CREATED;
        let Webhook {
            id,
            subscription,
            secret,
        } = webhook(response)?;
        Ok(Registered {
            id,
            created,
            secret,
            subscription,
        })
    }
}

/// Replaces the subscription of a webhook. Its secret stays.
#[derive(Clone, Copy, Debug)]
pub struct ReplaceWebhook<'a> {
    /// The webhook.
    pub id: &'a WebhookId,
    /// Its new subscription.
    pub subscription: &'a Subscription,
}

impl Call for ReplaceWebhook<'_> {
    type Reply = Webhook;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let body = SubscriptionBody(self.subscription);
        with_body(Operation::ReplaceWebhook, host, self.id.as_str(), &body)
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Webhook, ReplyError> {
        webhook(response)
    }
}

/// Reads a webhook.
#[derive(Clone, Copy, Debug)]
pub struct FetchWebhook<'a>(pub &'a WebhookId);

impl Call for FetchWebhook<'_> {
    type Reply = Webhook;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        bare(Operation::FetchWebhook, host, self.0.as_str())
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Webhook, ReplyError> {
        webhook(response)
    }
}

/// Reads all webhooks of the API client.
#[derive(Clone, Copy, Debug)]
pub struct ListWebhooks;

impl Call for ListWebhooks {
    type Reply = Vec<Webhook>;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        bare(Operation::ListWebhooks, host, "")
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Vec<Webhook>, ReplyError> {
        read(response, "a list of webhooks", |bytes| {
            Webhook::parse_list(bytes).ok()
        })
    }
}

/// Removes a webhook, and its outstanding deliveries.
#[derive(Clone, Copy, Debug)]
pub struct RemoveWebhook<'a>(pub &'a WebhookId);

impl Call for RemoveWebhook<'_> {
    type Reply = ();
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        bare(Operation::RemoveWebhook, host, self.0.as_str())
    }

    fn reply(&self, response: Response<Bytes>) -> Result<(), ReplyError> {
        json::accepted(response).map(drop)
    }
}

fn bare(operation: Operation, host: &Host, id: &str) -> Request<Bytes> {
    json::request(operation.method(), host, &path(operation, id))
}

fn with_body(operation: Operation, host: &Host, id: &str, body: &impl Serialize) -> Request<Bytes> {
    json::with_body(operation.method(), host, &path(operation, id), body)
}

fn path(operation: Operation, id: &str) -> String {
    // an id has no character that needs encoding
    operation.path().replace("{id}", id)
}

fn webhook(response: Response<Bytes>) -> Result<Webhook, ReplyError> {
    read(response, "a webhook", |bytes| Webhook::parse(bytes).ok())
}

fn read<T>(
    response: Response<Bytes>,
    expected: &'static str,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, ReplyError> {
    let response = json::accepted(response)?;
    let status = response.status().as_u16();
    parse(response.body()).ok_or(ReplyError::Malformed { status, expected })
}

#[cfg(test)]
mod tests {
    use genesys_api::{Problem, parse_rfc3339};
    use guest_payload::{Choice, Consent, Evidence, NewGuest, Policy};
    use http::Method;
    use secrecy::ExposeSecret as _;
    use webhook::EventName;

    use super::*;
    use crate::WebhookList;

    fn host() -> Host {
        "https://gateway.example".parse().unwrap()
    }

    fn response(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
        Response::builder().status(status).body(body.into()).unwrap()
    }

    fn new_session(gpc: bool) -> NewSession {
        let at = parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
        let consent = Consent::together([Choice::Granted; 3], Evidence::at(at));
        let mut guest = NewGuest::new("channel".parse().unwrap(), "DE".parse().unwrap(), consent);
        guest.signals = Signals { gpc };
        guest.decide(Policy::purpose_scoped(), at).unwrap()
    }

    fn subscription() -> Subscription {
        Subscription {
            name: "crm".parse().unwrap(),
            target: "https://crm.example/sync".parse().unwrap(),
            enabled: true,
            events: EventName::ALL.into_iter().collect(),
            headers: webhook::CustomHeaders::default(),
        }
    }

    #[test]
    fn request_has_method_and_path_of_its_operation() {
        let (session, webhook): (SessionId, WebhookId) = ("s-1".parse().unwrap(), "w-1".parse().unwrap());
        let subscription = subscription();
        let replace = ReplaceWebhook {
            id: &webhook,
            subscription: &subscription,
        };
        for (request, method, path) in [
            (
                FetchSession(&session).request(&host()),
                Method::GET,
                "/api/v2/webmessaging/guest-sessions/s-1",
            ),
            (
                EndSession(&session).request(&host()),
                Method::DELETE,
                "/api/v2/webmessaging/guest-sessions/s-1",
            ),
            (
                FetchAuditTrail(&session).request(&host()),
                Method::GET,
                "/api/v2/webmessaging/guest-sessions/s-1/audit",
            ),
            (
                FetchMetrics.request(&host()),
                Method::GET,
                "/api/v2/webmessaging/guest-sessions/metrics",
            ),
            (
                RegisterWebhook(&subscription).request(&host()),
                Method::POST,
                "/api/v2/webhooks",
            ),
            (replace.request(&host()), Method::PUT, "/api/v2/webhooks/w-1"),
            (
                FetchWebhook(&webhook).request(&host()),
                Method::GET,
                "/api/v2/webhooks/w-1",
            ),
            (
                RemoveWebhook(&webhook).request(&host()),
                Method::DELETE,
                "/api/v2/webhooks/w-1",
            ),
            (ListWebhooks.request(&host()), Method::GET, "/api/v2/webhooks"),
        ] {
            assert_eq!((request.method(), request.uri().path()), (&method, path));
        }
    }

    #[test]
    fn create_session_sends_the_opt_out_signal() {
        for gpc in [false, true] {
            let session = new_session(gpc);
            let request = CreateSession(&session).request(&host());
            assert_eq!(Signals::from_headers(request.headers()).gpc, gpc);
            assert_eq!(request.headers()["content-type"], "application/json");
            let guest = NewGuest::parse(
                request.body(),
                Signals { gpc },
                session.data().consent().recorded_at,
            )
            .unwrap();
            assert_eq!(&guest.channel, session.channel());
        }
    }

    #[test]
    fn refusal_has_the_code_of_the_gateway_and_a_malformed_reply_no_secret() {
        let session = new_session(false);
        let problem = serde_json::to_vec(&Problem::new(422, "consent.required", "no")).unwrap();
        let error = CreateSession(&session).reply(response(422, problem)).unwrap_err();
        assert_eq!(error.problem().unwrap().code, "consent.required");
        let broken = response(201, &br#"{"accessToken":"canary"}"#[..]);
        let error = CreateSession(&session).reply(broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[test]
    fn tokens_of_another_session_are_malformed() {
        let call = RefreshSession {
            id: &"s-1".parse().unwrap(),
            refresh_token: &"r-0".into(),
        };
        assert!(!format!("{call:?}").contains("r-0"));
        let body = |id| {
            format!(
                r#"{{"id":"{id}","accessToken":"a","refreshToken":"r","expiresAt":"2026-11-22T14:00:00Z"}}"#
            )
        };
        let tokens = call.reply(response(200, body("s-1"))).unwrap();
        assert_eq!(tokens.refresh_token.expose_secret(), "r");
        let error = call.reply(response(200, body("s-2"))).unwrap_err();
        assert!(matches!(error, ReplyError::Malformed { status: 200, .. }));
    }

    #[test]
    fn webhook_reply_has_a_secret_only_when_created() {
        let subscription = subscription();
        let webhook = Webhook {
            id: "w-1".parse().unwrap(),
            subscription: subscription.clone(),
            secret: Some(Secret::generate([7; 32])),
        };
        let body = serde_json::to_vec(&webhook).unwrap();
        let created = RegisterWebhook(&subscription).reply(response(201, body)).unwrap();
        assert!(created.created && created.secret.is_some());
        let webhook = Webhook {
            secret: None,
            ..webhook
        };
        let body = serde_json::to_vec(&webhook).unwrap();
        let known = RegisterWebhook(&subscription).reply(response(200, body)).unwrap();
        assert!(!known.created && known.secret.is_none());
        assert_eq!((known.id, known.subscription), (webhook.id.clone(), subscription));
        let list = serde_json::to_vec(&WebhookList::from(vec![webhook])).unwrap();
        assert_eq!(ListWebhooks.reply(response(200, list)).unwrap().len(), 1);
        assert!(ListWebhooks.reply(response(200, "[]")).is_err());
    }

    #[test]
    fn audit_trail_is_parsed_into_entries() {
        let id: SessionId = "s-1".parse().unwrap();
        let read = |body: &'static str| FetchAuditTrail(&id).reply(response(200, body));
        assert!(read(r#"{"entries":[]}"#).unwrap().is_empty());
        for body in ["{}", r#"{"entries":[{}]}"#, r#"{"entries":{}}"#] {
            assert!(matches!(read(body), Err(ReplyError::Malformed { .. })), "{body}");
        }
    }
}
