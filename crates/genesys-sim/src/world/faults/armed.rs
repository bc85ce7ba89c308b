//! Armed faults, and the number of times that each kind has happened.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fault::{Effect, Fault, FaultError, MAX_FAULTS, Site};
use crate::world::Seed;

pub(crate) struct ArmedFaults {
    seed: Seed,
    armed: Vec<Armed>,
    last_id: u64,
    pub(in crate::world) injected: BTreeMap<&'static str, u64>,
}

struct Armed {
    id: u64,
    fault: Fault,
    session: Option<String>,
    seen: u64,
    happened: u64,
}

impl ArmedFaults {
    /// Arms these faults. Those beyond the limit are left out.
    pub(crate) fn new(seed: Seed, faults: Vec<Fault>) -> Self {
        let mut armed = Self {
            seed,
            armed: Vec::new(),
            last_id: 0,
            injected: BTreeMap::new(),
        };
        for fault in faults {
            let _full = armed.arm(fault, None);
        }
        armed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    /// Arms a fault for all sessions, or for the session of this token, and returns its id.
    pub(crate) fn arm(&mut self, fault: Fault, session: Option<String>) -> Result<u64, FaultError> {
        if session.is_some() && fault.site == Site::Handshake {
            return Err(FaultError::Session(fault.kind));
        }
        if self.armed.len() >= MAX_FAULTS {
            return Err(FaultError::TooMany);
        }
        self.last_id += 1;
        self.armed.push(Armed {
            id: self.last_id,
            fault,
            session,
            seen: 0,
            happened: 0,
        });
        Ok(self.last_id)
    }

    pub(super) fn disarm(&mut self, id: Option<u64>) -> usize {
        let before = self.armed.len();
        self.armed.retain(|armed| id.is_some_and(|id| id != armed.id));
        before - self.armed.len()
    }

    /// Returns the effects of the faults that happen now, in the order in which they were armed.
    pub(super) fn trigger(&mut self, site: Site, session: Option<&str>, path: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        let (seed, injected) = (&mut self.seed, &mut self.injected);
        self.armed.retain_mut(|armed| {
            // a request is refused once
            let refused = site == Site::Rest && !effects.is_empty();
            if refused || armed.fault.site != site || !armed.applies_to(session, path) {
                return true;
            }
            armed.seen += 1;
            if armed.seen < u64::from(armed.fault.from) || !chance(seed, armed.fault.percent) {
                return true;
            }
            armed.happened += 1;
            *injected.entry(armed.fault.kind).or_default() += 1;
            effects.push(armed.fault.effect.clone());
            let times = armed.fault.times;
            times.is_none_or(|times| armed.happened < u64::from(times))
        });
        effects
    }

    pub(crate) fn list(&self) -> Vec<Value> {
        let shown = self.armed.iter().map(|armed| {
            json!({
                "id": armed.id,
                "fault": armed.fault.to_string(),
                "session": armed.session.as_deref().map(redacted),
                "seen": armed.seen,
                "happened": armed.happened,
            })
        });
        shown.collect()
    }
}

impl Armed {
    fn applies_to(&self, session: Option<&str>, path: &str) -> bool {
        let session_matches = self.session.is_none() || self.session.as_deref() == session;
        let path_matches = match &self.fault.effect {
            Effect::Rest(_, Some(prefix)) => path.starts_with(prefix.as_str()),
            _ => true,
        };
        session_matches && path_matches
    }
}

fn chance(seed: &mut Seed, percent: Option<u8>) -> bool {
    let Some(percent) = percent else {
        return true;
    };
    let [a, b, c, d, ..] = seed.bytes();
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

    fn armed(texts: &[&str]) -> ArmedFaults {
        let mut armed = ArmedFaults::new(Seed::new([3; 32]), Vec::new());
        for text in texts {
            armed.arm(text.parse().unwrap(), None).unwrap();
        }
        armed
    }

    #[test]
    fn fault_waits_for_its_turn_and_is_removed_after_its_last() {
        let mut armed = armed(&["duplicate:x2@3"]);
        let hits: Vec<_> = (0..6)
            .map(|_| armed.trigger(Site::FrameToGuest, None, "").len())
            .collect();
        assert_eq!(hits, [0, 0, 1, 1, 0, 0]);
        assert!(armed.is_empty());
        assert_eq!(armed.injected, BTreeMap::from([("duplicate", 2)]));
    }

    #[test]
    fn fault_applies_to_its_site_path_and_session() {
        let mut armed = armed(&["rest:503:/oauth:always"]);
        assert!(armed.trigger(Site::FrameToGuest, None, "/oauth").is_empty());
        assert!(armed.trigger(Site::Rest, None, "/api").is_empty());
        assert_eq!(armed.trigger(Site::Rest, None, "/oauth/token").len(), 1);

        armed.disarm(None);
        armed
            .arm("evict:always".parse().unwrap(), Some("a".to_owned()))
            .unwrap();
        assert!(armed.trigger(Site::FrameToGuest, None, "").is_empty());
        assert!(armed.trigger(Site::FrameToGuest, Some("b"), "").is_empty());
        assert_eq!(armed.trigger(Site::FrameToGuest, Some("a"), "").len(), 1);
        assert!(matches!(
            armed.arm("slow-handshake:1s".parse().unwrap(), Some("a".to_owned())),
            Err(FaultError::Session(_))
        ));
    }

    #[test]
    fn chance_is_drawn_from_the_seed() {
        let run = || {
            let mut armed = armed(&["duplicate~25%"]);
            (0..400)
                .map(|_| armed.trigger(Site::FrameToGuest, None, "").len())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        let hits = run().iter().sum::<usize>();
        assert!((60..140).contains(&hits), "{hits} of 400 are no quarter");
        let mut certain = armed(&["duplicate~100%"]);
        assert!((0..100).all(|_| certain.trigger(Site::FrameToGuest, None, "").len() == 1));
    }

    #[test]
    fn armed_faults_are_limited_to_64_and_disarmed_by_id() {
        let mut armed = armed(&["evict"; 64]);
        assert_eq!(
            armed.arm("evict".parse().unwrap(), None),
            Err(FaultError::TooMany)
        );
        assert_eq!(armed.disarm(Some(2)), 1);
        assert_eq!(armed.disarm(Some(2)), 0);
        assert_eq!(armed.list().len(), 63);
        assert_eq!(armed.disarm(None), 63);
    }
}
