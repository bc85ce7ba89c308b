//! The index from places to rules.

use super::{Rule, Scope};
use crate::{Jurisdiction, Purpose};

/// Returns the number of each purpose's rule for each place, and last for an unknown place. The narrowest rule applies,
/// or else the one for elsewhere.
///
/// The rules must not overlap, and each purpose needs one for elsewhere and one for unknown places.
pub(super) fn build(rules: &[Rule]) -> Vec<u16> {
    let mut exact = vec![[None; 3]; Jurisdiction::all().len()];
    let (mut elsewhere, mut unknown) = ([0; 3], [0; 3]);
    for (number, rule) in (0..).zip(rules) {
        let purpose = rule.purpose as usize;
        match &rule.scope {
            Scope::Elsewhere => elsewhere[purpose] = number,
            Scope::Places(places) => {
                for place in places.iter() {
                    exact[place.index()][purpose] = Some(number);
                }
            }
            Scope::Unknown => unknown[purpose] = number,
        }
    }
    let rule_of = |place: Jurisdiction, purpose: Purpose| {
        place
            .ancestors()
            .find_map(|wider| exact[wider.index()][purpose as usize])
            .unwrap_or(elsewhere[purpose as usize])
    };
    Jurisdiction::all()
        .flat_map(|place| Purpose::ALL.map(|purpose| rule_of(place, purpose)))
        .chain(unknown)
        .collect()
}
