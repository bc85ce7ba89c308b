//! The steps.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use genesys_api::{ChannelId, Clock};
use genesys_auth::Credentials;
use guest_conversation::Event;
use guest_payload::{Age, Attributes, Choice, Consent, ConsentChange, Evidence, Purpose, Signals};
use guest_suite::{ErrorKind, GuestSession, GuestSessions, NewGuest, RemoteConfig};
use webhook::{EventName, Subscription};
use ws_transport::{AdmittedOrigin, OriginPolicy};

use super::crm::Delivery;
use super::proof::{advance, audit, old_refresh_token_is_refused};
use super::report::{Report, Stopped, Told, Unverified};
use super::servers::{CHANNEL, CLIENT, ORIGIN, Servers};

/// How long an effect may take to show, in real time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages sent, each to be acknowledged and answered.
const MESSAGES: usize = 3;
/// The page that is not on the list.
const STRANGER: &str = "https://shop.example.evil.example";

type Verified<T> = Result<(T, String), Unverified>;

/// Walks the road and tells it as `told` says.
pub async fn walk(servers: &Servers, told: Told) -> Report {
    let mut report = Report::new(told);
    // a step that failed is in the report, and ends the walk
    let _stopped = steps(servers, &mut report).await;
    report
}

async fn steps(servers: &Servers, report: &mut Report) -> Result<(), Stopped> {
    let suite = &report.step("token", token(servers)).await?;
    report.step("webhook", webhook(servers, suite)).await?;
    report.step("consent needed", refusal(servers, suite)).await?;
    let mut session = report.step("session created", create(servers, suite)).await?;
    report.step("stranger refused", stranger(&mut session)).await?;
    report
        .step("socket opened", connect(servers, &mut session))
        .await?;
    report.step("conversation", converse(&mut session)).await?;
    report
        .step("token rotated", rotate(servers, &mut session))
        .await?;
    report.step("consent withdrawn", withdraw(&session)).await?;
    report.step("session ended", end(&mut session)).await?;
    report.step("deliveries", deliveries(servers, &session)).await?;
    report.step("metrics", metrics(suite)).await?;
    report.step("audit", audit(servers, &session)).await
}

async fn token(servers: &Servers) -> Verified<GuestSessions> {
    let (id, secret) = CLIENT;
    let suite = GuestSessions::remote(RemoteConfig {
        http: servers.http(),
        host: servers.gateway_host().clone(),
        credentials: Credentials::new(id.parse()?, secret.into())?,
    });
    suite.authenticate().await?;
    suite.authenticate().await?;
    match suite.token_fetches() {
        1 => Ok((
            suite,
            "fetched once; the second call was served from the cache".to_owned(),
        )),
        fetches => Err(unverified(format!("two calls made {fetches} fetches"))),
    }
}

async fn webhook(servers: &Servers, suite: &GuestSessions) -> Verified<()> {
    let subscription = Subscription {
        name: "GuestSessionCRMSync".parse()?,
        target: servers.crm.url().parse()?,
        enabled: true,
        events: EventName::ALL.into_iter().collect(),
        headers: webhook::CustomHeaders::parse([("X-Source", "GenesysWebMessaging")])?,
    };
    let secret = suite.ensure_webhook(&subscription).await?;
    servers
        .crm
        .trust(secret.ok_or_else(|| unverified("the first registration brought no secret"))?);
    match suite.ensure_webhook(&subscription).await? {
        None => Ok((
            (),
            "CRM webhook registered; registering it again changed nothing".to_owned(),
        )),
        Some(_) => Err(unverified("the second registration made another webhook")),
    }
}

async fn refusal(servers: &Servers, suite: &GuestSessions) -> Verified<()> {
    let guest = guest(&servers.clock, [Choice::Denied, Choice::Granted, Choice::Granted])?;
    let Err(error) = suite.create(guest).await else {
        return Err(unverified("a session was created without the needed consent"));
    };
    let (ErrorKind::ConsentRequired, Some(problem)) = (error.kind(), error.problem()) else {
        return Err(error.into());
    };
    let missing: Vec<String> = problem
        .details
        .iter()
        .map(|detail| format!("{} (rule {})", detail.field_name, detail.error_code))
        .collect();
    if missing != ["consent.marketing (rule tutorial-strict/EU/marketing)"] {
        return Err(unverified(format!("refused for another reason: {missing:?}")));
    }
    Ok((
        (),
        format!(
            "EU guest refused with {}: {} is not granted",
            problem.status,
            missing.join(", ")
        ),
    ))
}

async fn create(servers: &Servers, suite: &GuestSessions) -> Verified<GuestSession> {
    let session = suite.create(guest(&servers.clock, [Choice::Granted; 3])?).await?;
    let info = session.info().await?;
    if info.ended_at.is_some() || !info.consent.purpose(Purpose::Marketing).on {
        return Err(unverified("the session is not as it was asked for"));
    }
    let policy = format!("{} {}", info.consent.policy(), info.consent.policy_version());
    Ok((session, format!("with consent, under the policy {policy}")))
}

async fn stranger(session: &mut GuestSession) -> Verified<()> {
    match soon(session.connect(origin(STRANGER)?)).await? {
        Ok(()) => Err(unverified(format!("the socket was opened from {STRANGER}"))),
        Err(error) if error.kind() == ErrorKind::Invalid => {
            Ok(((), format!("403 before the upgrade, for {STRANGER}")))
        }
        Err(error) => Err(error.into()),
    }
}

async fn connect(servers: &Servers, session: &mut GuestSession) -> Verified<()> {
    soon(session.connect(origin(ORIGIN)?)).await??;
    match servers.gateway.conversations() {
        1 => Ok((
            (),
            format!("from {ORIGIN}, and Genesys has configured the session"),
        )),
        conversations => Err(unverified(format!(
            "the gateway holds {conversations} conversations in place of 1"
        ))),
    }
}

async fn converse(session: &mut GuestSession) -> Verified<()> {
    let mut waiting = Vec::new();
    for number in 1..=MESSAGES {
        waiting.push(session.send(&format!("message {number}"))?);
    }
    let mut replies = 0;
    while !waiting.is_empty() || replies < MESSAGES {
        match soon(session.next_event()).await? {
            Some(Event::Accepted { id, .. }) => waiting.retain(|sent| *sent != id),
            Some(Event::Message(_)) => replies += 1,
            Some(Event::Typing { .. }) => {}
            other => return Err(unverified(format!("in place of an answer came {other:?}"))),
        }
    }
    Ok((
        (),
        format!("{MESSAGES} messages sent and acknowledged, {replies} replies of the agent received"),
    ))
}

async fn rotate(servers: &Servers, session: &mut GuestSession) -> Verified<()> {
    let old = session.info().await?.expires_at;
    let old_tokens = session.tokens().tokens();
    let mut renewals = session.tokens().events();
    let remaining = old - servers.clock.now().utc;
    advance(servers, remaining - time::Duration::minutes(14)).await?;
    match soon(renewals.next()).await? {
        Some(token_window::Event::Refreshed { .. }) => {}
        other => return Err(unverified(format!("in place of a renewal came {other:?}"))),
    }
    let new = session.info().await?.expires_at;
    if new <= old {
        return Err(unverified("the access token's end has not moved"));
    }
    session.send("still here?")?;
    let (mut accepted, mut answered) = (false, false);
    while !(accepted && answered) {
        match soon(session.next_event()).await? {
            Some(Event::Accepted { .. }) => accepted = true,
            Some(Event::Message(_)) => answered = true,
            Some(Event::Typing { .. }) => {}
            other => return Err(unverified(format!("the socket did not stay open: {other:?}"))),
        }
    }
    let refresh = old_tokens
        .refresh()
        .ok_or_else(|| unverified("the session had no refresh token"))?;
    let refused = old_refresh_token_is_refused(servers, session, refresh).await?;
    Ok((
        (),
        format!("14 minutes before its end, the socket stayed open; the old refresh token: {refused}"),
    ))
}

async fn withdraw(session: &GuestSession) -> Verified<()> {
    let info = session.info().await?;
    let evidence = Evidence::at(info.consent.recorded_at() + time::Duration::minutes(1));
    let change = ConsentChange::new(evidence).withdrawing(Purpose::Marketing);
    let info = session.update_consent(&change).await?;
    if info.consent.purpose(Purpose::Marketing).on {
        return Err(unverified("marketing is still on"));
    }
    Ok((
        (),
        "marketing withdrawn; the session goes on without it".to_owned(),
    ))
}

async fn end(session: &mut GuestSession) -> Verified<()> {
    session.end().await?;
    let ended = session.info().await?.end_reason;
    match (ended, session.rotate_now().await) {
        (Some(reason), Err(_)) => Ok(((), format!("by the {reason}; its tokens work no more"))),
        (ended, _) => Err(unverified(format!("the session is still alive: {ended:?}"))),
    }
}

async fn deliveries(servers: &Servers, session: &GuestSession) -> Verified<()> {
    let enough = |received: &Vec<Delivery>| {
        EventName::ALL
            .iter()
            .all(|name| received.iter().any(|delivery| delivery.event == name.as_str()))
    };
    let received = soon(servers.crm.received(enough)).await?;
    if let Some(forged) = received.iter().find(|delivery| !delivery.genuine) {
        return Err(unverified(format!(
            "delivery {} has no valid signature",
            forged.id
        )));
    }
    if received
        .iter()
        .any(|delivery| delivery.data["id"] != session.id().as_str())
    {
        return Err(unverified("a delivery is about another session"));
    }
    let after = received
        .iter()
        .filter(|delivery| delivery.event != EventName::Created.as_str());
    if after
        .into_iter()
        .any(|delivery| !delivery.data["guestAttributes"]["marketing.segment"].is_null())
    {
        return Err(unverified(
            "an attribute went out after its consent was withdrawn",
        ));
    }
    let ids: HashSet<&str> = received.iter().map(|delivery| delivery.id.as_str()).collect();
    if (received.len(), ids.len()) != (EventName::ALL.len(), EventName::ALL.len()) {
        return Err(unverified(format!(
            "{} deliveries with {} ids came in place of 3",
            received.len(),
            ids.len()
        )));
    }
    soon(servers.settled()).await??;
    Ok((
        (),
        format!(
            "{} received by the CRM, every signature valid, none left in the outbox",
            received.len()
        ),
    ))
}

async fn metrics(suite: &GuestSessions) -> Verified<()> {
    let snapshot = suite.metrics().await?;
    let (Some(drop_off), Some(durations)) = (snapshot.drop_off, snapshot.durations) else {
        return Err(unverified("a session ended, and there is no figure of it"));
    };
    if (snapshot.sessions, snapshot.ended, drop_off) != (1, 1, 0.0) {
        return Err(unverified(format!(
            "one session that talked and ended is counted as {snapshot:?}"
        )));
    }
    let funnel: Vec<String> = snapshot
        .stages
        .iter()
        .map(|figures| format!("{} {}", figures.stage, figures.reached))
        .collect();
    let minutes = durations.mean.as_secs_f64() / 60.0;
    Ok((
        (),
        format!(
            "funnel {}; drop-off {:.0} %; duration {minutes:.1} min",
            funnel.join(" > "),
            drop_off * 100.0
        ),
    ))
}

fn guest(clock: &Clock, choices: [Choice; 3]) -> Result<NewGuest, Unverified> {
    let now = clock.now().utc;
    let mut attributes = Attributes::new();
    attributes.insert("source", "web")?;
    attributes.insert("marketing.segment", "spring-campaign")?;
    let evidence = Evidence::at(now);
    Ok(NewGuest {
        channel: CHANNEL.parse::<ChannelId>()?,
        guest: None,
        jurisdictions: "EU".parse()?,
        age: Age::UNKNOWN,
        consent: Consent::together(choices, evidence),
        signals: Signals::default(),
        attributes,
    })
}

/// A page's own word for where it comes from; whether it is believed is the gateway's to say.
fn origin(text: &str) -> Result<AdmittedOrigin, Unverified> {
    Ok(OriginPolicy::new([text])?.admit_own(&text.parse()?)?)
}

pub(super) async fn soon<T>(work: impl Future<Output = T>) -> Result<T, Unverified> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .map_err(|_| unverified("nothing came within 5 seconds"))
}

pub(super) fn unverified(what: impl Into<String>) -> Unverified {
    Unverified(what.into())
}
