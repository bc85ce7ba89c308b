//! The faults that wait for their moment, and whose moment has come.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::error::FaultError;
use super::text::{Effect, Fault, FaultKind, Site, Times};
use crate::world::seed::Seed;

/// Most faults active at once.
const MOST: usize = 64;

/// How often each kind of fault happened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Injected([u64; FaultKind::ALL.len()]);

impl Injected {
    /// How often this kind happened.
    #[must_use]
    pub fn of(&self, kind: FaultKind) -> u64 {
        self.0[kind as usize]
    }

    /// How often any kind happened.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn count(&mut self, kind: FaultKind) {
        self.0[kind as usize] += 1;
    }
}

/// A map by name, of those that happened.
impl Serialize for Injected {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for kind in FaultKind::ALL.into_iter().filter(|kind| self.of(*kind) > 0) {
            map.serialize_entry(kind.name(), &self.of(kind))?;
        }
        map.end()
    }
}

#[derive(Debug)]
pub(super) struct Armed {
    seed: Seed,
    armed: Vec<Waiting>,
    count: u64,
    pub(super) injected: Injected,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    fault: Fault,
    /// The token of the one session that it is for.
    session: Option<String>,
    seen: u64,
    happened: u64,
}

impl Armed {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            seed,
            armed: Vec::new(),
            count: 0,
            injected: Injected::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    pub(super) fn arm(&mut self, fault: Fault, session: Option<String>) -> Result<u64, FaultError> {
        if session.is_some() && fault.site() == Site::Handshake {
            return Err(FaultError::Session {
                kind: fault.kind().name(),
            });
        }
        if self.armed.len() >= MOST {
            return Err(FaultError::TooMany { most: MOST });
        }
        self.count += 1;
        self.armed.push(Waiting {
            id: self.count,
            fault,
            session,
            seen: 0,
            happened: 0,
        });
        Ok(self.count)
    }

    /// Removes one, or all; says how many.
    pub(super) fn disarm(&mut self, id: Option<u64>) -> usize {
        let before = self.armed.len();
        self.armed.retain(|waiting| id.is_some_and(|id| id != waiting.id));
        before - self.armed.len()
    }

    /// The effects of all faults whose moment this is, in the order in which they were armed.
    pub(super) fn strike(&mut self, site: Site, session: Option<&str>, path: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        let (seed, injected) = (&mut self.seed, &mut self.injected);
        self.armed.retain_mut(|waiting| {
            // a request is refused once
            let refused = site == Site::Rest && !effects.is_empty();
            if refused || waiting.fault.site() != site || !waiting.concerns(session, path) {
                return true;
            }
            waiting.seen += 1;
            if waiting.seen < u64::from(waiting.fault.from) || !chance(seed, waiting.fault.percent) {
                return true;
            }
            waiting.happened += 1;
            injected.count(waiting.fault.kind());
            effects.push(waiting.fault.effect.clone());
            match waiting.fault.times {
                Times::Always => true,
                Times::Most(times) => waiting.happened < u64::from(times),
            }
        });
        effects
    }

    pub(super) fn list(&self) -> Vec<Value> {
        let show = |waiting: &Waiting| {
            json!({
                "id": waiting.id,
                "fault": waiting.fault.to_string(),
                "session": waiting.session.as_deref().map(hidden),
                "seen": waiting.seen,
                "happened": waiting.happened,
            })
        };
        self.armed.iter().map(show).collect()
    }
}

impl Waiting {
    fn concerns(&self, session: Option<&str>, path: &str) -> bool {
        let ours = self.session.is_none() || self.session.as_deref() == session;
        let there = match &self.fault.effect {
            Effect::Rest(_, Some(prefix)) => path.starts_with(prefix.as_str()),
            _ => true,
        };
        ours && there
    }
}

fn chance(seed: &mut Seed, percent: Option<u8>) -> bool {
    let Some(percent) = percent else {
        return true;
    };
    let [a, b, c, d, ..] = seed.bytes();
    u64::from(u32::from_be_bytes([a, b, c, d])) * 100 < u64::from(percent) << 32
}

/// A session's token is a secret: its last four characters tell it from others.
fn hidden(token: &str) -> String {
    let tail: Vec<_> = token.chars().rev().take(4).collect();
    format!("…{}", tail.into_iter().rev().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed(texts: &[&str]) -> Armed {
        let mut armed = Armed::new(Seed::new([3; 32]));
        for text in texts {
            armed.arm(text.parse().unwrap(), None).unwrap();
        }
        armed
    }

    #[test]
    fn a_fault_waits_for_its_turn_and_is_gone_after_its_last() {
        let mut armed = armed(&["duplicate:x2@3"]);
        let hits: Vec<_> = (0..6)
            .map(|_| armed.strike(Site::FrameToGuest, None, "").len())
            .collect();
        assert_eq!(hits, [0, 0, 1, 1, 0, 0]);
        assert!(armed.is_empty());
        assert_eq!(armed.injected.of(FaultKind::Duplicate), 2);
        assert_eq!(json!(armed.injected), json!({"duplicate": 2}));
    }

    #[test]
    fn a_fault_strikes_where_it_belongs() {
        let mut armed = armed(&["rest:503:/oauth:always"]);
        assert!(armed.strike(Site::FrameToGuest, None, "/oauth").is_empty());
        assert!(armed.strike(Site::Rest, None, "/api").is_empty());
        assert_eq!(armed.strike(Site::Rest, None, "/oauth/token").len(), 1);

        armed.disarm(None);
        armed
            .arm("evict:always".parse().unwrap(), Some("a".to_owned()))
            .unwrap();
        assert!(armed.strike(Site::FrameToGuest, None, "").is_empty());
        assert!(armed.strike(Site::FrameToGuest, Some("b"), "").is_empty());
        assert_eq!(armed.strike(Site::FrameToGuest, Some("a"), "").len(), 1);
        assert!(matches!(
            armed.arm("slow-handshake:1s".parse().unwrap(), Some("a".to_owned())),
            Err(FaultError::Session { .. })
        ));
    }

    #[test]
    fn chance_is_drawn_from_the_seed() {
        let run = || {
            let mut armed = armed(&["duplicate~25%"]);
            (0..400)
                .map(|_| armed.strike(Site::FrameToGuest, None, "").len())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        let hits = run().iter().sum::<usize>();
        assert!((60..140).contains(&hits), "{hits} of 400 are no quarter");
        let mut certain = armed(&["duplicate~100%"]);
        assert!((0..100).all(|_| certain.strike(Site::FrameToGuest, None, "").len() == 1));
    }

    #[test]
    fn no_more_than_64_faults_wait_and_one_can_be_taken_back() {
        let mut armed = armed(&["evict"; 64]);
        assert_eq!(
            armed.arm("evict".parse().unwrap(), None),
            Err(FaultError::TooMany { most: 64 })
        );
        assert_eq!(armed.disarm(Some(2)), 1);
        assert_eq!(armed.disarm(Some(2)), 0);
        assert_eq!(armed.list().len(), 63);
        assert_eq!(armed.disarm(None), 63);
    }
}
