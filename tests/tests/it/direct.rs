//! Direct mode: the same scenario without a gateway. This process stores the sessions.

mod consent_mix;
mod convergence;
mod deployment;
mod faults;
mod files;
mod read_marker;
mod reevaluation;
mod store;

use std::sync::Arc;
use std::time::Duration;

use audit::Signer;
use genesys_api::{Clock, Hosts};
use genesys_http::{Client, Egress, Tls};
use genesys_sim::Simulator;
use guest_store::{Keys, Limits, SealKey, SqliteStore, Store};
use guest_suite::conversation::{ConnectionEvent, DeliveryStatus, Ending, Event};
use guest_suite::direct::{Direct, DirectConfig, Rules};
use guest_suite::metrics::{EndReason, SessionStage};
use guest_suite::payload::{Choice, ConsentChange, Evidence, Policy, Purpose, Signals};
use guest_suite::token_window::TokenError;
use guest_suite::webhook::{Dispatcher, EventName, Secret};
use guest_suite::{AuditQuery, Error, ErrorKind, GuestSession, GuestSessions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::crm::Crm;
use crate::genesys::{Genesys, GenesysSocket};
use crate::guests::{consenting, newcomer, next, page_origin, talk, until};
use crate::page::soon;
use crate::world::CHANNEL;

fn memory() -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(":memory:", Keys::ephemeral(), Limits::default()).unwrap())
}

fn sqlite(folder: &TempDir) -> Arc<dyn Store> {
    let keys = Keys {
        seal: SealKey::new(&[8; 32]),
        signer: Signer::from_seed("end-to-end/direct", &[7; 32]).unwrap(),
    };
    Arc::new(SqliteStore::open(folder.path().join("direct.db"), keys, Limits::default()).unwrap())
}

/// Direct mode in this clock's time, with a deployment of `hosts` behind the channel.
fn config(clock: &Clock, hosts: Hosts, deployment: &str) -> DirectConfig {
    let mut config = DirectConfig::new(hosts).unwrap();
    config.organization.http = Client::builder(Tls::system().unwrap())
        .clock(clock.clone())
        .build();
    config.with_channel(CHANNEL.parse().unwrap(), deployment.parse().unwrap())
}

fn rules_of(policy: impl Into<Arc<Policy>>) -> Rules {
    Rules {
        policy: policy.into(),
        ..Rules::default()
    }
}

async fn scenario(store: Arc<dyn Store>) {
    let simulator = Simulator::start(genesys_sim::Config::plain()).await.unwrap();
    let clock = simulator.clock().clone();
    let config = config(
        &clock,
        Hosts::single(simulator.host()),
        simulator.deployment_id().as_str(),
    );
    let direct = Direct::open(DirectConfig {
        store: Arc::clone(&store),
        ..config
    })
    .await
    .unwrap();
    let suite = GuestSessions::of(direct.clone(), "shop");
    assert!(suite.authenticator().is_none());
    let crm = Crm::start(&clock).await;
    let secret = suite
        .ensure_webhook(&crm.subscription("/sync"))
        .await
        .unwrap()
        .unwrap();
    assert!(
        suite
            .ensure_webhook(&crm.subscription("/sync"))
            .await
            .unwrap()
            .is_none()
    );
    let other = suite
        .ensure_webhook(&crm.subscription("/other"))
        .await
        .unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict);

    let refused = consenting(&clock, [Choice::Denied, Choice::Granted, Choice::Granted]);
    assert_eq!(
        suite.create(refused).await.unwrap_err().kind(),
        ErrorKind::ConsentRequired
    );
    let mut session = suite.create(newcomer(&clock)).await.unwrap();
    let mut duplicate = newcomer(&clock);
    duplicate.guest = Some(session.info().await.unwrap().guest_id);
    assert_eq!(
        suite.create(duplicate).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(session.send("too early").unwrap_err().kind(), ErrorKind::NotSent);
    soon(session.connect(page_origin())).await.unwrap();
    session.typing();
    talk(&mut session, "hello").await;
    assert_eq!(session.send("").unwrap_err().kind(), ErrorKind::Invalid);

    let before = session.info().await.unwrap();
    clock.advance(Duration::from_secs(60));
    session.tokens().refresh_now().await.unwrap();
    let after = session.info().await.unwrap();
    assert!(after.expires_at > before.expires_at);
    let change = ConsentChange::new(Evidence::at(clock.now().utc)).withdrawing(Purpose::Marketing);
    let changed = session.update_consent(&change).await.unwrap();
    assert!(!changed.consent.purpose(Purpose::Marketing).is_on());
    talk(&mut session, "still here").await;
    session.end().await.unwrap();
    assert!(session.next_event().await.is_none());
    assert_eq!(session.info().await.unwrap().end_reason.unwrap(), "guest");
    assert_eq!(
        session.tokens().refresh_now().await.unwrap_err(),
        TokenError::ReauthRequired
    );
    assert_eq!(
        session.update_consent(&change).await.unwrap_err().kind(),
        ErrorKind::Ended
    );
    let again = session.connect(page_origin()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Ended);
    session.end().await.unwrap();

    let snapshot = suite.metrics().await.unwrap();
    assert_eq!((snapshot.sessions, snapshot.open, snapshot.ended), (1, 0, 1));
    assert_eq!(
        snapshot
            .stage(SessionStage::FirstReply)
            .ended_by
            .get(EndReason::Guest),
        1
    );
    assert_eq!(snapshot.drop_off, Some(0.0));
    check_audit_trail(&session).await;

    process_delivers_webhooks(&direct, &crm, &secret, &clock).await;
    assert!(simulator.violations().is_empty(), "{:?}", simulator.violations());
    simulator.stop().await;
}

async fn check_audit_trail(session: &GuestSession) {
    let trail = session.audit_trail(AuditQuery::default()).await.unwrap();
    assert_eq!(trail.next, None);
    let actions: Vec<_> = trail
        .entries
        .iter()
        .rev()
        .map(|entry| &*entry.draft.action)
        .collect();
    assert_eq!(
        actions,
        [
            "session.created",
            "ws.connected",
            "token.rotated",
            "consent.withdrawn",
            "session.ended",
            "audit.read",
        ]
    );
}

async fn process_delivers_webhooks(direct: &Direct, crm: &Crm, secret: &Secret, clock: &Clock) {
    assert!(crm.received(0).await.is_empty());
    let egress = Egress::PublicOnly {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
    };
    let client = Client::builder(Tls::system().unwrap())
        .clock(clock.clone())
        .egress(egress);
    let dispatcher = Dispatcher::new(client);
    // by hand
    let leased = direct.lease_due(1).await.unwrap().deliveries;
    assert_eq!(leased.len(), 1);
    for leased in leased {
        direct.deliver(&dispatcher, leased).await.unwrap();
    }
    assert_eq!(crm.received(1).await[0].event(), EventName::Created.as_str());
    // or by the worker
    let background = tokio::spawn({
        let direct = direct.clone();
        async move { direct.background_tasks(dispatcher).await }
    });
    let received = crm.received(3).await;
    for delivery in &received {
        delivery.verify(secret);
    }
    until(async || direct.store().stats().await.unwrap().outbox_pending == 0).await;
    background.abort();
}

#[tokio::test]
async fn direct_mode_runs_the_scenario_in_memory() {
    scenario(memory()).await;
}

#[tokio::test]
async fn direct_mode_runs_the_scenario_with_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    scenario(sqlite(&folder)).await;
}

/// A conversation with a hand-written Genesys, for a guest with these choices.
async fn conversation(choices: [Choice; 3]) -> (GenesysSocket, Clock, Direct, GuestSession) {
    conversation_in(memory(), choices).await
}

async fn conversation_in(
    store: Arc<dyn Store>,
    choices: [Choice; 3],
) -> (GenesysSocket, Clock, Direct, GuestSession) {
    let (genesys, clock) = (Genesys::start().await, Clock::system());
    let config = DirectConfig {
        store,
        rules: rules_of(Policy::purpose_scoped()),
        ..config(&clock, Hosts::single(&genesys.host()), "d-1")
    };
    let direct = Direct::open(config).await.unwrap();
    let suite = GuestSessions::of(direct.clone(), "shop");
    let mut session = suite.create(consenting(&clock, choices)).await.unwrap();
    let (connected, upstream) = tokio::join!(session.connect(page_origin()), genesys.configured());
    connected.unwrap();
    (upstream, clock, direct, session)
}

#[tokio::test]
async fn genesys_gets_only_consented_attributes() {
    let (yes, no) = (Choice::Granted, Choice::Denied);
    for (choices, expected) in [
        (
            [yes, yes, no],
            json!({ "source": "web", "marketing.segment": "spring-campaign", "favouriteColour": "blue" }),
        ),
        (
            [no, yes, yes],
            json!({ "source": "web", "favouriteColour": "blue" }),
        ),
        (
            [yes, no, yes],
            json!({ "source": "web", "marketing.segment": "spring-campaign" }),
        ),
        ([no, Choice::Unknown, no], json!({ "source": "web" })),
    ] {
        let (mut upstream, _clock, _direct, session) = conversation(choices).await;
        session.send("hello").unwrap();
        let sent = upstream.take_message().await;
        assert_eq!(
            sent["message"]["channel"]["metadata"]["customAttributes"], expected,
            "{choices:?}"
        );
    }
}

#[tokio::test]
async fn agent_greeting_is_not_a_reply_and_hides_no_message() {
    let (mut upstream, _clock, direct, mut session) = conversation([Choice::Granted; 3]).await;
    upstream.agent("a-1", "Welcome!").await;
    assert!(matches!(next(&mut session).await, Event::Message(_)));
    let reached = |stage| direct.metrics().stage(stage).reached;
    assert_eq!(reached(SessionStage::FirstReply), 0);
    session.send("Hello").unwrap();
    upstream.take_message().await;
    assert!(matches!(
        next(&mut session).await,
        Event::Delivery {
            status: DeliveryStatus::Delivered { .. },
            ..
        }
    ));
    assert_eq!(reached(SessionStage::FirstGuestMessage), 1);
    upstream.agent("a-2", "What can I do?").await;
    assert!(matches!(next(&mut session).await, Event::Message(_)));
    assert_eq!(reached(SessionStage::FirstReply), 1);
}

#[tokio::test]
async fn canceled_wait_loses_no_event() {
    let folder = tempfile::tempdir().unwrap();
    for store in [memory(), sqlite(&folder)] {
        let (mut upstream, _clock, direct, mut session) = conversation_in(store, [Choice::Granted; 3]).await;
        let sent = session.send("Hello").unwrap();
        let answering = async {
            upstream.take_message().await;
            upstream.agent("a-1", "Hello!").await;
        };
        let mut events = Vec::new();
        let listening = async {
            while events.len() < 2 {
                // cancels `next_event` at every await point
                tokio::select! {
                    biased;
                    event = session.next_event() => events.push(event.unwrap()),
                    () = tokio::task::yield_now() => {}
                }
            }
        };
        soon(async { tokio::join!(answering, listening) }).await;
        assert!(
            matches!(events[0], Event::Delivery { id, status: DeliveryStatus::Delivered { .. } } if id == sent),
            "{events:?}"
        );
        assert!(
            matches!(&events[1], Event::Message(message) if message.text == "Hello!"),
            "{events:?}"
        );
        let snapshot = direct.metrics();
        assert_eq!(
            snapshot.stage(SessionStage::FirstReply).reached,
            1,
            "stored events are counted"
        );
    }
}

#[tokio::test]
async fn withdrawn_consent_stops_attributes() {
    let (mut upstream, clock, direct, session) = conversation([Choice::Granted; 3]).await;
    let attached = |sent: &Value| sent["message"]["channel"]["metadata"]["customAttributes"].clone();
    // five may leave in a second, and the sixth waits
    for _ in 0..6 {
        session.send("hello").unwrap();
    }
    for _ in 0..5 {
        let sent = upstream.receive().await.unwrap();
        assert_eq!(attached(&sent)["marketing.segment"], "spring-campaign");
    }
    let withdrawing = |purpose| ConsentChange::new(Evidence::at(clock.now().utc)).withdrawing(purpose);
    let marketing = withdrawing(Purpose::Marketing);
    session.update_consent(&marketing).await.unwrap();
    clock.advance(Duration::from_secs(2));
    let sixth = upstream.receive().await.unwrap();
    assert_eq!(
        attached(&sixth),
        json!({ "source": "web", "favouriteColour": "blue" })
    );

    // withdrawn by a call outside of this session
    let (personal, signals) = (withdrawing(Purpose::Personalization), Signals::default());
    direct
        .change_consent("shop", session.id(), &personal, signals)
        .await
        .unwrap();
    session.send("hello").unwrap();
    assert_eq!(
        attached(&upstream.receive().await.unwrap()),
        json!({ "source": "web" })
    );
}

#[tokio::test]
async fn session_end_by_the_guest_disconnects_the_conversation() {
    let (mut upstream, _clock, _direct, mut session) = conversation([Choice::Granted; 3]).await;
    session.send("thank you, bye").unwrap();
    let (ended, ()) = tokio::join!(session.end(), async {
        upstream.take_message().await;
        let disconnect = upstream.receive().await.unwrap();
        let event = &disconnect["message"]["events"][0];
        assert_eq!(
            (&event["eventType"], &event["presence"]["type"]),
            (&json!("Presence"), &json!("Clear"))
        );
        assert!(upstream.receive().await.is_none(), "the socket is closed");
    });
    ended.unwrap();
    let info = session.info().await.unwrap();
    assert_eq!(info.end_reason.unwrap(), "guest");
}

#[tokio::test]
async fn conversation_ends_with_its_session() {
    let (genesys, clock) = (Genesys::start().await, Clock::system());
    let direct = Direct::open(config(&clock, Hosts::single(&genesys.host()), "d-1"))
        .await
        .unwrap();
    for reason in [EndReason::Agent, EndReason::Expired] {
        let created = direct.create("shop", newcomer(&clock), None).await.unwrap();
        let id = created.session.id;
        let (conversation, mut upstream) =
            tokio::join!(direct.connect("shop", &id, page_origin()), genesys.configured());
        let mut conversation = conversation.unwrap();
        assert!(matches!(
            soon(conversation.next_event()).await,
            Some(Event::Connection(ConnectionEvent::Ready(_)))
        ));
        if reason == EndReason::Expired {
            clock.advance(Duration::from_secs(86_401));
            assert!(direct.admit(&id, &created.tokens.access_token).await.is_err());
            assert!(
                direct
                    .rotate("shop", &id, &created.tokens.refresh_token, None)
                    .await
                    .is_err(),
                "too late"
            );
            assert_eq!(direct.expire_idle().await.unwrap(), 1);
        } else {
            direct.end("shop", &id, reason).await.unwrap();
        }
        match soon(conversation.next_event()).await {
            Some(Event::Ended(Ending::SessionEnded { reason: output })) => assert_eq!(output, reason.name()),
            other => panic!("expected the end, received {other:?}"),
        }
        assert!(conversation.next_event().await.is_none());
        drop(conversation);
        assert!(
            upstream.receive().await.is_none(),
            "the socket to Genesys is closed"
        );
    }
    assert_eq!(direct.expire_idle().await.unwrap(), 0);
    let snapshot = direct.metrics();
    assert_eq!(
        (
            snapshot.ended_by.get(EndReason::Agent),
            snapshot.ended_by.get(EndReason::Expired)
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn concurrent_consent_changes_of_one_session_all_succeed() {
    let clock = Clock::system();
    let hosts = Hosts::of_domain("mypurecloud.de").unwrap();
    let direct = Direct::open(config(&clock, hosts, "d-1")).await.unwrap();
    let created = direct.create("shop", consenting(&clock, [Choice::Granted; 3]), None);
    let id = created.await.unwrap().session.id;
    let changing = (0..64).map(|number| {
        let (direct, id) = (direct.clone(), id.clone());
        let purpose = [Purpose::Analytics, Purpose::Marketing][number % 2];
        let change = ConsentChange::new(Evidence::at(clock.now().utc)).withdrawing(purpose);
        tokio::spawn(async move {
            direct
                .change_consent("shop", &id, &change, Signals::default())
                .await
        })
    });
    for changed in soon(futures_util::future::join_all(changing)).await {
        changed.unwrap().unwrap();
    }
}

#[tokio::test]
async fn concurrent_registration_of_one_webhook_yields_one_secret() {
    let clock = Clock::system();
    let hosts = Hosts::of_domain("mypurecloud.de").unwrap();
    let direct = Direct::open(config(&clock, hosts, "d-1")).await.unwrap();
    let crm = Crm::start(&clock).await;
    let registering = (0..20).map(|_| {
        let (direct, subscription) = (direct.clone(), crm.subscription("/sync"));
        tokio::spawn(async move { direct.ensure_webhook("shop", subscription, None).await.unwrap() })
    });
    let registered = soon(futures_util::future::join_all(registering)).await;
    let registered: Vec<_> = registered.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        registered.iter().filter(|registered| registered.is_new).count(),
        1
    );
    let registered: Vec<_> = registered
        .into_iter()
        .map(|registered| registered.webhook)
        .collect();
    assert_eq!(
        registered
            .iter()
            .filter(|webhook| webhook.secret.is_some())
            .count(),
        1
    );
    assert!(registered.iter().all(|webhook| webhook.id == registered[0].id));
    let replacing = (0..20).map(|_| {
        let (direct, id) = (direct.clone(), registered[0].id.clone());
        let subscription = crm.subscription("/other");
        tokio::spawn(async move { direct.replace_webhook("shop", &id, subscription).await })
    });
    for replaced in soon(futures_util::future::join_all(replacing)).await {
        replaced.unwrap().unwrap();
    }
}
