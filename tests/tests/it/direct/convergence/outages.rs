//! Outages of days, and random ones.

use guest_suite::store::Change;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
/// Time for which the events of a disabled webhook are kept.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

impl Outage {
    async fn is_enabled(&self) -> bool {
        let webhook = self.direct.webhooks(OWNER).await.unwrap().remove(0);
        webhook.subscription.enabled
    }

    /// Adds old events of the webhook to snapshots if it is disabled, as the background tasks do.
    async fn remove_old(&self) {
        let before = self.clock.now().utc - KEPT;
        let removal = Change::RemoveOldDeliveries { before };
        self.direct.store().commit(removal.into()).await.unwrap();
    }

    /// Ends the outage: the receiver answers, and the webhook is resumed if it was disabled.
    async fn end_outage(&self) {
        self.crm.set_down(false);
        let webhook = self.direct.webhooks(OWNER).await.unwrap().remove(0);
        self.direct
            .enable_webhook(OWNER, &webhook.id, true)
            .await
            .unwrap();
    }
}

/// The events of the first day are dead, the webhook is disabled after five days, and later events outgrow the queue.
#[tokio::test]
async fn receiver_that_was_down_for_nine_days_under_load_converges() {
    for ordered in [false, true] {
        let mut outage = Outage::of_webhook(ordered).await;
        let (known, mut ended) = (outage.create().await, Vec::new());
        outage.attempt_all().await;
        outage.crm.set_down(true);
        let mut enabled_days = 0;
        for day in 0..9 {
            for purpose in PURPOSES {
                let id = outage.create().await;
                outage.withdraw(&id, purpose).await;
                if purpose != Purpose::Marketing {
                    outage.end(&id).await;
                    ended.push(id);
                }
                outage.attempt_all().await;
                outage.clock.advance(DAY / 4);
            }
            if day % 3 == 2 {
                outage.erase(&std::mem::take(&mut ended)).await;
            }
            outage.clock.advance(DAY / 4);
            outage.remove_old().await;
            outage.attempt_all().await;
            enabled_days += u32::from(outage.is_enabled().await);
        }
        assert!((4..=6).contains(&enabled_days), "{enabled_days} days");
        let entries = outage
            .direct
            .store()
            .entries(EntryQuery::From(0), 1_000)
            .await
            .unwrap();
        let is_dead = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("webhook.dead");
        assert!(entries.iter().any(|entry| is_dead(&entry.bytes)));
        outage.withdraw(&known, Purpose::Marketing).await;
        outage.end(&known).await;
        outage.end_outage().await;
        outage.converge().await;
    }
}

/// Makes random changes while the receiver fails and recovers, and the process restarts.
async fn random_outage(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut outage = Outage::of_webhook(seed % 2 == 1).await;
    // live sessions with the purposes that are still granted
    let (mut live, mut ended) = (Vec::new(), Vec::new());
    for _ in 0..50 {
        match random.u8(..18) {
            0..=3 => live.push((outage.create().await, PURPOSES.to_vec())),
            4..=7 if !live.is_empty() => {
                let place = random.usize(..live.len());
                let (id, granted) = &mut live[place];
                if let Some(purpose) = granted.pop() {
                    outage.withdraw(id, purpose).await;
                }
            }
            8 | 9 if !live.is_empty() => {
                let (id, _) = live.swap_remove(random.usize(..live.len()));
                outage.end(&id).await;
                ended.push(id);
            }
            10 => outage.erase(&std::mem::take(&mut ended)).await,
            11 | 12 => outage.crm.set_down(random.u8(..3) > 0),
            13 => outage = outage.restart().await,
            14 | 15 => {
                outage.clock.advance(DAY * random.u32(1..=2));
                outage.remove_old().await;
                outage.attempt_all().await;
            }
            _ => outage.attempt_all().await,
        }
    }
    outage.end_outage().await;
    outage.converge().await;
}

const PURPOSES: [Purpose; 3] = [Purpose::Analytics, Purpose::Personalization, Purpose::Marketing];

#[tokio::test]
async fn receiver_converges_after_random_outages() {
    for seed in 0..5 {
        println!("seed {seed}");
        random_outage(seed).await;
    }
}
