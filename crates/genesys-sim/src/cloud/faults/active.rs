//! Active faults, and the number of times that each kind has happened.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cloud::SeededRng;
use crate::fault::{Effect, Fault, FaultError, MAX_FAULTS, Site};

pub(crate) struct ActiveFaults {
    rng: SeededRng,
    faults: Vec<ActiveFault>,
    last_id: u64,
    pub(in crate::cloud) counts: BTreeMap<&'static str, u64>,
}

struct ActiveFault {
    id: u64,
    fault: Fault,
    session: Option<String>,
    seen: u64,
    triggered: u64,
}

impl ActiveFaults {
    /// Arms these faults. Those beyond the limit are left out.
    pub(crate) fn new(rng: SeededRng, faults: Vec<Fault>) -> Self {
        let mut active = Self {
            rng,
            faults: Vec::new(),
            last_id: 0,
            counts: BTreeMap::new(),
        };
        for fault in faults {
            let _full = active.add(fault, None);
        }
        active
    }

    /// Arms a fault for all sessions, or for the session of this token, and returns its id.
    pub(crate) fn add(&mut self, fault: Fault, session: Option<String>) -> Result<u64, FaultError> {
        if session.is_some() && fault.site == Site::Handshake {
            return Err(FaultError::Session(fault.kind));
        }
        if self.faults.len() >= MAX_FAULTS {
            return Err(FaultError::TooMany);
        }
        self.last_id += 1;
        self.faults.push(ActiveFault {
            id: self.last_id,
            fault,
            session,
            seen: 0,
            triggered: 0,
        });
        Ok(self.last_id)
    }

    pub(super) fn remove(&mut self, id: Option<u64>) -> usize {
        let before = self.faults.len();
        self.faults.retain(|active| id.is_some_and(|id| id != active.id));
        before - self.faults.len()
    }

    /// Returns the effects of the faults that happen now, in the order in which they were added.
    pub(super) fn trigger(&mut self, site: Site, session: Option<&str>, path: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        let (rng, counts) = (&mut self.rng, &mut self.counts);
        self.faults.retain_mut(|active| {
            // a request is refused once
            let refused = site == Site::Rest && !effects.is_empty();
            if refused || active.fault.site != site || !active.applies_to(session, path) {
                return true;
            }
            active.seen += 1;
            if active.seen < u64::from(active.fault.from) || !chance(rng, active.fault.percent) {
                return true;
            }
            active.triggered += 1;
            *counts.entry(active.fault.kind).or_default() += 1;
            effects.push(active.fault.effect.clone());
            let times = active.fault.times;
            times.is_none_or(|times| active.triggered < u64::from(times))
        });
        effects
    }

    pub(crate) fn list(&self) -> Vec<Value> {
        let shown = self.faults.iter().map(|active| {
            json!({
                "id": active.id,
                "fault": active.fault.to_string(),
                "session": active.session.as_deref().map(redacted),
                "seen": active.seen,
                "happened": active.triggered,
            })
        });
        shown.collect()
    }
}

impl ActiveFault {
    fn applies_to(&self, session: Option<&str>, path: &str) -> bool {
        let session_matches = self.session.is_none() || self.session.as_deref() == session;
        let path_matches = match &self.fault.effect {
            Effect::Rest(_, Some(prefix)) => path.starts_with(prefix.as_str()),
            _ => true,
        };
        session_matches && path_matches
    }
}

fn chance(rng: &mut SeededRng, percent: Option<u8>) -> bool {
    let Some(percent) = percent else {
        return true;
    };
    let [a, b, c, d, ..] = rng.bytes();
    u64::from(u32::from_be_bytes([a, b, c, d])) * 100 < u64::from(percent) << 32
}

/// The last four characters of a session's token, which is a secret.
fn redacted(token: &str) -> String {
    let start = token.char_indices().rev().nth(3).map_or(0, |(index, _)| index);
    format!("…{}", &token[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(texts: &[&str]) -> ActiveFaults {
        let mut active = ActiveFaults::new(SeededRng::new([3; 32]), Vec::new());
        for text in texts {
            active.add(text.parse().unwrap(), None).unwrap();
        }
        active
    }

    #[test]
    fn fault_waits_for_its_turn_and_is_removed_after_its_last() {
        let mut active = active(&["duplicate:x2@3"]);
        let hits: Vec<_> = (0..6)
            .map(|_| active.trigger(Site::FrameToGuest, None, "").len())
            .collect();
        assert_eq!(hits, [0, 0, 1, 1, 0, 0]);
        assert!(active.faults.is_empty());
        assert_eq!(active.counts, BTreeMap::from([("duplicate", 2)]));
    }

    #[test]
    fn fault_applies_to_its_site_path_and_session() {
        let mut active = active(&["rest:503:/oauth:always"]);
        assert!(active.trigger(Site::FrameToGuest, None, "/oauth").is_empty());
        assert!(active.trigger(Site::Rest, None, "/api").is_empty());
        assert_eq!(active.trigger(Site::Rest, None, "/oauth/token").len(), 1);

        active.remove(None);
        active
            .add("evict:always".parse().unwrap(), Some("a".to_owned()))
            .unwrap();
        assert!(active.trigger(Site::FrameToGuest, None, "").is_empty());
        assert!(active.trigger(Site::FrameToGuest, Some("b"), "").is_empty());
        assert_eq!(active.trigger(Site::FrameToGuest, Some("a"), "").len(), 1);
        assert!(matches!(
            active.add("slow-handshake:1s".parse().unwrap(), Some("a".to_owned())),
            Err(FaultError::Session(_))
        ));
    }

    #[test]
    fn chance_is_drawn_from_the_seed() {
        let run = || {
            let mut active = active(&["duplicate~25%"]);
            (0..400)
                .map(|_| active.trigger(Site::FrameToGuest, None, "").len())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        let hits = run().iter().sum::<usize>();
        assert!((60..140).contains(&hits), "{hits} of 400 are no quarter");
        let mut certain = active(&["duplicate~100%"]);
        assert!((0..100).all(|_| certain.trigger(Site::FrameToGuest, None, "").len() == 1));
    }

    #[test]
    fn active_faults_are_limited_to_64_and_removed_by_id() {
        let mut active = active(&["evict"; 64]);
        assert_eq!(
            active.add("evict".parse().unwrap(), None),
            Err(FaultError::TooMany)
        );
        assert_eq!(active.remove(Some(2)), 1);
        assert_eq!(active.remove(Some(2)), 0);
        assert_eq!(active.list().len(), 63);
        assert_eq!(active.remove(None), 63);
    }
}
