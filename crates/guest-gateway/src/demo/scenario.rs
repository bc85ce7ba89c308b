//! The steps of the scenario.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use audit::Fault;
use audit::files::verify_file;
use genesys_api::{ChannelId, Clock, IdempotencyKey};
use genesys_auth::Credentials;
use guest_conversation::{DeliveryStatus, Event, MessageId, SessionEvent};
use guest_payload::{Age, Attributes, Choice, Consent, ConsentChange, Evidence, Purpose, Signals};
use guest_sessions::client::calls::refresh_session;
use guest_suite::{AuditQuery, ErrorKind, GuestSession, GuestSessions, NewGuest, RemoteConfig};
use secrecy::ExposeSecret as _;
use webhook::{Conditions, EventName, SignatureVersion, Subscription};
use ws_transport::{AdmittedOrigin, OriginPolicy};

use super::crm::Delivery;
use super::report::{Checked, Report, ensure, within_timeout};
use super::servers::{CHANNEL, CLIENT, ORIGIN, Servers};

/// The action whose entry is altered in a copy of the audit log.
/// The events of the tutorial.
const EVENTS: [EventName; 3] = [EventName::Created, EventName::Updated, EventName::Ended];
const WITHDRAWN: &str = "consent.withdrawn";
/// Number of messages, each of which is acknowledged and answered.
const MESSAGES: usize = 3;
const WRONG_ORIGIN: &str = "https://shop.example.evil.example";

/// Runs the scenario and reports its steps.
pub(crate) async fn run(servers: &Servers, prints_steps: bool) -> Report {
    let mut report = Report::new(prints_steps);
    // a failed step is in the report and ends the scenario
    let _ = steps(servers, &mut report).await;
    report
}

async fn steps(servers: &Servers, report: &mut Report) -> Option<()> {
    let suite = &report.step_with("token", token(servers)).await?;
    report.step("webhook", webhook(servers, suite)).await?;
    report.step("consent required", refusal(servers, suite)).await?;
    let mut session = report
        .step_with("session created", create(servers, suite))
        .await?;
    let session = &mut session;
    report.step("wrong origin refused", wrong_origin(session)).await?;
    report.step("socket opened", connect(servers, session)).await?;
    report.step("conversation", exchange_messages(session)).await?;
    report
        .step("token rotated", rotate(servers, suite, session))
        .await?;
    report.step("consent withdrawn", withdraw(session)).await?;
    report.step("session ended", end(session)).await?;
    report.step("deliveries", deliveries(servers, session)).await?;
    report.step("metrics", metrics(suite)).await?;
    report.step("audit", audit_log(servers, session)).await
}

async fn token(servers: &Servers) -> Checked<(GuestSessions, String)> {
    let (id, secret) = CLIENT;
    let suite = GuestSessions::remote(RemoteConfig {
        http: servers.http.clone(),
        host: servers.gateway.host().clone(),
        credentials: Credentials::new(id.parse()?, secret.into())?,
    });
    let authenticator = suite.authenticator().ok_or("the suite has no credentials")?;
    authenticator.token().await?;
    authenticator.token().await?;
    let fetches = authenticator.fetches();
    ensure(fetches == 1, format!("{fetches} fetches for two calls"))?;
    let text = "fetched once, second call served from the cache";
    Ok((suite, text.to_owned()))
}

async fn webhook(servers: &Servers, suite: &GuestSessions) -> Checked {
    let subscription = Subscription {
        name: "GuestSessionCRMSync".parse()?,
        target: servers.crm.url().parse()?,
        enabled: true,
        ordered: false,
        events: EVENTS.into(),
        conditions: Conditions::default(),
        fields: BTreeMap::new(),
        headers: webhook::CustomHeaders::parse([("X-Source", "GenesysWebMessaging")])?,
        signature: SignatureVersion::V1,
    };
    let secret = suite.ensure_webhook(&subscription).await?;
    servers
        .crm
        .trust(secret.ok_or("the first registration returned no secret")?);
    let second = suite.ensure_webhook(&subscription).await?.is_some();
    ensure(!second, "the second registration created another webhook")?;
    Ok("CRM webhook registered, second registration changed nothing".to_owned())
}

async fn refusal(servers: &Servers, suite: &GuestSessions) -> Checked {
    let guest = guest(&servers.clock, [Choice::Denied, Choice::Granted, Choice::Granted])?;
    let Err(error) = suite.create(guest).await else {
        return Err("a session was created without the required consent".into());
    };
    let (ErrorKind::ConsentRequired, Some(problem)) = (error.kind(), error.problem()) else {
        return Err(error.into());
    };
    let details = problem.details.iter();
    let missing: Vec<String> = details
        .map(|detail| format!("{} (rule {})", detail.field_name, detail.error_code))
        .collect();
    ensure(
        missing == ["consent.marketing (rule tutorial-strict/EU/marketing)"],
        format!("refused for another reason: {missing:?}"),
    )?;
    let (status, missing) = (problem.status, missing.join(", "));
    Ok(format!(
        "EU guest refused with {status}: {missing} is not granted"
    ))
}

async fn create(servers: &Servers, suite: &GuestSessions) -> Checked<(GuestSession, String)> {
    let session = suite.create(guest(&servers.clock, [Choice::Granted; 3])?).await?;
    let info = session.info().await?;
    let is_as_requested = info.ended_at.is_none() && info.consent.purpose(Purpose::Marketing).is_on();
    ensure(is_as_requested, "the session differs from the request")?;
    let policy = format!("{} {}", info.consent.policy, info.consent.policy_version);
    Ok((session, format!("with consent under policy {policy}")))
}

async fn wrong_origin(session: &mut GuestSession) -> Checked {
    match within_timeout(session.connect(origin(WRONG_ORIGIN)?)).await? {
        Ok(()) => Err(format!("the socket was opened from {WRONG_ORIGIN}").into()),
        Err(error) if error.kind() == ErrorKind::Invalid => {
            Ok(format!("403 before the upgrade for {WRONG_ORIGIN}"))
        }
        Err(error) => Err(error.into()),
    }
}

async fn connect(servers: &Servers, session: &mut GuestSession) -> Checked {
    within_timeout(session.connect(origin(ORIGIN)?)).await??;
    let conversations = servers.gateway.conversations();
    let text = format!("expected 1 conversation, the gateway has {conversations}");
    ensure(conversations == 1, text)?;
    Ok(format!("from {ORIGIN}, session configured by Genesys"))
}

async fn exchange_messages(session: &mut GuestSession) -> Checked {
    let mut sent = Vec::new();
    for number in 1..=MESSAGES {
        sent.push(session.send(format!("message {number}"))?);
    }
    let replies = await_answers(session, sent).await?;
    Ok(format!(
        "{MESSAGES} messages acknowledged, {replies} replies received"
    ))
}

/// Waits until messages are acknowledged, and as many replies were received. Returns the number of replies.
async fn await_answers(session: &mut GuestSession, mut sent: Vec<MessageId>) -> Checked<usize> {
    let (expected, mut replies) = (sent.len(), 0);
    while !sent.is_empty() || replies < expected {
        match within_timeout(session.next_event()).await? {
            Some(Event::Delivery {
                id,
                status: DeliveryStatus::Delivered { .. },
            }) => sent.retain(|sent| *sent != id),
            Some(Event::Delivery {
                status: DeliveryStatus::Queued | DeliveryStatus::Sending,
                ..
            }) => {}
            Some(Event::Message(_)) => replies += 1,
            Some(Event::Session(SessionEvent::Typing { .. })) => {}
            other => return Err(format!("expected an answer, received {other:?}").into()),
        }
    }
    Ok(replies)
}

async fn rotate(servers: &Servers, suite: &GuestSessions, session: &mut GuestSession) -> Checked {
    // a delivery in progress would time out when the clock is moved
    within_timeout(servers.deliveries_done()).await??;
    let old = session.info().await?.expires_at;
    let mut token_events = session.tokens().events();
    let remaining = old - servers.clock.now().utc;
    let until_refresh = Duration::try_from(remaining - time::Duration::minutes(14))?;
    servers.clock.advance(until_refresh);
    match within_timeout(token_events.next()).await? {
        Some(token_window::Event::Refreshed { .. }) => {}
        other => return Err(format!("expected a token refresh, received {other:?}").into()),
    }
    let new = session.info().await?.expires_at;
    ensure(new > old, "the expiry of the access token is unchanged")?;
    let message = session.send("still here?")?;
    await_answers(session, vec![message]).await?;
    let repeated = rotation_can_be_repeated(servers, suite, session).await?;
    Ok(format!("14 min before expiry, socket still open, {repeated}"))
}

async fn withdraw(session: &GuestSession) -> Checked {
    let info = session.info().await?;
    let evidence = Evidence::at(info.consent.recorded_at + time::Duration::minutes(1));
    let change = ConsentChange::new(evidence).withdrawing(Purpose::Marketing);
    let info = session.update_consent(&change).await?;
    let is_on = info.consent.purpose(Purpose::Marketing).is_on();
    ensure(!is_on, "marketing is still on")?;
    Ok("marketing withdrawn, session continues without it".to_owned())
}

async fn end(session: &mut GuestSession) -> Checked {
    session.end().await?;
    let ended = session.info().await?.end_reason;
    match (ended, session.tokens().refresh_now().await) {
        (Some(reason), Err(_)) => Ok(format!("by the {reason}, its tokens are invalid")),
        (ended, _) => Err(format!("the session is still alive: {ended:?}").into()),
    }
}

async fn deliveries(servers: &Servers, session: &GuestSession) -> Checked {
    let enough = |received: &Vec<Delivery>| {
        let is_received = |name: &EventName| received.iter().any(|delivery| delivery.event == name.as_str());
        EVENTS.iter().all(is_received)
    };
    let received = within_timeout(servers.crm.received(enough)).await?;
    if let Some(forged) = received.iter().find(|delivery| !delivery.is_signature_valid) {
        return Err(format!("delivery {} has no valid signature", forged.id).into());
    }
    for delivery in &received {
        let data = &delivery.data;
        let is_ours = data["id"] == session.id().as_str();
        ensure(is_ours, "a delivery names another session")?;
        let has_attribute = !data["guestAttributes"]["marketing.segment"].is_null();
        ensure(
            delivery.event == EventName::Created.as_str() || !has_attribute,
            "an attribute was delivered after its consent was withdrawn",
        )?;
    }
    let ids: HashSet<&str> = received.iter().map(|delivery| &*delivery.id).collect();
    let (count, ids) = (received.len(), ids.len());
    ensure(
        (count, ids) == (EVENTS.len(), EVENTS.len()),
        format!("expected 3 deliveries, received {count} with {ids} ids"),
    )?;
    within_timeout(servers.deliveries_done()).await??;
    Ok(format!(
        "{count} received by the CRM, all signatures valid, outbox empty"
    ))
}

async fn metrics(suite: &GuestSessions) -> Checked {
    let snapshot = suite.metrics().await?;
    let (Some(drop_off), Some(durations)) = (snapshot.drop_off, snapshot.durations) else {
        return Err("no metrics of the ended session".into());
    };
    ensure(
        (snapshot.sessions, snapshot.ended, drop_off) == (1, 1, 0.0),
        format!("expected one ended session, received {snapshot:?}"),
    )?;
    let stages = snapshot.stages.iter();
    let funnel: Vec<_> = stages
        .map(|figures| format!("{} {}", figures.stage, figures.reached))
        .collect();
    let (funnel, percent) = (funnel.join(" > "), drop_off * 100.0);
    let minutes = durations.mean.as_secs_f64() / 60.0;
    Ok(format!(
        "funnel {funnel}; drop-off {percent:.0} %; duration {minutes:.1} min"
    ))
}

fn guest(clock: &Clock, choices: [Choice; 3]) -> Checked<NewGuest> {
    let now = clock.now().utc;
    let mut attributes = Attributes::default();
    attributes.insert("source", "web")?;
    attributes.insert("marketing.segment", "spring-campaign")?;
    Ok(NewGuest {
        channel: CHANNEL.parse::<ChannelId>()?,
        guest: None,
        jurisdictions: "EU".parse()?,
        age: Age::UNKNOWN,
        consent: Consent::together(choices, Evidence::at(now)),
        signals: Signals::default(),
        attributes,
    })
}

/// The origin of a page as its client presents it. The gateway checks it.
fn origin(text: &str) -> Checked<AdmittedOrigin> {
    Ok(OriginPolicy::new([text])?.admit_own(&text.parse()?)?)
}

/// Repeats a rotation, as after a lost reply, and checks that it brings the same tokens.
async fn rotation_can_be_repeated(
    servers: &Servers,
    suite: &GuestSessions,
    session: &GuestSession,
) -> Checked {
    let client = suite.authenticator().ok_or("the suite has no credentials")?;
    let tokens = session.tokens().tokens();
    let current = tokens.refresh().ok_or("the session has no refresh token")?;
    let call = refresh_session(session.id(), current.clone(), IdempotencyKey::random());
    let first = client.call(&call, servers.gateway.host()).await?;
    let again = client.call(&call, servers.gateway.host()).await?;
    let is_same = first.refresh_token.expose_secret() == again.refresh_token.expose_secret();
    ensure(is_same, "the repeated rotation brought other tokens")?;
    // the manager has not received these tokens, and gets others in their place
    session.tokens().refresh_now().await?;
    Ok("a repeated request returned the same tokens".to_owned())
}

/// Exports the log, verifies it, and checks that verification fails for a copy with one altered byte.
async fn audit_log(servers: &Servers, session: &GuestSession) -> Checked {
    let trail = session.audit_trail(AuditQuery::default()).await?;
    let find = |action: &str| {
        let entry = trail.entries.iter().find(|entry| entry.draft.action == action);
        entry.ok_or_else(|| format!("the audit trail of the session has no {action}"))
    };
    for action in [
        "session.created",
        "token.rotated",
        "token.replayed",
        "session.ended",
    ] {
        find(action)?;
    }
    let withdrawn = find(WITHDRAWN)?;
    let store = &**servers.gateway.store();
    let exported = servers.folder.path().join("audit.jsonl");
    let altered = servers.folder.path().join("altered.jsonl");
    guest_store::export(store, &exported).await?;
    let report = verify_file(&exported, store.verifier_key(), None)?;
    let mut log = std::fs::read(&exported)?;
    let at = log
        .windows(WITHDRAWN.len())
        .position(|window| window == WITHDRAWN.as_bytes());
    log[at.ok_or("the log has no entry about the withdrawn consent")?] ^= 1;
    std::fs::write(&altered, log)?;
    let Err(failure) = verify_file(&altered, store.verifier_key(), None) else {
        return Err("verification passed for the altered copy".into());
    };
    match failure.failure().map(audit::Failure::first) {
        Some(fault @ Fault::EntryAltered { seq: found, .. }) if *found == withdrawn.seq => Ok(format!(
            "{} entries verified against {} signed checkpoints, alteration detected: {fault}",
            report.entries, report.checkpoints
        )),
        _ => Err(failure.into()),
    }
}
