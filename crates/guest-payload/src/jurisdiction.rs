//! Places whose law may apply to a guest.

mod suggestion;

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::LazyLock;

/// A place whose rules may apply to a guest: a country, a state or province, or a union of countries.
///
/// Written as ISO 3166 writes it, in either case: alpha-2 (`FR`), or for parts of the United States and of Canada
/// ISO 3166-2 (`US-CA`, `CA-QC`). Beside them `EU`, `EEA`, and `UK`, which is read as `GB`. `CA` is Canada, and
/// California is `US-CA`. Anything else is refused, if possible with a suggestion: a wrong guess would apply the wrong
/// law.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Jurisdiction(u16);

impl Jurisdiction {
    /// The European Economic Area: the European Union, Iceland, Liechtenstein and Norway.
    pub const EEA: Self = Self(1);
    /// The European Union.
    pub const EU: Self = Self(0);

    /// The code, as in `US-CA`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.entry().code
    }

    /// The English name, as in `California`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.entry().name
    }

    /// The name, with the country of a state or a province: some names exist twice.
    fn description(self) -> String {
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

    /// Every place: unions, countries, subdivisions, each in the order of the codes.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..ENTRIES.len()).map(|index| Self(index as u16))
    }

    /// Its index in a table of all places.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The place itself, then each place that contains it, narrowest first: `US-CA` and `US`, or `FR`, `EU` and `EEA`.
    pub fn ancestors(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |place| find(place.entry().container))
    }

    fn entry(self) -> &'static Entry {
        &ENTRIES[self.index()]
    }
}

impl FromStr for Jurisdiction {
    type Err = JurisdictionError;

    fn from_str(text: &str) -> Result<Self, JurisdictionError> {
        if text.is_empty() {
            return Err(JurisdictionError::Empty);
        }
        if text.len() <= MAX_CODE
            && let Some(place) = find(&text.to_ascii_uppercase())
        {
            return Ok(place);
        }
        Err(JurisdictionError::Unknown {
            text: text.chars().take(MAX_ECHO).collect(),
            candidates: suggestion::suggestions(text),
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

/// The distinct places whose rules apply to one guest: residence, address, hint. At most 8.
///
/// Written with commas, as in `FR,US-CA`. An empty list is written `unknown`. Every policy has rules for it, which are
/// its strictest.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Jurisdictions(Vec<Jurisdiction>);

impl Jurisdictions {
    /// The places in words, as in `France (FR)`.
    pub(crate) fn description(&self) -> String {
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

    /// These places and the others. If they become too many, they are unknown, which is strictest. Unknown places add
    /// nothing to known ones, and stay unknown.
    pub(crate) fn with(&self, others: &Self) -> Self {
        if self.is_empty() {
            return Self::default();
        }
        let places = Self::from([&**self, &**others].concat().as_slice());
        match places.len() <= MAX_COUNT {
            true => places,
            false => Self::default(),
        }
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
        if count > MAX_COUNT {
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

/// Invalid region.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JurisdictionError {
    /// Empty input.
    #[error("invalid region: it is empty, omit it if it is unknown, or use a code such as FR")]
    Empty,
    /// More than 8 places.
    #[error("invalid region: {count} places, at most {MAX_COUNT} are allowed")]
    TooMany {
        /// Number of places.
        count: usize,
    },
    /// Not a known code.
    #[error("invalid region {text:?}: {}", remedy(.candidates))]
    Unknown {
        /// The first 40 characters of the input.
        text: String,
        /// The places that may be meant, the likeliest first.
        candidates: Vec<Jurisdiction>,
    },
}

fn remedy(candidates: &[Jurisdiction]) -> String {
    let remedies: Vec<String> = match candidates {
        [] => return "use an ISO 3166 code such as FR or US-CA, or EU, EEA or UK".to_owned(),
        [place] => return format!("write {place} for {}", place.name()),
        places => places
            .iter()
            .map(|place| format!("write {place} for {}", place.description()))
            .collect(),
    };
    remedies.join(", or ")
}

/// Maximum number of places in a text. Our choice.
const MAX_COUNT: usize = 8;

/// Length of `US-CA`.
const MAX_CODE: usize = 5;

/// Maximum characters of a wrong region that an error repeats.
const MAX_ECHO: usize = 40;

/// The text of an empty list.
const UNKNOWN: &str = "unknown";

/// A line of `entries.txt`.
struct Entry {
    code: &'static str,
    alpha3: &'static str,
    /// Code of the narrowest place that contains it, if there is one.
    container: &'static str,
    name: &'static str,
    /// Other names, separated by spaces.
    aliases: &'static str,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let lines = include_str!("jurisdiction/entries.txt").lines();
    let places = lines.filter(|line| !line.starts_with('#')).map(|line| {
        let mut columns = line.split('|').map(str::trim);
        let mut column = || columns.next().unwrap_or_default();
        Entry {
            code: column(),
            alpha3: column(),
            container: column(),
            name: column(),
            aliases: column(),
        }
    });
    places.collect()
});

static CODES: LazyLock<HashMap<&'static str, Jurisdiction>> =
    LazyLock::new(|| Jurisdiction::all().map(|place| (place.as_str(), place)).collect());

/// The place of a code in upper case.
fn find(code: &str) -> Option<Jurisdiction> {
    let code = if code == "UK" { "GB" } else { code };
    CODES.get(code).copied()
}

/// Every code of a place, for tests over all of them.
#[cfg(test)]
pub(crate) fn every_code() -> impl Iterator<Item = &'static str> {
    std::iter::once("UK").chain(ENTRIES.iter().map(|place| place.code))
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
            Err(JurisdictionError::Unknown { candidates, .. }) => {
                candidates.iter().map(Jurisdiction::to_string).collect()
            }
            other => panic!("{text:?} should be unknown, and is {other:?}"),
        }
    }

    #[test]
    fn code_parses_in_either_case_and_displays_in_upper_case() {
        for code in every_code() {
            let place = parse(code);
            assert_eq!(place, parse(&code.to_lowercase()), "{code}");
            assert_eq!(place.as_str(), if code == "UK" { "GB" } else { code });
            assert!(!place.name().is_empty(), "{code}");
        }
        assert_eq!(every_code().count(), 3 + 249 + 70);
    }

    #[test]
    fn table_is_complete() {
        assert_eq!((parse("EU"), parse("EEA")), (Jurisdiction::EU, Jurisdiction::EEA));
        let codes: Vec<&str> = ENTRIES.iter().map(|place| place.code).collect();
        assert!(codes[2..251].is_sorted() && codes[251..].is_sorted());
        for place in ENTRIES.iter() {
            let is_country = place.code.len() == 2 && place.code != "EU";
            assert_eq!(
                place.alpha3.len(),
                if is_country { 3 } else { 0 },
                "{}",
                place.code
            );
            assert!(place.container.is_empty() || find(place.container).is_some());
        }
        let members = |union| ENTRIES.iter().filter(|place| place.container == union).count();
        assert_eq!((members("EU"), members("EEA")), (27, 4));
    }

    #[test]
    fn code_ca_is_canada_and_uk_is_gb() {
        assert_eq!(parse("ca").name(), "Canada");
        assert_eq!(parse("us-ca").name(), "California");
        assert_eq!(parse("uk"), parse("GB"));
    }

    #[test]
    fn ancestors_are_ordered_from_narrow_to_wide() {
        let ancestors = |code: &str| {
            let places: Vec<String> = parse(code).ancestors().map(|place| place.to_string()).collect();
            places.join(" ")
        };
        assert_eq!(ancestors("US-CA"), "US-CA US");
        assert_eq!(ancestors("CA-QC"), "CA-QC CA");
        assert_eq!(ancestors("FR"), "FR EU EEA");
        assert_eq!(ancestors("EU"), "EU EEA");
        assert_eq!(ancestors("NO"), "NO EEA");
        assert_eq!(ancestors("EEA"), "EEA");
        assert_eq!(ancestors("GB"), "GB");
    }

    #[test]
    fn unknown_text_suggests_probable_places() {
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
    fn error_names_input_and_remedy() {
        let message = |text: &str| text.parse::<Jurisdiction>().unwrap_err().to_string();
        assert_eq!(
            message("california"),
            "invalid region \"california\": write US-CA for California"
        );
        assert_eq!(
            message("georgia"),
            "invalid region \"georgia\": write GE for Georgia, or write US-GA for Georgia in the United States"
        );
        assert!(
            message("x\ny").starts_with("invalid region \"x\\ny\":"),
            "a line break is escaped"
        );
        assert!(message(&"x".repeat(10_000)).len() < 200);
    }

    #[test]
    fn places_are_distinct() {
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
    fn three_letter_words_are_refused() {
        let letters = || (0..26).map(|at| char::from(b'A' + at));
        let mut refused = 0;
        // alpha-3 codes are suggestions, not codes
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
        fn parser_accepts_or_refuses_any_text(text in "\\PC{0,12}|[a-zA-Z]{2}(-[a-zA-Z]{2})?") {
            match text.parse::<Jurisdiction>() {
                Ok(place) => prop_assert!(text.eq_ignore_ascii_case(place.as_str()) || text.eq_ignore_ascii_case("UK")),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
