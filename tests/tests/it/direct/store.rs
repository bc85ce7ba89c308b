//! Sessions in the store: resumed, counted, erased.

use super::*;
use guest_suite::contract::ErrorCode;
use guest_suite::conversation::ConnectionEvent;

#[tokio::test]
async fn sessions_are_resumed_from_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let genesys = Genesys::start().await;
    let clock = Clock::system();
    let open = async |store| {
        let config = config(&clock, Hosts::single(&genesys.host()), "d-1");
        Direct::open(DirectConfig { store, ..config }).await.unwrap()
    };
    let direct = open(sqlite(&folder)).await;
    let created = direct.create("shop", newcomer(&clock), None).await.unwrap();
    let ended = direct.create("shop", newcomer(&clock), None).await.unwrap();
    direct
        .end("shop", &ended.session.id, EndReason::Guest)
        .await
        .unwrap();
    drop(direct);

    let direct = open(sqlite(&folder)).await;
    let snapshot = direct.metrics();
    assert_eq!((snapshot.sessions, snapshot.open, snapshot.ended), (2, 1, 1));
    let id = created.session.id;
    assert!(direct.session("somebody else", &id).await.is_err());
    direct.admit(&id, &created.tokens.access_token).await.unwrap();
    let rotated = direct
        .rotate("shop", &id, &created.tokens.refresh_token, None)
        .await
        .unwrap();
    direct.admit(&id, &created.tokens.access_token).await.unwrap_err();
    direct.admit(&id, &rotated.access_token).await.unwrap();
    let connecting = direct.connect("shop", &id, page_origin());
    let (conversation, _line) = tokio::join!(connecting, genesys.configured());
    let mut conversation = conversation.unwrap();
    assert!(matches!(
        soon(conversation.next_event()).await,
        Some(Event::Connection(ConnectionEvent::Ready(_)))
    ));
}

#[tokio::test]
async fn stored_sessions_are_counted_without_a_waiting_caller() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let config = DirectConfig {
        store: sqlite(&folder),
        ..config(&clock, Hosts::of_domain("mypurecloud.de").unwrap(), "d-1")
    };
    let direct = Direct::open(config).await.unwrap();
    for sessions in 1..=5 {
        tokio::select! {
            biased;
            // polled once, before the store's thread has run
            _ = direct.create("shop", newcomer(&clock), None) => panic!("nothing was to be waited for"),
            () = std::future::ready(()) => {}
        }
        until(async || direct.store().stats().await.unwrap().live_sessions == sessions).await;
        until(async || direct.metrics().sessions == sessions).await;
    }
}

#[tokio::test]
async fn session_is_erased_after_its_retention() {
    let clock = Clock::system();
    let config = config(&clock, Hosts::of_domain("mypurecloud.de").unwrap(), "d-1");
    let direct = Direct::open(config).await.unwrap();
    let old = direct
        .create("shop", newcomer(&clock), None)
        .await
        .unwrap()
        .session
        .id;
    direct.end("shop", &old, EndReason::Guest).await.unwrap();
    let month = Duration::from_secs(30 * 86_400);
    clock.advance(month - Duration::from_secs(60));
    let live = direct
        .create("shop", newcomer(&clock), None)
        .await
        .unwrap()
        .session
        .id;
    assert_eq!(direct.erase_old().await.unwrap(), 0);
    clock.advance(Duration::from_secs(60));
    assert_eq!(direct.erase_old().await.unwrap(), 1);
    assert!(matches!(
        direct.session("shop", &old).await,
        Err(Error::Refused(ErrorCode::NotFound))
    ));
    direct.session("shop", &live).await.unwrap();
    assert_eq!(direct.metrics().sessions, 2, "erased sessions stay in the totals");
    let entries = direct
        .store()
        .entries(guest_store::EntryQuery::From(0), 100)
        .await
        .unwrap();
    let actions: Vec<String> = entries
        .iter()
        .map(|entry| serde_json::from_slice::<Value>(&entry.bytes).unwrap()["action"].to_string())
        .collect();
    assert_eq!(
        actions
            .iter()
            .filter(|action| action.contains("session.erased"))
            .count(),
        1
    );
}
