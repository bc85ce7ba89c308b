//! What a text that is no code may have meant.

use super::Jurisdiction;
use super::iso3166::{COUNTRIES, SUBDIVISIONS};

/// The places that `text` may mean, the likeliest first; none if nothing comes near.
pub(super) fn suggestions(text: &str) -> Vec<Jurisdiction> {
    if text.len() > LONGEST {
        return Vec::new();
    }
    let wanted: String = letters(text).collect();
    let mut found = named(&wanted);
    if found.is_empty() {
        // `DE-BY`, `US-QC`, `CA-CA`: an unknown part of a known country
        if let Some((country, part)) = text.split_once(['-', '_', ' ']) {
            found = parts(&letters(part).collect::<String>());
            found.extend(countries(&letters(country).collect::<String>()));
        }
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
        .map(Jurisdiction::known)
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
        .map(|(code, _)| Jurisdiction::known(code))
        .collect()
}

fn countries(wanted: &str) -> Option<Jurisdiction> {
    COUNTRIES
        .iter()
        .find(|(code, _, _)| code.eq_ignore_ascii_case(wanted))
        .map(|(code, _, _)| Jurisdiction::known(code))
}

fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
}

/// Longest text that is looked at, in bytes: the longest name is shorter.
const LONGEST: usize = 64;

/// Names in use that the tables do not hold.
const ALIASES: [(&str, &str); 29] = [
    ("america", "US"),
    ("brasil", "BR"),
    ("britain", "GB"),
    ("cali", "US-CA"),
    ("calif", "US-CA"),
    ("czechrepublic", "CZ"),
    ("deutschland", "DE"),
    ("eea", "EEA"),
    ("el", "GR"),
    ("england", "GB"),
    ("espana", "ES"),
    ("españa", "ES"),
    ("eu", "EU"),
    ("europe", "EU"),
    ("europeaneconomicarea", "EEA"),
    ("europeanunion", "EU"),
    ("greatbritain", "GB"),
    ("holland", "NL"),
    ("italia", "IT"),
    ("newyorkcity", "US-NY"),
    ("northernireland", "GB"),
    ("québec", "CA-QC"),
    ("scotland", "GB"),
    ("türkiye", "TR"),
    ("uk", "GB"),
    ("unitedstatesofamerica", "US"),
    ("wales", "GB"),
    ("washingtondc", "US-DC"),
    ("österreich", "AT"),
];
