//! The funnel of the gateway, compared with hand-counted figures.

use std::time::Duration;

use genesys_api::entropy;
use genesys_sim::{Limits, Rules};
use guest_suite::conversation::{DeliveryStatus, Event, SessionEvent};
use guest_suite::metrics::{EndReason, SessionStage, Snapshot};
use guest_suite::payload::Choice;
use guest_suite::{GuestSession, GuestSessions};
use tokio::task::JoinSet;

use crate::guests::{consenting, newcomer, next, page_origin, talk, until};
use crate::page::soon;
use crate::world::World;

/// Number of sessions, and of concurrent ones.
const SESSIONS: usize = 200;
const AT_ONCE: usize = 20;

/// Intended stage and end of a session.
#[derive(Clone, Copy, Debug)]
struct Plan {
    stage: SessionStage,
    ends: bool,
}

/// SplitMix64, so that a seed determines the whole test.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn plan(&mut self) -> Plan {
        // a guest of the simulator is configured as soon as it is connected
        let stages = [
            SessionStage::Created,
            SessionStage::Configured,
            SessionStage::FirstGuestMessage,
            SessionStage::FirstReply,
        ];
        Plan {
            stage: stages[usize::try_from(self.below(4)).unwrap()],
            ends: self.below(2) == 0,
        }
    }
}

/// Runs a scenario, and returns the session if it is still open.
async fn run_session(world: WorldParts, plan: Plan) -> Option<GuestSession> {
    let mut session = world.suite.create(newcomer(&world.clock)).await.unwrap();
    if plan.stage > SessionStage::Created {
        soon(session.connect(page_origin())).await.unwrap();
    }
    if plan.stage == SessionStage::FirstGuestMessage {
        // the agent leaves without a message
        let id = session.send("/disconnect").unwrap();
        let (mut accepted, mut left) = (false, false);
        while !(accepted && left) {
            match next(&mut session).await {
                Event::Delivery {
                    id: output,
                    status: DeliveryStatus::Delivered { .. },
                } => accepted |= output == id,
                Event::Session(SessionEvent::ConversationEnded { .. }) => left = true,
                other => panic!("{other:?}"),
            }
        }
    }
    if plan.stage == SessionStage::FirstReply {
        talk(&mut session, "hello").await;
        talk(&mut session, "not counted again").await;
    }
    if plan.ends {
        session.end().await.unwrap();
        return None;
    }
    Some(session)
}

#[derive(Clone)]
struct WorldParts {
    suite: GuestSessions,
    clock: genesys_api::Clock,
}

/// Compares the expected figures with the gateway's.
fn compare(plans: &[Plan], open_ended: Option<EndReason>, snapshot: &Snapshot, seed: u64) {
    let count = |which: &dyn Fn(&Plan) -> bool| plans.iter().filter(|plan| which(plan)).count() as u64;
    let ended = |plan: &Plan| plan.ends || open_ended.is_some();
    // a number in JSON may differ in its last bit
    let is_share = |figure: Option<f64>, part: u64, whole: u64| match figure {
        Some(figure) => whole > 0 && (figure - part as f64 / whole as f64).abs() < 1e-12,
        None => whole == 0,
    };
    let context = format!("seed {seed}: {plans:?}\n{snapshot:?}");
    assert_eq!(snapshot.sessions, plans.len() as u64, "{context}");
    assert_eq!(snapshot.ended, count(&ended), "{context}");
    assert_eq!(snapshot.open, plans.len() as u64 - count(&ended), "{context}");
    for stage in SessionStage::ALL {
        let figures = snapshot.stage(stage);
        assert_eq!(
            figures.reached,
            count(&|plan| plan.stage >= stage),
            "{stage}: {context}"
        );
        assert_eq!(
            figures.ended,
            count(&|plan| plan.stage == stage && ended(plan)),
            "{stage}: {context}"
        );
        let by_guest = count(&|plan| plan.stage == stage && plan.ends);
        assert_eq!(
            figures.ended_by.get(EndReason::Guest),
            by_guest,
            "{stage}: {context}"
        );
        if let Some(reason) = open_ended {
            let others = count(&|plan| plan.stage == stage && !plan.ends);
            assert_eq!(figures.ended_by.get(reason), others, "{stage}: {context}");
        }
    }
    let silent = count(&|plan| ended(plan) && plan.stage < SessionStage::FirstGuestMessage);
    assert!(
        is_share(snapshot.drop_off, silent, count(&ended)),
        "live sessions are not lost ones: {context}"
    );
    let unconnected = count(&|plan| plan.stage == SessionStage::Created);
    assert!(
        is_share(snapshot.tutorial_drop_off_rate, unconnected, plans.len() as u64),
        "{context}"
    );
    assert_eq!(
        snapshot.durations.map_or(0, |durations| durations.count),
        count(&ended),
        "{context}"
    );
    let answered = count(&|plan| plan.stage == SessionStage::FirstReply);
    assert_eq!(
        snapshot.time_to_first_reply.map_or(0, |times| times.count),
        answered,
        "{context}"
    );
}

#[tokio::test]
async fn funnel_counts_two_hundred_sessions() {
    let seed = match std::env::var("GUEST_SUITE_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => entropy::number(),
    };
    let mut random = Random(seed);
    let plans: Vec<Plan> = (0..SESSIONS).map(|_| random.plan()).collect();
    let rules = Rules {
        limits: Limits::none(),
        ..Rules::default()
    };
    let world = World::with(rules, "access_token_lifetime = \"1h\"\nidle_timeout = \"3h\"\n").await;
    let parts = WorldParts {
        suite: world.suite(),
        clock: world.clock.clone(),
    };
    let mut open = Vec::new();
    let mut running = JoinSet::new();
    for plan in &plans {
        if running.len() == AT_ONCE {
            open.extend(running.join_next().await.unwrap().unwrap());
        }
        running.spawn(run_session(parts.clone(), *plan));
    }
    while let Some(sessions) = running.join_next().await {
        open.extend(sessions.unwrap());
    }
    // a refused session is not counted
    let refused = consenting(&world.clock, [Choice::Denied; 3]);
    parts.suite.create(refused).await.unwrap_err();
    let snapshot = parts.suite.metrics().await.unwrap();
    compare(&plans, None, &snapshot, seed);

    // the tokens of the others are not refreshed
    drop(open);
    world.clock.advance(Duration::from_secs(3 * 3_600));
    until(async || {
        world.clock.advance(Duration::from_secs(15));
        parts.suite.metrics().await.unwrap().open == 0
    })
    .await;
    let snapshot = parts.suite.metrics().await.unwrap();
    compare(&plans, Some(EndReason::Expired), &snapshot, seed);
    until(async || world.gateway.conversations() == 0).await;

    let world = world.restart().await;
    let restored = world.suite().metrics().await.unwrap();
    compare(&plans, Some(EndReason::Expired), &restored, seed);
    world.stop().await;
}
