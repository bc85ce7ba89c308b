//! Which rule holds where.

use super::{Rule, Scope};
use crate::{Jurisdiction, Purpose};

/// The number of the rule of each purpose, for each place that there is, and last for an unknown one. The narrowest
/// rule holds; where none does, the one for elsewhere.
///
/// The rules do not overlap, and each purpose has one for elsewhere and one for unknown places.
pub(super) fn build(rules: &[Rule]) -> Vec<u16> {
    let mut exact = vec![[None; 3]; Jurisdiction::COUNT];
    let (mut elsewhere, mut unknown) = ([0; 3], [0; 3]);
    for (number, rule) in (0..).zip(rules) {
        let purpose = rule.purpose as usize;
        match &rule.scope {
            Scope::Elsewhere => elsewhere[purpose] = number,
            Scope::Places(places) => {
                for place in places.iter() {
                    exact[place.slot()][purpose] = Some(number);
                }
            }
            Scope::Unknown => unknown[purpose] = number,
        }
    }
    let rule_of = |place: Jurisdiction, purpose: Purpose| {
        place
            .widening()
            .find_map(|wider| exact[wider.slot()][purpose as usize])
            .unwrap_or(elsewhere[purpose as usize])
    };
    Jurisdiction::all()
        .flat_map(|place| Purpose::ALL.map(|purpose| rule_of(place, purpose)))
        .chain(unknown)
        .collect()
}
