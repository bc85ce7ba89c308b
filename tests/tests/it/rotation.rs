//! Refresh of tokens before expiry: in the window, spread over time, one at a time, with every loss reported.

use std::collections::BTreeSet;
use std::time::Duration;

use genesys_sim::Rules;
use guest_suite::audit::Entry;
use guest_suite::direct::DirectConfig;
use guest_suite::token_window::{Event, Jitter, TokenError, Window};
use guest_suite::{AuditQuery, AuditTrail, GuestSession, GuestSessions};
use tokio::task::JoinSet;

use crate::guests::{newcomer, page_origin, talk, until};
use crate::page::soon;
use crate::proxy::{Loss, Proxy};
use crate::world::{CHANNEL, World};

const HOUR: Duration = Duration::from_secs(3_600);

fn count(trail: &AuditTrail<Entry>, action: &'static str) -> usize {
    trail
        .entries
        .iter()
        .filter(|entry| entry.draft.action == action)
        .count()
}

async fn generation(session: &GuestSession) -> u64 {
    session.tokens().token().await.unwrap().generation
}

#[tokio::test]
async fn tokens_are_refreshed_in_the_window_without_an_effect_on_the_conversation() {
    let world = World::start().await;
    let mut session = world.suite().create(newcomer(&world.clock)).await.unwrap();
    soon(session.connect(page_origin())).await.unwrap();
    talk(&mut session, "one").await;
    let first = session.info().await.unwrap().expires_at;
    let mut refreshes = session.tokens().events();
    // between 18 and 15 minutes before the expiry
    world.clock.advance(HOUR - Duration::from_secs(19 * 60));
    talk(&mut session, "two").await;
    assert_eq!(generation(&session).await, 0, "not before the window");
    world.clock.advance(Duration::from_secs(4 * 60));
    assert_eq!(
        soon(refreshes.next()).await,
        Some(Event::Refreshed { generation: 1 })
    );
    let second = session.info().await.unwrap().expires_at;
    assert!(second - first > time::Duration::minutes(40), "{first} {second}");

    // past the first token's end, on the same socket
    world.clock.advance(Duration::from_secs(20 * 60));
    talk(&mut session, "three").await;
    let trail = session.audit_trail(AuditQuery::default()).await.unwrap();
    assert_eq!(count(&trail, "token.rotated"), 1);
    assert_eq!(world.simulator.counters().connections, 1);
    world.stop().await;
}

#[tokio::test]
async fn refresh_can_be_requested_at_any_time() {
    let world = World::start().await;
    let mut session = world.suite().create(newcomer(&world.clock)).await.unwrap();
    soon(session.connect(page_origin())).await.unwrap();
    for expected in 1..=3 {
        session.tokens().refresh_now().await.unwrap();
        assert_eq!(generation(&session).await, expected);
    }
    talk(&mut session, "hello").await;
    assert_eq!(
        count(
            &session.audit_trail(AuditQuery::default()).await.unwrap(),
            "token.rotated"
        ),
        3
    );
    session.end().await.unwrap();
    let error = session.tokens().refresh_now().await.unwrap_err();
    assert_eq!(error, TokenError::ReauthRequired);
    world.stop().await;
}

/// A step of the clock, shorter than the time limit of a request: one in progress does not time out.
const STEP: Duration = Duration::from_secs(5);

#[tokio::test]
async fn sessions_created_together_refresh_at_different_times() {
    let world = World::start().await;
    let suite = world.suite();
    let created = world.clock.now().instant;
    let mut creating = JoinSet::new();
    for _ in 0..50 {
        let (suite, guest) = (suite.clone(), newcomer(&world.clock));
        creating.spawn(async move { suite.create(guest).await.unwrap() });
    }
    let sessions = soon(creating.join_all()).await;
    // each was created at another time in this interval, and is due as much later
    let spread = world.clock.now().instant - created;
    let due_if_first = |session: &GuestSession| {
        Window::default().refresh_at(HOUR, Jitter::of(session.id().as_str()), created)
    };
    world.clock.advance(HOUR - Duration::from_secs(18 * 60) - STEP);
    let mut steps = BTreeSet::new();
    let mut rotated = 0;
    for step in 0..44 {
        let now = world.clock.now().instant;
        let mut now_due = 0;
        for session in &sessions {
            if due_if_first(session) + spread <= now {
                until(async || generation(session).await == 1).await;
                now_due += 1;
            } else {
                let generation = generation(session).await;
                let early = world.clock.now().instant < due_if_first(session);
                assert!(generation == 0 || !early, "rotated before its time");
            }
        }
        if now_due > rotated {
            steps.insert(step);
            assert!(now_due - rotated <= 15, "{} at once", now_due - rotated);
            rotated = now_due;
        }
        world.clock.advance(STEP);
    }
    assert_eq!(rotated, 50);
    assert!(steps.len() >= 10, "{} of 36 steps had rotations", steps.len());
    world.stop().await;
}

/// A session behind a proxy, which applies `loss` to its next refresh.
async fn lose(loss: Loss) -> (World, Proxy, GuestSession) {
    let proxy = Proxy::start().await;
    let world = World::configured(Rules::default(), |toml| {
        toml.replace("[store]", &format!("public_url = \"{}\"\n[store]", proxy.url()))
    })
    .await;
    proxy.set_target(world.gateway.address());
    let session = world.suite().create(newcomer(&world.clock)).await.unwrap();
    proxy.lose(loss, "/refresh");
    (world, proxy, session)
}

#[tokio::test]
async fn refresh_with_a_lost_reply_is_repeated() {
    // the repetition brings the pair whose reply was lost
    repeat_after(Loss::Reply, 1).await;
}

#[tokio::test]
async fn refresh_that_did_not_arrive_is_repeated() {
    for loss in [Loss::Request, Loss::Page] {
        repeat_after(loss, 0).await;
    }
}

/// Refreshes with a fault. The gateway must have issued the same pair again so many times.
async fn repeat_after(loss: Loss, replayed: usize) {
    let (world, proxy, session) = lose(loss).await;
    let mut events = session.tokens().events();
    world.clock.advance(HOUR - Duration::from_secs(14 * 60));
    loop {
        match soon(events.next()).await {
            Some(Event::Refreshed { generation: 1 }) => break,
            // unless the HTTP client has repeated the request itself
            Some(Event::OutcomeUnknown { .. } | Event::Failed { .. }) => {}
            other => panic!("expected a refresh, received {other:?}"),
        }
    }
    assert!(proxy.has_lost());
    let trail = session.audit_trail(AuditQuery::default()).await.unwrap();
    assert_eq!(count(&trail, "token.rotated"), 1);
    assert_eq!(count(&trail, "token.replayed"), replayed);
    assert_eq!(count(&trail, "token.reuse_detected"), 0);
    session.tokens().refresh_now().await.unwrap();
    world.stop().await;
}

/// A session in direct mode.
async fn direct_session(world: &World, idle_timeout: Duration) -> GuestSession {
    let hosts = guest_suite::api::Hosts::single(world.simulator.host());
    let mut config = DirectConfig {
        idle_timeout,
        ..DirectConfig::new(hosts).unwrap()
    };
    config.organization.http = world.http();
    let config = config.with_channel(CHANNEL.parse().unwrap(), world.simulator.deployment_id().clone());
    let suite = GuestSessions::direct(config, "direct").await.unwrap();
    suite.create(newcomer(&world.clock)).await.unwrap()
}

#[tokio::test]
async fn refreshes_go_on_until_the_idle_timeout() {
    let world = World::with(
        Rules::default(),
        "access_token_lifetime = \"1h\"\nidle_timeout = \"72h\"\n",
    )
    .await;
    let remote = world.suite().create(newcomer(&world.clock)).await.unwrap();
    let direct = direct_session(&world, 72 * HOUR).await;
    for session in [remote, direct] {
        assert_eq!(session.tokens().tokens().refresh_lifetime(), Some(72 * HOUR));
        session.tokens().refresh_now().await.unwrap();
        assert_eq!(session.tokens().tokens().refresh_lifetime(), Some(72 * HOUR));
    }
    world.stop().await;
}

#[tokio::test]
async fn concurrent_refreshes_share_one_rotation_in_direct_mode() {
    let world = World::start().await;
    let session = direct_session(&world, 24 * HOUR).await;
    let asking = (0..20).map(|_| session.tokens().refresh_now());
    for outcome in soon(futures_util::future::join_all(asking)).await {
        outcome.unwrap();
    }
    assert_eq!(generation(&session).await, 1);
    let trail = session.audit_trail(AuditQuery::default()).await.unwrap();
    assert_eq!(count(&trail, "token.rotated"), 1);
    world.stop().await;
}
