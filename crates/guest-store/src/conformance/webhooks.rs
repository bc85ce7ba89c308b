//! Webhooks.

use secrecy::ExposeSecret;

use super::deliveries::lease;
use super::samples::{at, event, events, refused, settlement, store_sessions, stored, unit, webhook};
use super::{Fixture, Make};
use crate::{Change, Conflict, Limits, Settled, Settlement, StoreErrorKind, Webhook};

/// A webhook is stored, changed with its latest version, and removed.
pub(crate) async fn webhooks_are_put_and_removed(make: Make) {
    let store = make(Limits::default());
    let mut sample = webhook("w-1", "o", "crm", &["created", "ended"]);
    stored(&*store, unit(Change::PutWebhook(sample.clone()))).await;
    stored(
        &*store,
        unit(Change::PutWebhook(webhook("w-0", "other", "crm", &[]))),
    )
    .await;
    let found = store.webhooks().await.expect("readable");
    let ids: Vec<&str> = found.iter().map(|webhook| webhook.id.as_str()).collect();
    assert_eq!(ids, ["w-0", "w-1"]);
    let found = &found[1];
    assert_eq!(
        (&found.name, &found.owner, &found.events),
        (&sample.name, &sample.owner, &sample.events)
    );
    assert_eq!(
        (found.enabled, found.version, found.failing_since, found.failures),
        (true, 1, None, 0)
    );
    assert_eq!(found.secrets.expose_secret(), sample.secrets.expose_secret());
    assert_eq!(found.document, sample.document);
    assert!(!format!("{found:?}").contains("canary"));

    let conflict = |conflict| StoreErrorKind::Conflict(conflict);
    let put = |webhook: &Webhook| unit(Change::PutWebhook(webhook.clone()));
    assert_eq!(refused(&*store, put(&sample)).await, conflict(Conflict::IdInUse));
    let same_name = webhook("w-2", "o", "crm", &[]);
    assert_eq!(
        refused(&*store, put(&same_name)).await,
        conflict(Conflict::WebhookNameInUse)
    );
    sample.version = 2;
    assert_eq!(
        refused(&*store, put(&sample)).await,
        conflict(Conflict::VersionChanged)
    );
    sample.version = 1;
    let reassigned = Webhook {
        owner: "other".to_owned(),
        ..sample.clone()
    };
    assert_eq!(
        refused(&*store, put(&reassigned)).await,
        conflict(Conflict::IdInUse)
    );
    sample.enabled = false;
    sample.name = "renamed".to_owned();
    stored(&*store, put(&sample)).await;
    stored(&*store, put(&same_name)).await;
    sample.version = 2;
    sample.name = "crm".to_owned();
    assert_eq!(
        refused(&*store, put(&sample)).await,
        conflict(Conflict::WebhookNameInUse)
    );
    let found = &store.webhooks().await.expect("readable")[1];
    assert_eq!(
        (found.name.as_str(), found.enabled, found.version),
        ("renamed", false, 2)
    );

    stored(&*store, unit(Change::RemoveWebhook(sample.id.clone()))).await;
    let gone = unit(Change::RemoveWebhook(sample.id.clone()));
    assert_eq!(refused(&*store, gone).await, StoreErrorKind::NotFound);
    assert_eq!(refused(&*store, put(&sample)).await, StoreErrorKind::NotFound);
}

/// A put never writes the health, which a settlement may have changed since it was read. One that enables a webhook, or
/// changes the document of an enabled one, resets it.
pub(crate) async fn webhook_put_keeps_or_resets_health(make: Make) {
    let store = make(Limits::default());
    store_sessions(&*store, &["s-1"]).await;
    let mut sample = webhook("w", "o", "crm", &["n"]);
    stored(&*store, unit(Change::PutWebhook(sample.clone()))).await;
    let health = async || {
        let found = store.webhooks().await.expect("readable").remove(0);
        (found.failing_since, found.failures, found.rest_until)
    };
    let fail = async |second| {
        stored(&*store, events(vec![event(&format!("e-{second}"), "o", "n")])).await;
        let failed = Settlement {
            at: at(second),
            rest_until: Some(at(second + 1)),
            ..settlement(
                &lease(&*store, at(second), 1).await[0],
                Settled::RetryAt(at(9_000)),
            )
        };
        store
            .commit(Change::Settle(failed).into())
            .await
            .expect("settled");
    };
    let failed = |second| (Some(at(second)), 1, Some(at(second + 1)));
    let reset = (None, 0, None);
    fail(0).await;
    let mut put = async |change: fn(&mut Webhook)| {
        sample.version += 1;
        change(&mut sample);
        stored(&*store, unit(Change::PutWebhook(sample.clone()))).await;
        health().await
    };
    assert_eq!(put(|webhook| webhook.secrets = "rotated".into()).await, failed(0));
    let paused = |webhook: &mut Webhook| (webhook.enabled, webhook.document) = (false, "paused".into());
    assert_eq!(put(paused).await, failed(0));
    assert_eq!(put(|webhook| webhook.enabled = true).await, reset);
    fail(10).await;
    assert_eq!(put(|webhook| webhook.name = "other".into()).await, failed(10));
    assert_eq!(put(|webhook| webhook.document = "moved".into()).await, reset);
}

/// There are only so many, of one owner and of all.
pub(crate) async fn webhook_count_is_limited(make: Make) {
    let most = Limits::default();
    has_room_for_one(make(Limits { webhooks: 1, ..most })).await;
    let store = make(Limits {
        owner_webhooks: 1,
        ..most
    });
    let others = unit(Change::PutWebhook(webhook("w-0", "other", "one", &[])));
    stored(&*store, others).await;
    has_room_for_one(store).await;
}

async fn has_room_for_one(store: Fixture) {
    let mut first = webhook("w-1", "o", "one", &[]);
    stored(&*store, unit(Change::PutWebhook(first.clone()))).await;
    let second = unit(Change::PutWebhook(webhook("w-2", "o", "two", &[])));
    assert_eq!(
        refused(&*store, second.clone()).await,
        StoreErrorKind::TooManyWebhooks
    );
    first.version = 1;
    stored(&*store, unit(Change::PutWebhook(first.clone()))).await;
    stored(&*store, unit(Change::RemoveWebhook(first.id))).await;
    stored(&*store, second).await;
}
