//! The steps of the scenario.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use genesys_api::{ChannelId, Clock};
use genesys_auth::Credentials;
use guest_conversation::{DeliveryStatus, Event, SessionEvent};
use guest_payload::{Age, Attributes, Choice, Consent, ConsentChange, Evidence, Purpose, Signals};
use guest_suite::{ErrorKind, GuestSession, GuestSessions, NewGuest, RemoteConfig};
use webhook::{EventName, Subscription};
use ws_transport::{AdmittedOrigin, OriginPolicy};

use super::checks::{advance, audit, old_refresh_token_is_refused};
use super::crm::Delivery;
use super::report::{CheckFailed, OutputFormat, Report, Stopped};
use super::servers::{CHANNEL, CLIENT, ORIGIN, Servers};

/// Longest wait for an effect, in real time.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Number of messages, each of which is acknowledged and answered.
const MESSAGES: usize = 3;
/// An origin that is not allowed.
const WRONG_ORIGIN: &str = "https://shop.example.evil.example";

type Checked<T> = Result<(T, String), CheckFailed>;

/// Runs the scenario and reports its steps.
pub async fn run(servers: &Servers, format: OutputFormat) -> Report {
    let mut report = Report::new(format);
    // a failed step is in the report and ends the scenario
    let _stopped = steps(servers, &mut report).await;
    report
}

async fn steps(servers: &Servers, report: &mut Report) -> Result<(), Stopped> {
    let suite = &report.step("token", token(servers)).await?;
    report.step("webhook", webhook(servers, suite)).await?;
    report.step("consent required", refusal(servers, suite)).await?;
    let mut session = report.step("session created", create(servers, suite)).await?;
    report
        .step("wrong origin refused", wrong_origin(&mut session))
        .await?;
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

async fn token(servers: &Servers) -> Checked<GuestSessions> {
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
            "fetched once, second call served from the cache".to_owned(),
        )),
        fetches => Err(failed(format!("{fetches} fetches for two calls"))),
    }
}

async fn webhook(servers: &Servers, suite: &GuestSessions) -> Checked<()> {
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
        .trust(secret.ok_or_else(|| failed("the first registration returned no secret"))?);
    match suite.ensure_webhook(&subscription).await? {
        None => Ok((
            (),
            "CRM webhook registered, second registration changed nothing".to_owned(),
        )),
        Some(_) => Err(failed("the second registration created another webhook")),
    }
}

async fn refusal(servers: &Servers, suite: &GuestSessions) -> Checked<()> {
    let guest = guest(&servers.clock, [Choice::Denied, Choice::Granted, Choice::Granted])?;
    let Err(error) = suite.create(guest).await else {
        return Err(failed("a session was created without the required consent"));
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
        return Err(failed(format!("refused for another reason: {missing:?}")));
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

async fn create(servers: &Servers, suite: &GuestSessions) -> Checked<GuestSession> {
    let session = suite.create(guest(&servers.clock, [Choice::Granted; 3])?).await?;
    let info = session.info().await?;
    if info.ended_at.is_some() || !info.consent.purpose(Purpose::Marketing).on {
        return Err(failed("the session differs from the request"));
    }
    let policy = format!("{} {}", info.consent.policy(), info.consent.policy_version());
    Ok((session, format!("with consent under policy {policy}")))
}

async fn wrong_origin(session: &mut GuestSession) -> Checked<()> {
    match within_timeout(session.connect(origin(WRONG_ORIGIN)?)).await? {
        Ok(()) => Err(failed(format!("the socket was opened from {WRONG_ORIGIN}"))),
        Err(error) if error.kind() == ErrorKind::Invalid => {
            Ok(((), format!("403 before the upgrade for {WRONG_ORIGIN}")))
        }
        Err(error) => Err(error.into()),
    }
}

async fn connect(servers: &Servers, session: &mut GuestSession) -> Checked<()> {
    within_timeout(session.connect(origin(ORIGIN)?)).await??;
    match servers.gateway.conversations() {
        1 => Ok(((), format!("from {ORIGIN}, session configured by Genesys"))),
        conversations => Err(failed(format!(
            "expected 1 conversation, the gateway has {conversations}"
        ))),
    }
}

async fn converse(session: &mut GuestSession) -> Checked<()> {
    let mut waiting = Vec::new();
    for number in 1..=MESSAGES {
        waiting.push(session.send(&format!("message {number}"))?);
    }
    let mut replies = 0;
    while !waiting.is_empty() || replies < MESSAGES {
        match within_timeout(session.next_event()).await? {
            Some(Event::Delivery {
                id,
                status: DeliveryStatus::Delivered { .. },
            }) => waiting.retain(|sent| *sent != id),
            Some(Event::Message(_)) => replies += 1,
            Some(Event::Session(SessionEvent::Typing { .. })) => {}
            other => return Err(failed(format!("expected an answer, received {other:?}"))),
        }
    }
    Ok((
        (),
        format!("{MESSAGES} messages acknowledged, {replies} replies received"),
    ))
}

async fn rotate(servers: &Servers, session: &mut GuestSession) -> Checked<()> {
    let old = session.info().await?.expires_at;
    let old_tokens = session.tokens().tokens();
    let mut renewals = session.tokens().events();
    let remaining = old - servers.clock.now().utc;
    advance(servers, remaining - time::Duration::minutes(14)).await?;
    match within_timeout(renewals.next()).await? {
        Some(token_window::Event::Refreshed { .. }) => {}
        other => return Err(failed(format!("expected a token refresh, received {other:?}"))),
    }
    let new = session.info().await?.expires_at;
    if new <= old {
        return Err(failed("the expiry of the access token is unchanged"));
    }
    session.send("still here?")?;
    let (mut accepted, mut answered) = (false, false);
    while !(accepted && answered) {
        match within_timeout(session.next_event()).await? {
            Some(Event::Delivery {
                status: DeliveryStatus::Delivered { .. },
                ..
            }) => accepted = true,
            Some(Event::Message(_)) => answered = true,
            Some(Event::Session(SessionEvent::Typing { .. })) => {}
            other => return Err(failed(format!("expected an open socket, received {other:?}"))),
        }
    }
    let refresh = old_tokens
        .refresh()
        .ok_or_else(|| failed("the session had no refresh token"))?;
    let refused = old_refresh_token_is_refused(servers, session, refresh).await?;
    Ok((
        (),
        format!("14 min before expiry, socket still open, old refresh token refused: {refused}"),
    ))
}

async fn withdraw(session: &GuestSession) -> Checked<()> {
    let info = session.info().await?;
    let evidence = Evidence::at(info.consent.recorded_at() + time::Duration::minutes(1));
    let change = ConsentChange::new(evidence).withdrawing(Purpose::Marketing);
    let info = session.update_consent(&change).await?;
    if info.consent.purpose(Purpose::Marketing).on {
        return Err(failed("marketing is still on"));
    }
    Ok(((), "marketing withdrawn, session continues without it".to_owned()))
}

async fn end(session: &mut GuestSession) -> Checked<()> {
    session.end().await?;
    let ended = session.info().await?.end_reason;
    match (ended, session.rotate_now().await) {
        (Some(reason), Err(_)) => Ok(((), format!("by the {reason}, its tokens are invalid"))),
        (ended, _) => Err(failed(format!("the session is still alive: {ended:?}"))),
    }
}

async fn deliveries(servers: &Servers, session: &GuestSession) -> Checked<()> {
    let enough = |received: &Vec<Delivery>| {
        EventName::ALL
            .iter()
            .all(|name| received.iter().any(|delivery| delivery.event == name.as_str()))
    };
    let received = within_timeout(servers.crm.received(enough)).await?;
    if let Some(forged) = received.iter().find(|delivery| !delivery.genuine) {
        return Err(failed(format!("delivery {} has no valid signature", forged.id)));
    }
    if received
        .iter()
        .any(|delivery| delivery.data["id"] != session.id().as_str())
    {
        return Err(failed("a delivery names another session"));
    }
    let after = received
        .iter()
        .filter(|delivery| delivery.event != EventName::Created.as_str());
    if after
        .into_iter()
        .any(|delivery| !delivery.data["guestAttributes"]["marketing.segment"].is_null())
    {
        return Err(failed(
            "an attribute was delivered after its consent was withdrawn",
        ));
    }
    let ids: HashSet<&str> = received.iter().map(|delivery| delivery.id.as_str()).collect();
    if (received.len(), ids.len()) != (EventName::ALL.len(), EventName::ALL.len()) {
        return Err(failed(format!(
            "expected 3 deliveries, received {} with {} ids",
            received.len(),
            ids.len()
        )));
    }
    within_timeout(servers.settled()).await??;
    Ok((
        (),
        format!(
            "{} received by the CRM, all signatures valid, outbox empty",
            received.len()
        ),
    ))
}

async fn metrics(suite: &GuestSessions) -> Checked<()> {
    let snapshot = suite.metrics().await?;
    let (Some(drop_off), Some(durations)) = (snapshot.drop_off, snapshot.durations) else {
        return Err(failed("no metrics of the ended session"));
    };
    if (snapshot.sessions, snapshot.ended, drop_off) != (1, 1, 0.0) {
        return Err(failed(format!(
            "expected one ended session, received {snapshot:?}"
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

fn guest(clock: &Clock, choices: [Choice; 3]) -> Result<NewGuest, CheckFailed> {
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

/// The origin of a page as its client presents it. The gateway checks it.
fn origin(text: &str) -> Result<AdmittedOrigin, CheckFailed> {
    Ok(OriginPolicy::new([text])?.admit_own(&text.parse()?)?)
}

pub(super) async fn within_timeout<T>(work: impl Future<Output = T>) -> Result<T, CheckFailed> {
    tokio::time::timeout(TIMEOUT, work)
        .await
        .map_err(|_| failed("timeout: no effect within 5 s"))
}

pub(super) fn failed(what: impl Into<String>) -> CheckFailed {
    CheckFailed(what.into())
}
