//! Suggestions for a text that is not a code.

use std::sync::LazyLock;

use super::{Jurisdiction, find};

/// The places that `text` may mean, the likeliest first.
pub(super) fn suggestions(text: &str) -> Vec<Jurisdiction> {
    if text.len() > LONGEST {
        return Vec::new();
    }
    let wanted = normalized(text);
    let mut found = named(&wanted);
    if found.is_empty() {
        found = parts(&wanted);
    }
    if found.is_empty()
        && let Some((first, last)) = text.split_once(['-', '_', ' ', ',', '/', '('])
    {
        found = pair(&normalized(first), &normalized(last));
    }
    if found.is_empty() {
        found = similar(&wanted);
    }
    found
}

/// The places that two words may mean together.
fn pair(first: &str, last: &str) -> Vec<Jurisdiction> {
    // `CA (USA)`, `US-California`: a state beside its country
    for (state, country) in [(first, last), (last, first)] {
        let countries = named(country);
        let states = parts(state).into_iter().chain(named(state));
        let is_in = |place: &Jurisdiction| place.country().is_some_and(|it| countries.contains(&it));
        if let Some(found) = states.into_iter().find(is_in) {
            return vec![found];
        }
    }
    // `CA-California`
    let mut found = if last.len() > 3 { named(last) } else { Vec::new() };
    // `DE-BY`, `US-QC`, `CA-CA`: an unknown part of a known country
    if found.is_empty() {
        found = parts(last);
        found.extend(find(&first.to_ascii_uppercase()));
    }
    // `en-GB`: a language and a country
    if found.is_empty() {
        found = named(last);
    }
    found
}

/// The places with this name or code.
fn named(wanted: &str) -> Vec<Jurisdiction> {
    let mut found: Vec<Jurisdiction> = NAMES
        .iter()
        .filter(|(name, _)| name == wanted)
        .map(|(_, place)| *place)
        .collect();
    found.dedup();
    found
}

/// The states and provinces whose code without the country's is this.
fn parts(part: &str) -> Vec<Jurisdiction> {
    Jurisdiction::all()
        .filter(|place| {
            let own = place.as_str().split_once('-');
            own.is_some_and(|(_, own)| own.eq_ignore_ascii_case(part))
        })
        .collect()
}

/// The places whose name is spelled almost like this.
fn similar(wanted: &str) -> Vec<Jurisdiction> {
    let most = match wanted.chars().count() {
        0..5 => return Vec::new(),
        5..8 => 1,
        _ => 2,
    };
    let mut nearest = most + 1;
    let mut found = Vec::new();
    let candidates = NAMES
        .iter()
        .filter(|(name, _)| name.len().abs_diff(wanted.len()) <= 2 * most);
    for (name, place) in candidates {
        let distance = strsim::osa_distance(name, wanted);
        if distance < nearest {
            nearest = distance;
            found.clear();
        }
        if distance == nearest && distance <= most && !found.contains(place) {
            found.push(*place);
        }
    }
    found
}

/// Lower-case letters and digits only, without the article.
fn normalized(text: &str) -> String {
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    let text: String = letters.flat_map(char::to_lowercase).collect();
    match text.strip_prefix("the") {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// Longest text that is looked at, in bytes: the longest name is shorter.
const LONGEST: usize = 64;

/// Each normalized name and code, with its place.
static NAMES: LazyLock<Vec<(String, Jurisdiction)>> = LazyLock::new(|| {
    let names = Jurisdiction::all().flat_map(|jurisdiction| {
        let place = jurisdiction.entry();
        [place.code, place.name, place.alpha3]
            .into_iter()
            .chain(place.aliases.split(' '))
            .filter(|name| !name.is_empty())
            .map(move |name| (normalized(name), jurisdiction))
    });
    names.collect()
});
