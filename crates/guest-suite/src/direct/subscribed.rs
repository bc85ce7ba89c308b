//! The owners with a webhook for events that are stored only if one asks for them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use webhook::EventName;

use super::Direct;
use crate::Error;

/// The owners, by the name of the event. Read from the store again after a change of a webhook.
#[derive(Debug, Default)]
pub(super) struct Subscribed {
    state: Mutex<State>,
    /// Events that the store refused.
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Number of changes of webhooks in this process, the only one that changes them.
    changes: u64,
    owners: Option<Arc<HashMap<String, Vec<String>>>>,
}

impl Subscribed {
    /// Handles a change of a webhook.
    pub(super) fn handle_change(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.changes += 1;
        state.owners = None;
    }
}

impl Direct {
    /// Events `message.received` and `reconnected` that the store refused since the start, which no webhook gets. All other
    /// events are stored with the change that causes them, which is refused without them.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        self.shared.subscribed.lost.load(Ordering::Relaxed)
    }

    pub(super) fn count_lost_event(&self) {
        self.shared.subscribed.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a webhook of `owner` subscribes to this event.
    pub(super) async fn is_subscribed(&self, owner: &str, event: EventName) -> Result<bool, Error> {
        let state = || {
            let state = &self.shared.subscribed.state;
            state.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let (changes, known) = {
            let state = state();
            (state.changes, state.owners.clone())
        };
        let owners = match known {
            Some(owners) => owners,
            None => {
                let mut owners = HashMap::<_, Vec<String>>::new();
                for webhook in self.store().webhooks().await? {
                    owners.entry(webhook.owner).or_default().extend(webhook.events);
                }
                let owners = Arc::new(owners);
                let mut state = state();
                if state.changes == changes {
                    state.owners = Some(owners.clone());
                }
                owners
            }
        };
        let subscribes = |events: &Vec<String>| events.iter().any(|name| name == event.as_str());
        Ok(owners.get(owner).is_some_and(subscribes))
    }
}
