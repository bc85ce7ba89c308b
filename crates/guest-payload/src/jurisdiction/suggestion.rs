//! What a text that is no code may have meant.

use super::iso3166::{COUNTRIES, SUBDIVISIONS};
use super::{Jurisdiction, find};

/// The places that `text` may mean, the likeliest first; none if nothing comes near.
pub(super) fn suggestions(text: &str) -> Vec<Jurisdiction> {
    if text.len() > LONGEST {
        return Vec::new();
    }
    let found = named(&letters(text).collect::<String>());
    match text.split_once(['-', '_', ' ', ',', '/', '(']) {
        Some((first, last)) if found.is_empty() => pair(
            &letters(first).collect::<String>(),
            &letters(last).collect::<String>(),
        ),
        _ => found,
    }
}

/// What two words may mean together.
fn pair(first: &str, last: &str) -> Vec<Jurisdiction> {
    // `CA (USA)`, `US-California`: a state beside its country
    let is_in = |country: &str, code: &str| named(country).iter().any(|known| known.as_str() == &code[..2]);
    let is_called = |word: &str, (code, name): &(&str, &str)| {
        code[3..].eq_ignore_ascii_case(word) || letters(name).eq(word.chars())
    };
    let state = SUBDIVISIONS.iter().find(|state| {
        (is_called(first, state) && is_in(last, state.0)) || (is_called(last, state) && is_in(first, state.0))
    });
    if let Some((code, _)) = state {
        return find(code).into_iter().collect();
    }
    let mut found = Vec::new();
    // `CA-California`
    if last.len() > 3 {
        found = named(last);
    }
    // `DE-BY`, `US-QC`, `CA-CA`: an unknown part of a known country
    if found.is_empty() {
        found = parts(last);
        found.extend(countries(first));
    }
    // `en-GB`: a language and a country
    if found.is_empty() {
        found = named(last);
    }
    found
}

/// Everything that bears this name or code, once punctuation and case are gone.
fn named(wanted: &str) -> Vec<Jurisdiction> {
    let bare = wanted.strip_prefix("the").unwrap_or(wanted);
    let is_called = |name: &str| {
        let name = name.strip_prefix("the ").unwrap_or(name);
        letters(name).eq(bare.chars()) || letters(name).eq(wanted.chars())
    };
    let aliases = ALIASES.iter().filter(|(name, _)| is_called(name));
    let countries = COUNTRIES.iter().filter(|(code, alpha3, name)| {
        code.eq_ignore_ascii_case(wanted) || alpha3.eq_ignore_ascii_case(wanted) || is_called(name)
    });
    let subdivisions = SUBDIVISIONS
        .iter()
        .filter(|(code, name)| letters(code).eq(wanted.chars()) || is_called(name));
    let mut found: Vec<Jurisdiction> = aliases
        .map(|(_, code)| *code)
        .chain(countries.map(|(code, _, _)| *code))
        .chain(subdivisions.map(|(code, _)| *code))
        .filter_map(find)
        .collect();
    found.dedup();
    if found.is_empty() {
        found = parts(wanted);
    }
    found
}

/// States and provinces whose own code, without the country's, is this.
fn parts(part: &str) -> Vec<Jurisdiction> {
    SUBDIVISIONS
        .iter()
        .filter(|(code, _)| code[3..].eq_ignore_ascii_case(part))
        .filter_map(|(code, _)| find(code))
        .collect()
}

fn countries(wanted: &str) -> Option<Jurisdiction> {
    COUNTRIES
        .iter()
        .find(|(code, _, _)| code.eq_ignore_ascii_case(wanted))
        .and_then(|(code, _, _)| find(code))
}

fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
}

/// Longest text that is looked at, in bytes: the longest name is shorter.
const LONGEST: usize = 64;

/// Names in use that the tables do not hold.
const ALIASES: [(&str, &str); 51] = [
    ("alemania", "DE"),
    ("allemagne", "DE"),
    ("america", "US"),
    ("brasil", "BR"),
    ("brasilien", "BR"),
    ("britain", "GB"),
    ("brésil", "BR"),
    ("cali", "US-CA"),
    ("calif", "US-CA"),
    ("californie", "US-CA"),
    ("californië", "US-CA"),
    ("canadá", "CA"),
    ("czechrepublic", "CZ"),
    ("deutschland", "DE"),
    ("eea", "EEA"),
    ("el", "GR"),
    ("en", "GB"),
    ("en", "US"),
    ("england", "GB"),
    ("espana", "ES"),
    ("españa", "ES"),
    ("estadosunidos", "US"),
    ("eu", "EU"),
    ("europa", "EU"),
    ("europe", "EU"),
    ("europeaneconomicarea", "EEA"),
    ("europeanunion", "EU"),
    ("frankreich", "FR"),
    ("greatbritain", "GB"),
    ("grossbritannien", "GB"),
    ("großbritannien", "GB"),
    ("holland", "NL"),
    ("italia", "IT"),
    ("kalifornien", "US-CA"),
    ("kanada", "CA"),
    ("newyorkcity", "US-NY"),
    ("northernireland", "GB"),
    ("québec", "CA-QC"),
    ("royaumeuni", "GB"),
    ("schweiz", "CH"),
    ("scotland", "GB"),
    ("suisse", "CH"),
    ("svizzera", "CH"),
    ("türkiye", "TR"),
    ("uk", "GB"),
    ("unitedstatesofamerica", "US"),
    ("usofa", "US"),
    ("wales", "GB"),
    ("washingtondc", "US-DC"),
    ("étatsunis", "US"),
    ("österreich", "AT"),
];
