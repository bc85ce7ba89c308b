//! Where a guest is, as the law sees it.

mod iso3166;
mod suggestion;

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use self::iso3166::{COUNTRIES, EEA_BESIDE_EU, EU_MEMBERS, SUBDIVISIONS};

/// A place whose rules may apply to a guest: a country, a state or province, or a union of countries.
///
/// Written as ISO 3166 writes it, in either case: alpha-2 (`FR`), or for parts of the United States and of Canada
/// ISO 3166-2 (`US-CA`, `CA-QC`). Beside them `EU`, `EEA`, and `UK`, which is read as `GB`. Bare `CA` is Canada;
/// California is `US-CA`. Anything else is refused, with a suggestion where one can be made: a region that is
/// guessed wrong is a guest treated under the wrong law.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Jurisdiction(u16);

impl Jurisdiction {
    /// The European Economic Area: the European Union, Iceland, Liechtenstein and Norway.
    pub const EEA: Self = Self(1);
    /// The European Union.
    pub const EU: Self = Self(0);

    /// How many there are. Each has a slot below it.
    pub(crate) const COUNT: usize = UNIONS + COUNTRIES.len() + SUBDIVISIONS.len();

    /// The code, as in `US-CA`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        let slot = self.slot();
        if slot == 0 {
            "EU"
        } else if slot == 1 {
            "EEA"
        } else if slot < UNIONS + COUNTRIES.len() {
            COUNTRIES[slot - UNIONS].0
        } else {
            SUBDIVISIONS[slot - UNIONS - COUNTRIES.len()].0
        }
    }

    /// The English name, as in `California`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.slot() {
            0 => "the European Union",
            1 => "the European Economic Area",
            slot if slot < UNIONS + COUNTRIES.len() => COUNTRIES[slot - UNIONS].2,
            slot => SUBDIVISIONS[slot - UNIONS - COUNTRIES.len()].1,
        }
    }

    /// The name, and for a state or a province its country: there are two of some names.
    fn described(self) -> String {
        match self.country() {
            Some(country) => format!("{} in {}", self.name(), country.name()),
            None => self.name().to_owned(),
        }
    }

    /// The country of a state or a province.
    fn country(self) -> Option<Self> {
        let (country, _) = self.as_str().split_once('-')?;
        find(country)
    }

    /// Every place that there is: unions, countries, subdivisions, each by its code.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).take(Self::COUNT).map(Self)
    }

    /// Its place in a table of all.
    pub(crate) const fn slot(self) -> usize {
        self.0 as usize
    }

    /// The place itself, then each wider place that holds it, the narrowest first: `US-CA` is in `US`, `FR` in `EU`
    /// and that in `EEA`.
    pub fn widening(self) -> impl Iterator<Item = Self> {
        let code = self.as_str();
        let in_eu = EU_MEMBERS.contains(&code);
        let in_eea = in_eu || self == Self::EU || EEA_BESIDE_EU.contains(&code);
        [
            Some(self),
            self.country(),
            in_eu.then_some(Self::EU),
            in_eea.then_some(Self::EEA),
        ]
        .into_iter()
        .flatten()
    }
}

impl FromStr for Jurisdiction {
    type Err = JurisdictionError;

    fn from_str(text: &str) -> Result<Self, JurisdictionError> {
        if text.is_empty() {
            return Err(JurisdictionError::Empty);
        }
        if text.len() <= LONGEST_CODE
            && let Some(place) = find(&text.to_ascii_uppercase())
        {
            return Ok(place);
        }
        let echo = text.chars().take(LONGEST_ECHO).collect();
        let suggestions = suggestion::suggestions(text);
        Err(if suggestions.len() > 1 {
            JurisdictionError::Ambiguous {
                text: echo,
                meanings: suggestions,
            }
        } else {
            JurisdictionError::Unknown {
                text: echo,
                suggestion: suggestions.first().copied(),
            }
        })
    }
}

impl fmt::Debug for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The places whose rules apply to one guest, without repetition: residence, address, hint. At most 8.
///
/// Written with commas, as in `FR,US-CA`. None at all is written `unknown`, and every policy has rules for it, its
/// strictest.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Jurisdictions(Vec<Jurisdiction>);

impl Jurisdictions {
    /// As many places as are read from text. Our choice.
    pub const MOST: usize = 8;

    /// Where the guest lives, where their address lies, and what their page or their network hints at; `None` for
    /// what is not known. They weigh the same, since the most protective of them wins.
    #[must_use]
    pub fn of(
        residence: Option<Jurisdiction>,
        address: Option<Jurisdiction>,
        hint: Option<Jurisdiction>,
    ) -> Self {
        let known: Vec<Jurisdiction> = [residence, address, hint].into_iter().flatten().collect();
        Self::from(known.as_slice())
    }

    /// The places in words, as in `France (FR)`.
    pub(crate) fn described(&self) -> String {
        if self.0.is_empty() {
            return "an unknown place".to_owned();
        }
        let places: Vec<String> = self
            .0
            .iter()
            .map(|place| format!("{} ({place})", place.name()))
            .collect();
        places.join(" and ")
    }
}

impl Deref for Jurisdictions {
    type Target = [Jurisdiction];

    fn deref(&self) -> &[Jurisdiction] {
        &self.0
    }
}

impl From<&[Jurisdiction]> for Jurisdictions {
    fn from(places: &[Jurisdiction]) -> Self {
        let mut distinct = Vec::with_capacity(places.len());
        for place in places {
            if !distinct.contains(place) {
                distinct.push(*place);
            }
        }
        Self(distinct)
    }
}

impl FromStr for Jurisdictions {
    type Err = JurisdictionError;

    fn from_str(text: &str) -> Result<Self, JurisdictionError> {
        if text.eq_ignore_ascii_case(UNKNOWN) {
            return Ok(Self::default());
        }
        let count = text.split(',').count();
        if count > Self::MOST {
            return Err(JurisdictionError::TooMany { count });
        }
        let places: Vec<Jurisdiction> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self::from(places.as_slice()))
    }
}

impl fmt::Display for Jurisdictions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return f.write_str(UNKNOWN);
        };
        write!(f, "{first}")?;
        rest.iter().try_for_each(|place| write!(f, ",{place}"))
    }
}

/// The text names no jurisdiction.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum JurisdictionError {
    /// No code, and it could mean more than one place.
    Ambiguous {
        /// What was given, its first 40 characters.
        text: String,
        /// What may have been meant, the likeliest first.
        meanings: Vec<Jurisdiction>,
    },
    /// Nothing was given.
    Empty,
    /// More places than [`Jurisdictions::MOST`].
    TooMany {
        /// How many.
        count: usize,
    },
    /// No code that is known.
    Unknown {
        /// What was given, its first 40 characters.
        text: String,
        /// What was probably meant.
        suggestion: Option<Jurisdiction>,
    },
}

impl fmt::Display for JurisdictionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous { text, meanings } => {
                write!(f, "{text:?} names no jurisdiction, and could be more than one:")?;
                for (at, place) in meanings.iter().enumerate() {
                    let or = if at == 0 { "" } else { ", or" };
                    write!(f, "{or} write {place} for {}", place.described())?;
                }
                Ok(())
            }
            Self::Empty => {
                f.write_str("the region is empty: leave it out if it is unknown, or give a code such as FR")
            }
            Self::TooMany { count } => write!(
                f,
                "{count} regions are too many: give at most {}",
                Jurisdictions::MOST
            ),
            Self::Unknown { text, suggestion } => {
                write!(f, "{text:?} names no jurisdiction: ")?;
                match suggestion {
                    Some(place) => write!(f, "write {place} for {}", place.name()),
                    None => f.write_str("give an ISO 3166 code such as FR or US-CA, or EU, EEA or UK"),
                }
            }
        }
    }
}

impl std::error::Error for JurisdictionError {}

/// `EU` and `EEA` come before the countries.
const UNIONS: usize = 2;

/// `US-CA` is among the longest.
const LONGEST_CODE: usize = 5;

/// Most characters of a wrong region that an error repeats.
const LONGEST_ECHO: usize = 40;

/// How no place at all is written.
const UNKNOWN: &str = "unknown";

/// The place of a code in upper case.
fn find(code: &str) -> Option<Jurisdiction> {
    let slot = match code {
        "EU" => 0,
        "EEA" => 1,
        "UK" => return find("GB"),
        _ => match COUNTRIES.binary_search_by_key(&code, |(code, _, _)| code) {
            Ok(at) => UNIONS + at,
            Err(_) => {
                let at = SUBDIVISIONS.binary_search_by_key(&code, |(code, _)| code).ok()?;
                UNIONS + COUNTRIES.len() + at
            }
        },
    };
    u16::try_from(slot).ok().map(Jurisdiction)
}

/// Every single place that can be written, for tests over all of them.
#[cfg(test)]
pub(crate) fn every_code() -> impl Iterator<Item = &'static str> {
    ["EU", "EEA", "UK"]
        .into_iter()
        .chain(COUNTRIES.iter().map(|(code, _, _)| *code))
        .chain(SUBDIVISIONS.iter().map(|(code, _)| *code))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Jurisdiction {
        text.parse().unwrap()
    }

    fn suggested(text: &str) -> Vec<String> {
        match text.parse::<Jurisdiction>() {
            Err(JurisdictionError::Unknown { suggestion, .. }) => {
                suggestion.iter().map(Jurisdiction::to_string).collect()
            }
            Err(JurisdictionError::Ambiguous { meanings, .. }) => {
                meanings.iter().map(Jurisdiction::to_string).collect()
            }
            other => panic!("{text:?} should be unknown, and is {other:?}"),
        }
    }

    #[test]
    fn every_code_is_read_in_either_case_and_written_in_upper_case() {
        for code in every_code() {
            let place = parse(code);
            assert_eq!(place, parse(&code.to_lowercase()), "{code}");
            assert_eq!(place.as_str(), if code == "UK" { "GB" } else { code });
            assert!(!place.name().is_empty(), "{code}");
        }
        assert_eq!(every_code().count(), 3 + 249 + 70);
    }

    #[test]
    fn the_tables_are_sorted_for_the_search() {
        assert!(COUNTRIES.is_sorted_by_key(|(code, _, _)| code));
        assert!(SUBDIVISIONS.is_sorted_by_key(|(code, _)| code));
    }

    #[test]
    fn ca_is_canada_and_uk_is_gb() {
        assert_eq!(parse("ca").name(), "Canada");
        assert_eq!(parse("us-ca").name(), "California");
        assert_eq!(parse("uk"), parse("GB"));
    }

    #[test]
    fn a_place_lies_in_wider_ones() {
        let widening = |code: &str| {
            let places: Vec<String> = parse(code).widening().map(|place| place.to_string()).collect();
            places.join(" ")
        };
        assert_eq!(widening("US-CA"), "US-CA US");
        assert_eq!(widening("CA-QC"), "CA-QC CA");
        assert_eq!(widening("FR"), "FR EU EEA");
        assert_eq!(widening("EU"), "EU EEA");
        assert_eq!(widening("NO"), "NO EEA");
        assert_eq!(widening("EEA"), "EEA");
        assert_eq!(widening("GB"), "GB");
    }

    #[test]
    fn what_may_have_been_meant_is_suggested() {
        for (text, meant) in [
            ("california", "US-CA"),
            ("Cali", "US-CA"),
            ("US_CA", "US-CA"),
            ("USA", "US"),
            ("u.s.", "US"),
            ("GBR", "GB"),
            ("England", "GB"),
            ("GB-SCT", "GB"),
            ("DE-BY", "DE"),
            ("el", "GR"),
            ("deutschland", "DE"),
            ("TX", "US-TX"),
            ("QC", "CA-QC"),
            ("Québec", "CA-QC"),
            (" eu ", "EU"),
            ("Europe", "EU"),
            ("United States", "US"),
            ("United Kingdom", "GB"),
            ("the netherlands", "NL"),
            ("Kalifornien", "US-CA"),
            ("CA-California", "US-CA"),
            ("CA (USA)", "US-CA"),
            ("ca, usa", "US-CA"),
            ("US-California", "US-CA"),
            ("Kanada", "CA"),
            ("Brasilien", "BR"),
            ("Frankreich", "FR"),
            ("en-GB", "GB"),
            ("Grmany", "DE"),
            ("Phillipines", "PH"),
            ("Massachusets", "US-MA"),
            ("Californië", "US-CA"),
            ("Großbritannien", "GB"),
        ] {
            assert_eq!(suggested(text), [meant], "{text:?}");
        }
        assert_eq!(suggested("Georgia"), ["GE", "US-GA"], "both are called so");
        assert_eq!(suggested("US-QC"), ["CA-QC", "US"]);
        assert_eq!(suggested("CA-CA"), ["US-CA", "CA"]);
        assert_eq!(suggested("EN"), ["GB", "US"], "a language, not a place");
        assert!(suggested("atlantis").is_empty());
        assert!(suggested("840").is_empty());
    }

    #[test]
    fn errors_say_what_to_write() {
        let message = |text: &str| text.parse::<Jurisdiction>().unwrap_err().to_string();
        assert_eq!(
            message("california"),
            "\"california\" names no jurisdiction: write US-CA for California"
        );
        assert_eq!(
            message("georgia"),
            "\"georgia\" names no jurisdiction, and could be more than one: write GE for Georgia, or write US-GA for \
             Georgia in the United States"
        );
        assert!(
            message("x\ny").starts_with("\"x\\ny\" names"),
            "no line is forged"
        );
        assert!(message(&"x".repeat(10_000)).len() < 200);
    }

    #[test]
    fn several_places_are_read_once_each() {
        let places: Jurisdictions = "FR,us-ca,fr".parse().unwrap();
        assert_eq!(places.to_string(), "FR,US-CA");
        assert_eq!("unknown".parse(), Ok(Jurisdictions::default()));
        assert_eq!(Jurisdictions::default().to_string(), "unknown");
        assert_eq!("FR,".parse::<Jurisdictions>(), Err(JurisdictionError::Empty));
        assert_eq!("".parse::<Jurisdictions>(), Err(JurisdictionError::Empty));
        let many = ["FR"; 9].join(",");
        assert_eq!(
            many.parse::<Jurisdictions>(),
            Err(JurisdictionError::TooMany { count: 9 })
        );
    }

    #[test]
    fn ten_thousand_bad_regions_are_refused() {
        let letters = || (0..26).map(|at| char::from(b'A' + at));
        let mut refused = 0;
        // every word of three letters: the codes of three are a suggestion, and not a code
        for first in letters() {
            for second in letters() {
                for third in letters() {
                    let text = format!("{first}{second}{third}");
                    match text.parse::<Jurisdiction>() {
                        Ok(place) => assert_eq!(place, Jurisdiction::EEA),
                        Err(error) => {
                            assert!(error.to_string().contains(&text));
                            refused += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(refused, 26 * 26 * 26 - 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_text_is_a_known_code_or_a_typed_error(text in "\\PC{0,12}|[a-zA-Z]{2}(-[a-zA-Z]{2})?") {
            match text.parse::<Jurisdiction>() {
                Ok(place) => prop_assert!(text.eq_ignore_ascii_case(place.as_str()) || text.eq_ignore_ascii_case("UK")),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
