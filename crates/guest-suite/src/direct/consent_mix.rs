//! The consent of all sessions by jurisdiction, as totals of the store: a restart reads no session.

use std::collections::{BTreeMap, BTreeSet};

use guest_payload::{Choice, ConsentRecord, Purpose};
use serde::Serialize;

/// Start of the totals of records that began to have a state.
const ENTERED: &str = "consent + ";
/// Start of the totals of records that ceased to have a state.
const LEFT: &str = "consent - ";

/// Sessions of one jurisdiction by the latest state of each purpose, also ended and erased ones.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ConsentMix {
    /// The jurisdiction, `several` for a session in more than one, `unknown` for one in none.
    pub jurisdiction: String,
    /// In the order of [`Purpose::ALL`].
    pub purposes: [PurposeMix; 3],
}

/// Sessions by the state of one purpose.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PurposeMix {
    /// Sessions whose data may be used for it.
    pub on: u64,
    /// The other sessions.
    pub off: u64,
    /// Sessions whose guest was asked and chose, also counted as on or off.
    pub asked: u64,
}

impl ConsentMix {
    /// The mix of each jurisdiction from the [totals](guest_store::Stats::totals) of a store. At most a few hundred, because
    /// jurisdictions are a closed list.
    #[must_use]
    pub fn of_totals(totals: &BTreeMap<String, u64>) -> Vec<Self> {
        let mut mixes: BTreeMap<&str, [PurposeMix; 3]> = BTreeMap::new();
        for (state, entered) in totals
            .iter()
            .filter_map(|(name, total)| Some((name.strip_prefix(ENTERED)?, total)))
        {
            let left = totals.get(&format!("{LEFT}{state}")).copied().unwrap_or_default();
            let count = entered.saturating_sub(left);
            let words: Vec<&str> = state.split(' ').collect();
            let &[jurisdiction, purpose, switch, asked] = &*words else {
                continue;
            };
            let Some(purpose) = Purpose::ALL.into_iter().find(|known| known.as_str() == purpose) else {
                continue;
            };
            let mix = &mut mixes.entry(jurisdiction).or_default()[purpose as usize];
            match switch {
                "on" => mix.on += count,
                _ => mix.off += count,
            }
            if asked == "asked" {
                mix.asked += count;
            }
        }
        let mixes = mixes.into_iter().map(|(jurisdiction, purposes)| Self {
            jurisdiction: jurisdiction.to_owned(),
            purposes,
        });
        mixes.collect()
    }
}

/// The additions to totals as the record of a session is created or changes.
pub(super) fn additions(before: Option<&ConsentRecord>, after: &ConsentRecord) -> Vec<(String, u64)> {
    let (before, after) = (before.map(states).unwrap_or_default(), states(after));
    let entered = after.difference(&before).map(|state| format!("{ENTERED}{state}"));
    let left = before.difference(&after).map(|state| format!("{LEFT}{state}"));
    entered.chain(left).map(|name| (name, 1)).collect()
}

fn states(consent: &ConsentRecord) -> BTreeSet<String> {
    let states = Purpose::ALL.map(|purpose| {
        let record = consent.purpose(purpose);
        let switch = if record.is_on() { "on" } else { "off" };
        let asked = match record.choice {
            Choice::Unknown => "unasked",
            Choice::Denied | Choice::Granted => "asked",
        };
        format!("{} {purpose} {switch} {asked}", label(consent))
    });
    states.into()
}

/// The jurisdiction of a session as a label of figures.
pub(super) fn label(consent: &ConsentRecord) -> &'static str {
    match &*consent.jurisdictions {
        [] => "unknown",
        [place] => place.as_str(),
        // combinations would use up the groups
        _ => "several",
    }
}
