//! Requests with idempotency keys.

use genesys_api::IdempotencyKey;

use super::Make;
use super::samples::{at, refused, removal, session, stored, unit, webhook};
use crate::{
    Change, Conflict, KeyedRequest, Limits, Resource, SharedToken, Store, StoreErrorKind, StoredRequest, Unit,
};

fn key(text: &str) -> IdempotencyKey {
    text.parse().expect("a valid key")
}

fn keyed(change: Change, owner: &str, text: &str, second: i64) -> Unit {
    let request = KeyedRequest {
        owner: owner.to_owned(),
        key: key(text),
        digest: [7; 32],
        at: at(second),
    };
    Unit {
        request: Some(request),
        ..unit(change)
    }
}

async fn find(store: &dyn Store, owner: &str, text: &str) -> Option<StoredRequest> {
    store.request(owner, &key(text)).await.expect("readable")
}

/// A request is stored with what it creates, once for each owner and key.
pub(crate) async fn request_is_stored_with_its_creation(make: Make) {
    let store = make(Limits::default());
    let create = |id: &str, guest: &str| Change::CreateSession(session(id, "o", guest));
    stored(&*store, keyed(create("s-1", "g-1"), "o", "k", 0)).await;
    let found = find(&*store, "o", "k").await.expect("it is stored");
    assert_eq!((found.digest, found.at), (Some([7; 32]), at(0)));
    assert!(matches!(&found.resource, Resource::Session(session) if session.id.as_str() == "s-1"));
    assert!(find(&*store, "o", "other").await.is_none());
    assert!(find(&*store, "other", "k").await.is_none());

    let in_use = StoreErrorKind::Conflict(Conflict::KeyInUse);
    // before the guest is found to be in use, and the token to be changed
    let again = Unit {
        token: Some(SharedToken {
            name: "a".to_owned(),
            version: 1,
            content: None,
            leased_until: None,
        }),
        ..keyed(create("s-2", "g-1"), "o", "k", 1)
    };
    assert_eq!(refused(&*store, again).await, in_use);
    let taken = keyed(create("s-2", "g-1"), "o", "k-2", 1);
    let guest_in_use = StoreErrorKind::Conflict(Conflict::GuestInUse);
    assert_eq!(refused(&*store, taken).await, guest_in_use);
    assert!(find(&*store, "o", "k-2").await.is_none(), "nothing was stored");
    stored(
        &*store,
        keyed(Change::PutWebhook(webhook("w-1", "o", "crm", &[])), "o", "k-2", 1),
    )
    .await;
    let found = find(&*store, "o", "k-2").await.expect("it is stored");
    assert!(matches!(&found.resource, Resource::Webhook(id) if id.as_str() == "w-1"));
}

/// A removed session or webhook is gone, and no digest of a removed session is kept.
pub(crate) async fn request_of_removed_resource_has_no_link(make: Make) {
    let store = make(Limits::default());
    let mut ended = session("s-1", "o", "g-1");
    ended.ended_at = Some(at(1));
    stored(&*store, keyed(Change::CreateSession(ended), "o", "k-1", 0)).await;
    let hook = Change::PutWebhook(webhook("w-1", "o", "crm", &[]));
    stored(&*store, keyed(hook, "o", "k-2", 0)).await;
    stored(&*store, removal("s-1")).await;
    let removed = Change::RemoveWebhook("w-1".parse().expect("a valid id"));
    stored(&*store, unit(removed)).await;
    for (text, digest) in [("k-1", None), ("k-2", Some([7; 32]))] {
        let found = find(&*store, "o", text).await.expect("it is stored");
        assert_eq!(found.digest, digest);
        assert!(matches!(found.resource, Resource::Gone), "{found:?}");
    }
}

/// The requests of an owner are limited, until the oldest are removed.
pub(crate) async fn requests_are_limited_until_the_oldest_are_removed(make: Make) {
    let store = make(Limits {
        owner_requests: 2,
        ..Limits::default()
    });
    let create = |number: i64, owner: &str| {
        let id = format!("s-{owner}-{number}");
        let change = Change::CreateSession(session(&id, owner, &id));
        keyed(change, owner, &format!("k-{number}"), number)
    };
    for number in 0..2 {
        stored(&*store, create(number, "o")).await;
    }
    let refusal = refused(&*store, create(2, "o")).await;
    assert_eq!(refusal, StoreErrorKind::TooManyRequests);
    stored(&*store, create(0, "other")).await;
    stored(&*store, unit(Change::RemoveRequests { before: at(0) })).await;
    assert!(find(&*store, "o", "k-0").await.is_none());
    assert!(find(&*store, "o", "k-1").await.is_some());
    let stats = store.stats().await.expect("readable");
    assert_eq!(stats.oldest_request, Some(at(1)));
    stored(&*store, create(2, "o")).await;
    stored(&*store, unit(Change::RemoveRequests { before: at(9) })).await;
    stored(&*store, create(3, "o")).await;
}
