//! The REST calls of the contract, as values. [`RestClient::call`](super::RestClient::call) sends them.

use std::fmt;
use std::str::FromStr;

use audit::Entry;
use audit::proof::{ConsistencyProof, InclusionProof};
use bytes::Bytes;
use genesys_api::{
    Call, GuestId, Host, IdempotencyKey, ReplyError, SessionId, WebhookId, json, parse_rfc3339,
};
use guest_conversation::Message;
use guest_payload::{ConsentChange, NewSession};
use http::{Request, Response};
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use session_metrics::Snapshot;
use url::form_urlencoded;
use web_messaging::rest::sign_in::OauthResult;
use webhook::Subscription;

use super::conversation::message;
use crate::{
    AttemptInfo, AuditLines, AuditQuery, AuditTrail, ConsentChangeBody, ConsentRecords, CreatedSession,
    DeliveryInfo, DeliveryPage, DeliveryPageQuery, ErasedGuest, ErasureKey, GuestErasureBody, GuestQueryBody,
    GuestReport, HistoryQuery, MessageBody, MessagePage, Operation, PreviewBody, ProofQuery, RefreshBody,
    RefreshedTokens, ReplayBody, Replayed, SessionInfo, SignInBody, SubscriptionBody, Webhook, WebhookList,
    WebhookPreview,
};

/// A call of the contract. `Debug` shows no body, which may contain a secret.
#[must_use = "a call has no effect until it is sent"]
pub struct GatewayCall<T, const IDEMPOTENT: bool = true> {
    operation: Operation,
    id: String,
    /// The id of a delivery.
    inner_id: String,
    query: Option<String>,
    body: Option<Box<RawValue>>,
    key: Option<IdempotencyKey>,
    parse: Parse<T>,
}

/// The place of the id of a delivery in a path.
const DELIVERY: &str = "{deliveryId}";

/// Parses the response to a call about the session or webhook of an id.
type Parse<T> = fn(&str, Response<Bytes>) -> Result<T, ReplyError>;

impl<T, const IDEMPOTENT: bool> GatewayCall<T, IDEMPOTENT> {
    fn new(operation: Operation, id: &str, parse: Parse<T>) -> Self {
        Self {
            operation,
            id: id.to_owned(),
            inner_id: String::new(),
            query: None,
            body: None,
            key: None,
            parse,
        }
    }

    fn with_body(mut self, body: &impl Serialize) -> Self {
        self.body = Some(to_raw_value(body).expect("plain structs with text keys serialize"));
        self
    }
}

impl<T, const IDEMPOTENT: bool> Call for GatewayCall<T, IDEMPOTENT> {
    type Reply = T;
    const IDEMPOTENT: bool = IDEMPOTENT;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let method = self.operation.method();
        // an id of ours has no character that needs encoding
        let mut path = self.operation.path().replace("{id}", &self.id);
        if path.contains(DELIVERY) {
            let inner = form_urlencoded::byte_serialize(self.inner_id.as_bytes()).collect::<String>();
            path = path.replace(DELIVERY, &inner);
        }
        if let Some(query) = &self.query {
            path = format!("{path}?{query}");
        }
        let mut request = match &self.body {
            Some(body) => json::with_body(method, host, &path, body),
            None => json::request(method, host, &path),
        };
        if let Some(key) = &self.key {
            let value = key.header_value();
            request.headers_mut().insert(IdempotencyKey::HEADER, value);
        }
        request
    }

    fn reply(&self, response: Response<Bytes>) -> Result<T, ReplyError> {
        (self.parse)(&self.id, response)
    }
}

impl<T, const IDEMPOTENT: bool> fmt::Debug for GatewayCall<T, IDEMPOTENT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayCall")
            .field("operation", &self.operation)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Creates a session. Idempotent by its key: a repetition brings the same session with the same tokens, as long as they are
/// unused.
pub fn create_session(new: &NewSession, key: IdempotencyKey) -> GatewayCall<CreatedSession> {
    GatewayCall {
        key: Some(key),
        ..GatewayCall::new(Operation::CreateSession, "", parse_json).with_body(new)
    }
}

/// Reads messages of a conversation, as the guest: send it with the access token of the session as the bearer token of
/// [`Client::call`](genesys_http::Client::call).
pub fn fetch_messages(id: &SessionId, query: &HistoryQuery) -> GatewayCall<History> {
    let parse: Parse<History> = |_, response| {
        parse_with(response, "messages", |bytes| {
            let page: MessagePage<'_> = serde_json::from_slice(bytes).ok()?;
            let dated = |body: &MessageBody<'_>| Some(message(body, None, parse_rfc3339(&body.timestamp)?));
            Some(History {
                messages: page.messages.iter().map(dated).collect::<Option<_>>()?,
                next_page: page.next_page,
            })
        })
    };
    GatewayCall {
        id: id.as_str().to_owned(),
        ..with_query(Operation::FetchMessages, query, parse)
    }
}

/// Messages of a conversation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct History {
    /// The messages, in the order of the query.
    pub messages: Vec<Message>,
    /// Number of the next older page, if there is one.
    pub next_page: Option<u32>,
}

/// Reads a session.
pub fn fetch_session(id: &SessionId) -> GatewayCall<SessionInfo> {
    GatewayCall::new(Operation::FetchSession, id.as_str(), parse_json)
}

/// Exchanges the refresh token that was issued last for a new pair of tokens. A repetition with the same key brings the same
/// pair as long as that is unused.
pub fn refresh_session(
    id: &SessionId,
    refresh_token: SecretString,
    key: IdempotencyKey,
) -> GatewayCall<RefreshedTokens, false> {
    let parse: Parse<RefreshedTokens> = |id, response| {
        let status = response.status().as_u16();
        let tokens: RefreshedTokens = parse_json(id, response)?;
        let expected = "the new tokens of the requested session";
        match tokens.id.as_str() == id {
            true => Ok(tokens),
            false => Err(ReplyError::Malformed { status, expected }),
        }
    };
    let body = RefreshBody { refresh_token };
    GatewayCall {
        key: Some(key),
        ..GatewayCall::new(Operation::RefreshSession, id.as_str(), parse).with_body(&body)
    }
}

/// Changes the consent of a live session. The change must name a purpose. Idempotent, because the body has the time of
/// the choice.
pub fn change_consent(id: &SessionId, change: &ConsentChange) -> GatewayCall<SessionInfo> {
    GatewayCall::new(Operation::ChangeConsent, id.as_str(), parse_json).with_body(&ConsentChangeBody(change))
}

/// Signs the guest of a session in by an authorization code, which works once.
pub fn sign_in(id: &SessionId, result: OauthResult) -> GatewayCall<(), false> {
    GatewayCall::new(Operation::SignIn, id.as_str(), ignore_body).with_body(&SignInBody(result))
}

/// Signs the guest of a session out, which ends the session.
pub fn sign_out(id: &SessionId) -> GatewayCall<()> {
    GatewayCall::new(Operation::SignOut, id.as_str(), ignore_body)
}

/// Ends a session.
pub fn end_session(id: &SessionId) -> GatewayCall<()> {
    GatewayCall::new(Operation::EndSession, id.as_str(), ignore_body)
}

/// Reads a page of the audit entries of a session, newest first.
///
/// `next` of the page is `before` of the query for the next one.
pub fn fetch_audit_trail(id: &SessionId, query: AuditQuery) -> GatewayCall<AuditTrail<Entry>> {
    let parse: Parse<AuditTrail<Entry>> = |_, response| {
        parse_with(response, "the audit trail of a guest session", |bytes| {
            let trail: AuditTrail<&RawValue> = serde_json::from_slice(bytes).ok()?;
            trail.try_map(|entry| Entry::parse(entry.get().as_bytes())).ok()
        })
    };
    GatewayCall {
        id: id.as_str().to_owned(),
        ..with_query(Operation::FetchAuditTrail, &query, parse)
    }
}

/// Reads a page of the whole audit log, oldest entry first. Each line is kept byte for byte.
pub fn fetch_audit_entries(query: AuditQuery) -> GatewayCall<AuditLines<Box<RawValue>>> {
    with_query(Operation::FetchAuditEntries, &query, parse_json)
}

/// Signs the audit log and reads the signed note, or reads the one over `size` entries.
pub fn fetch_audit_checkpoint(size: Option<u64>) -> GatewayCall<String> {
    let query = ProofQuery {
        size,
        ..ProofQuery::default()
    };
    with_query(Operation::FetchAuditCheckpoint, &query, parse_text)
}

/// Reads the proof that an entry is under the newest checkpoint, or under the one over `size` entries.
pub fn fetch_audit_proof(entry: u64, size: Option<u64>) -> GatewayCall<InclusionProof> {
    let query = ProofQuery {
        entry: Some(entry),
        size,
        ..ProofQuery::default()
    };
    with_query(Operation::FetchAuditProof, &query, parse_text)
}

/// Reads the proof that the first `old` entries did not change until the newest checkpoint, or the one over `size`.
pub fn fetch_audit_consistency(old: u64, size: Option<u64>) -> GatewayCall<ConsistencyProof> {
    let query = ProofQuery {
        old: Some(old),
        size,
        ..ProofQuery::default()
    };
    with_query(Operation::FetchAuditConsistency, &query, parse_text)
}

/// Reads a page of the consent records of all sessions, or of the receipts for their guests. Each is kept byte for byte.
pub fn fetch_consent_records(
    after: Option<&SessionId>,
    receipts: bool,
) -> GatewayCall<ConsentRecords<Box<RawValue>>> {
    // an id has no character that needs encoding
    let after = after.map_or_else(String::new, |after| format!("&after={after}"));
    with_query(
        Operation::FetchConsentRecords,
        &format!("receipts={receipts}{after}"),
        parse_json,
    )
}

/// Reads a page of what is held about a guest, which begins after a session.
pub fn fetch_guest(guest: &GuestId, after: Option<&SessionId>) -> GatewayCall<GuestReport> {
    let body = GuestQueryBody {
        guest_id: guest.clone(),
        after: after.cloned(),
    };
    GatewayCall::new(Operation::FetchGuest, "", parse_json).with_body(&body)
}

/// Erases every session of a guest. Idempotent by its key: a repetition erases what remains and brings the whole proof.
pub fn erase_guest(guest: &GuestId, key: &ErasureKey) -> GatewayCall<ErasedGuest> {
    let body = GuestErasureBody {
        guest_id: guest.clone(),
    };
    GatewayCall {
        key: Some(key.as_key().clone()),
        ..GatewayCall::new(Operation::EraseGuest, "", parse_json).with_body(&body)
    }
}

/// Reads the metrics of all sessions.
pub fn fetch_metrics() -> GatewayCall<Snapshot> {
    GatewayCall::new(Operation::FetchMetrics, "", parse_json)
}

/// Registers a webhook, unless one of the same name and content exists: then that one is returned, and nothing changes.
/// A webhook of the same name and other content is refused with 409 `webhook.name.in.use`.
///
/// The webhook has its secret only if the call created it, or repeats the one that did with the same key. If the secret is
/// lost, remove the webhook and register it again.
pub fn register_webhook(subscription: &Subscription, key: IdempotencyKey) -> GatewayCall<Webhook> {
    let body = SubscriptionBody(subscription);
    GatewayCall {
        key: Some(key),
        ..GatewayCall::new(Operation::RegisterWebhook, "", parse_webhook).with_body(&body)
    }
}

/// Reads all webhooks of the API client, without their secrets.
pub fn list_webhooks() -> GatewayCall<Vec<Webhook>> {
    GatewayCall::new(Operation::ListWebhooks, "", |_, response| {
        parse_with(response, "a list of webhooks", |bytes| {
            WebhookList::parse(bytes).ok()
        })
    })
}

/// Gives a webhook a new secret. The reply has it, or its public key. The replaced one signs too for 24 hours. After a lost
/// reply send it again: all secrets of the last 24 hours sign.
pub fn rotate_webhook_secret(id: &WebhookId) -> GatewayCall<Webhook, false> {
    GatewayCall::new(Operation::RotateWebhookSecret, id.as_str(), |_, response| {
        parse_with(response, "a webhook with its secret or public key", |bytes| {
            let webhook = Webhook::parse(bytes).ok()?;
            (webhook.secret.is_some() || webhook.public_key.is_some()).then_some(webhook)
        })
    })
}

/// Sends nothing more to a webhook. Its events wait.
pub fn pause_webhook(id: &WebhookId) -> GatewayCall<Webhook> {
    GatewayCall::new(Operation::PauseWebhook, id.as_str(), parse_webhook)
}

/// Sends to a paused or disabled webhook again, at first what waits.
pub fn resume_webhook(id: &WebhookId) -> GatewayCall<Webhook> {
    GatewayCall::new(Operation::ResumeWebhook, id.as_str(), parse_webhook)
}

/// Sends a `test` event to a webhook. The reply is the attempt.
pub fn test_webhook(id: &WebhookId) -> GatewayCall<AttemptInfo, false> {
    GatewayCall::new(Operation::TestWebhook, id.as_str(), parse_json)
}

/// Shows what a webhook would be sent of a session now. Nothing is sent.
pub fn preview_webhook(id: &WebhookId, of: &PreviewBody) -> GatewayCall<WebhookPreview> {
    GatewayCall::new(Operation::PreviewWebhook, id.as_str(), parse_json).with_body(of)
}

/// Reads a page of the deliveries of a webhook.
pub fn list_deliveries(id: &WebhookId, query: DeliveryPageQuery) -> GatewayCall<DeliveryPage> {
    GatewayCall {
        id: id.as_str().to_owned(),
        ..with_query(Operation::ListDeliveries, &query, parse_json)
    }
}

/// Reads a delivery with its attempts and their responses.
pub fn fetch_delivery(id: &WebhookId, delivery: &str) -> GatewayCall<DeliveryInfo> {
    of_delivery(Operation::FetchDelivery, id, delivery)
}

/// Sends a dead or delivered delivery again.
pub fn replay_delivery(id: &WebhookId, delivery: &str) -> GatewayCall<Replayed, false> {
    of_delivery(Operation::ReplayDelivery, id, delivery)
}

/// Sends dead deliveries again.
pub fn replay_deliveries(id: &WebhookId, body: ReplayBody) -> GatewayCall<Replayed, false> {
    GatewayCall::new(Operation::ReplayDeliveries, id.as_str(), parse_json).with_body(&body)
}

fn of_delivery<T: DeserializeOwned, const IDEMPOTENT: bool>(
    operation: Operation,
    id: &WebhookId,
    delivery: &str,
) -> GatewayCall<T, IDEMPOTENT> {
    GatewayCall {
        inner_id: delivery.to_owned(),
        ..GatewayCall::new(operation, id.as_str(), parse_json)
    }
}

/// Replaces the subscription of a webhook. Its secret stays.
pub fn replace_webhook(id: &WebhookId, subscription: &Subscription) -> GatewayCall<Webhook> {
    let body = SubscriptionBody(subscription);
    GatewayCall::new(Operation::ReplaceWebhook, id.as_str(), parse_webhook).with_body(&body)
}

/// Removes a webhook, and its outstanding deliveries.
pub fn remove_webhook(id: &WebhookId) -> GatewayCall<()> {
    GatewayCall::new(Operation::RemoveWebhook, id.as_str(), ignore_body)
}

fn with_query<T>(operation: Operation, query: &impl fmt::Display, parse: Parse<T>) -> GatewayCall<T> {
    GatewayCall {
        query: Some(query.to_string()),
        ..GatewayCall::new(operation, "", parse)
    }
}

fn parse_text<T: FromStr>(_: &str, response: Response<Bytes>) -> Result<T, ReplyError> {
    parse_with(response, "a checkpoint or a proof of the audit log", |bytes| {
        std::str::from_utf8(bytes).ok()?.parse().ok()
    })
}

fn parse_json<T: DeserializeOwned>(_: &str, response: Response<Bytes>) -> Result<T, ReplyError> {
    json::reply(response, "a body of the guest-sessions contract")
}

fn ignore_body(_: &str, response: Response<Bytes>) -> Result<(), ReplyError> {
    json::accepted(response).map(drop)
}

fn parse_webhook(_: &str, response: Response<Bytes>) -> Result<Webhook, ReplyError> {
    parse_with(response, "a webhook", |bytes| Webhook::parse(bytes).ok())
}

fn parse_with<T>(
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
    use std::collections::BTreeMap;

    use genesys_api::Problem;
    use guest_payload::{Choice, Consent, Evidence, NewGuest, Policy, Signals};
    use http::Method;
    use secrecy::ExposeSecret as _;
    use webhook::{Conditions, EventName, Secret, SignatureVersion};

    use super::*;

    fn host() -> Host {
        "https://gateway.example".parse().unwrap()
    }

    fn key() -> IdempotencyKey {
        "k-0".parse().unwrap()
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
            ordered: false,
            events: EventName::ALL.into_iter().collect(),
            conditions: Conditions::default(),
            fields: BTreeMap::new(),
            headers: webhook::CustomHeaders::default(),
            signature: SignatureVersion::V1,
        }
    }

    #[test]
    fn request_has_method_and_path_of_its_operation() {
        let (session, webhook): (SessionId, WebhookId) = ("s-1".parse().unwrap(), "w-1".parse().unwrap());
        let subscription = subscription();
        for (request, method, path) in [
            (
                fetch_session(&session).request(&host()),
                Method::GET,
                "/api/v2/webmessaging/guest-sessions/s-1",
            ),
            (
                end_session(&session).request(&host()),
                Method::DELETE,
                "/api/v2/webmessaging/guest-sessions/s-1",
            ),
            (
                fetch_audit_trail(&session, AuditQuery::default()).request(&host()),
                Method::GET,
                "/api/v2/webmessaging/guest-sessions/s-1/audit",
            ),
            (
                fetch_metrics().request(&host()),
                Method::GET,
                "/api/v2/webmessaging/guest-sessions/metrics",
            ),
            (
                register_webhook(&subscription, key()).request(&host()),
                Method::POST,
                "/api/v2/webhooks",
            ),
            (
                replace_webhook(&webhook, &subscription).request(&host()),
                Method::PUT,
                "/api/v2/webhooks/w-1",
            ),
            (
                preview_webhook(&webhook, &PreviewBody::Session(session.clone())).request(&host()),
                Method::POST,
                "/api/v2/webhooks/w-1/preview",
            ),
            (
                remove_webhook(&webhook).request(&host()),
                Method::DELETE,
                "/api/v2/webhooks/w-1",
            ),
        ] {
            assert_eq!((request.method(), request.uri().path()), (&method, path));
        }
    }

    #[test]
    fn create_session_sends_the_opt_out_signal() {
        for gpc in [false, true] {
            let session = new_session(gpc);
            let request = create_session(&session, key()).request(&host());
            assert_eq!(request.headers()["content-type"], "application/json");
            assert_eq!(request.headers()["idempotency-key"], "\"k-0\"");
            let guest = NewGuest::parse(
                request.body(),
                Signals::default(),
                session.data().consent().recorded_at,
            )
            .unwrap();
            assert_eq!(guest.signals, Signals { gpc });
            assert_eq!(&guest.channel, session.channel());
        }
    }

    #[test]
    fn refusal_has_the_code_of_the_gateway_and_a_malformed_reply_no_secret() {
        let session = new_session(false);
        let problem = serde_json::to_vec(&Problem::new(422, "consent.required", "no")).unwrap();
        let error = create_session(&session, key())
            .reply(response(422, problem))
            .unwrap_err();
        assert_eq!(error.problem().unwrap().code, "consent.required");
        let broken = response(201, &br#"{"accessToken":"canary"}"#[..]);
        let error = create_session(&session, key()).reply(broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[test]
    fn tokens_of_another_session_are_malformed() {
        let call = refresh_session(&"s-1".parse().unwrap(), "r-0".into(), key());
        assert_eq!(call.request(&host()).headers()["idempotency-key"], "\"k-0\"");
        assert!(!format!("{call:?}").contains("r-0"));
        let body = |id| {
            format!(
                r#"{{"id":"{id}","accessToken":"a","refreshToken":"r","expiresAt":"2026-11-22T14:00:00Z","expiresIn":3600,"refreshExpiresIn":86400}}"#
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
            public_key: None,
            status: None,
        };
        let body = serde_json::to_vec(&webhook).unwrap();
        let created = register_webhook(&subscription, key())
            .reply(response(201, body))
            .unwrap();
        assert!(created.secret.is_some());
        let webhook = Webhook {
            secret: None,
            ..webhook
        };
        let body = serde_json::to_vec(&webhook).unwrap();
        let known = register_webhook(&subscription, key())
            .reply(response(200, body))
            .unwrap();
        assert!(known.secret.is_none());
        assert_eq!((known.id, known.subscription), (webhook.id, subscription));
    }

    #[test]
    fn audit_trail_is_parsed_into_entries() {
        let id: SessionId = "s-1".parse().unwrap();
        let query = AuditQuery {
            before: Some(7),
            ..AuditQuery::default()
        };
        let call = fetch_audit_trail(&id, query);
        assert_eq!(call.request(&host()).uri().query(), Some("limit=100&before=7"));
        let read = |body: &'static str| call.reply(response(200, body));
        let last = read(r#"{"entries":[]}"#).unwrap();
        assert!(last.entries.is_empty() && last.next.is_none(), "{last:?}");
        assert_eq!(read(r#"{"entries":[],"next":3}"#).unwrap().next, Some(3));
        for body in [
            "{}",
            r#"{"entries":[{}]}"#,
            r#"{"entries":{}}"#,
            r#"{"entries":[],"next":"3"}"#,
        ] {
            assert!(matches!(read(body), Err(ReplyError::Malformed { .. })), "{body}");
        }
    }
}
