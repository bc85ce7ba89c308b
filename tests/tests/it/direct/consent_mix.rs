//! The consent mix by jurisdiction.

use guest_store::{Change, SessionQuery, Unit};
use guest_suite::direct::ConsentMix;

use super::*;
use crate::reevaluation::{OPT_IN, OPT_OUT, policy};

/// The counts of on, off and asked of each purpose in the EU.
async fn mix(store: &dyn Store) -> [[u64; 3]; 3] {
    let mixes = ConsentMix::of_totals(&store.stats().await.unwrap().totals);
    assert_eq!(mixes.len(), 1, "{mixes:?}");
    assert_eq!(mixes[0].jurisdiction, "EU");
    mixes[0]
        .purposes
        .map(|purpose| [purpose.on, purpose.off, purpose.asked])
}

#[tokio::test]
async fn consent_mix_follows_changes_of_consent_and_policy() {
    let (clock, store) = (Clock::system(), memory());
    let open = async |store: &Arc<dyn Store>, version, rule| {
        let policy = Policy::parse(&policy(version, rule)).unwrap();
        let config = DirectConfig {
            store: Arc::clone(store),
            rules: rules_of(policy),
            ..config(
                &clock,
                Hosts::single(&"https://genesys.invalid".parse().unwrap()),
                "d-1",
            )
        };
        Direct::open(config).await.unwrap()
    };
    let direct = open(&store, "1.0.0", OPT_OUT).await;
    let mut ids = Vec::new();
    for choices in [
        [Choice::Granted, Choice::Denied, Choice::Unknown],
        [Choice::Granted, Choice::Unknown, Choice::Unknown],
    ] {
        let guest = consenting(&clock, choices);
        ids.push(direct.create("shop", guest, None).await.unwrap().session.id);
    }
    assert_eq!(mix(&*store).await, [[2, 0, 2], [1, 1, 1], [2, 0, 0]]);

    let change = ConsentChange::new(Evidence::at(clock.now().utc)).withdrawing(Purpose::Marketing);
    let changed = direct.change_consent("shop", &ids[0], &change, Signals::default());
    changed.await.unwrap();
    assert_eq!(mix(&*store).await, [[1, 1, 2], [1, 1, 1], [2, 0, 0]]);

    // an ended session keeps its last state, also after a restart
    direct.end("shop", &ids[0], EndReason::Guest).await.unwrap();
    let direct = open(&store, "2.0.0", OPT_IN).await;
    assert_eq!(mix(&*store).await, [[1, 1, 2], [1, 1, 1], [2, 0, 0]]);
    direct.end("shop", &ids[1], EndReason::Guest).await.unwrap();
    assert_eq!(mix(&*store).await, [[1, 1, 2], [0, 2, 1], [1, 1, 0]]);

    // a store of an earlier version has no such totals
    let earlier = memory();
    for session in store.sessions(SessionQuery::All(None), 10).await.unwrap() {
        let session = guest_store::Session {
            version: 0,
            ..session
        };
        let unit = Unit {
            change: Some(Change::CreateSession(session)),
            totals: vec![("sessions counted".to_owned(), 1)],
            ..Unit::default()
        };
        earlier.commit(unit).await.unwrap();
    }
    let direct = open(&earlier, "2.0.0", OPT_IN).await;
    assert_eq!(mix(&*earlier).await, mix(&*store).await);
    assert_eq!(direct.metrics().sessions, 0, "the funnel is not counted twice");
}
