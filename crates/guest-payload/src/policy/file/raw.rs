//! A policy file as it is written, before its parts are compared with each other.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use serde::Deserialize;
use time::Date;
use toml::Spanned;

use super::values::{
    Declared, area, day, last_day, line, lines, non_empty, optional_years, parsed, policy_id, scope, version,
    years,
};
use crate::policy::case::Outcome;
use crate::policy::rule::{Basis, OnMissing, Scope, Source, Switch};
use crate::{Age, Category, Choice, Jurisdictions, Obligation, Purpose, Subject};

/// A policy file whose rules are not yet compared with each other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPolicy {
    #[serde(deserialize_with = "policy_id")]
    pub(super) id: String,
    #[serde(deserialize_with = "version")]
    pub(super) version: String,
    #[serde(deserialize_with = "line")]
    pub(super) about: String,
    #[serde(deserialize_with = "day")]
    pub(super) valid_from: Date,
    #[serde(default, deserialize_with = "last_day")]
    pub(super) valid_until: Option<Spanned<Date>>,
    #[serde(deserialize_with = "day")]
    pub(super) reviewed: Date,
    #[serde(deserialize_with = "years")]
    pub(super) assumed_age: u8,
    /// For rules without an age of their own.
    #[serde(default, deserialize_with = "years")]
    pub(super) consent_from: u8,
    #[serde(default)]
    pub(super) age_sources: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) signal_sources: Vec<Spanned<String>>,
    pub(super) functional: RawFunctional,
    #[serde(default)]
    pub(super) attributes: BTreeMap<Spanned<String>, Declared>,
    pub(super) sources: BTreeMap<Spanned<String>, Source>,
    #[serde(rename = "rule")]
    pub(super) rules: Vec<Spanned<RawRule>>,
}

/// The basis of serving guests in places that no entry of `places` names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFunctional {
    pub(super) basis: Basis,
    #[serde(deserialize_with = "non_empty")]
    pub(super) sources: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "lines")]
    pub(super) doubts: Vec<String>,
    #[serde(default)]
    pub(super) places: Vec<Spanned<RawFunctionalPlaces>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFunctionalPlaces {
    #[serde(deserialize_with = "area")]
    pub(super) area: String,
    #[serde(deserialize_with = "scope")]
    pub(super) places: Scope,
    pub(super) basis: Basis,
    #[serde(deserialize_with = "non_empty")]
    pub(super) sources: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "lines")]
    pub(super) doubts: Vec<String>,
}

/// Rules for several subjects. Sources are names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRule {
    #[serde(deserialize_with = "area")]
    pub(super) area: String,
    #[serde(deserialize_with = "scope")]
    pub(super) places: Scope,
    #[serde(default)]
    pub(super) purposes: Vec<Purpose>,
    #[serde(default)]
    pub(super) sensitive: Vec<Category>,
    pub(super) basis: Basis,
    pub(super) default: Switch,
    pub(super) missing: OnMissing,
    #[serde(default)]
    pub(super) signals: BTreeSet<Signal>,
    #[serde(default, deserialize_with = "optional_years")]
    pub(super) consent_from: Option<u8>,
    #[serde(default, deserialize_with = "years")]
    pub(super) opt_in_below: u8,
    #[serde(default, deserialize_with = "years")]
    pub(super) prohibited_below: u8,
    pub(super) max_age_days: Option<NonZeroU32>,
    #[serde(default)]
    pub(super) obligations: Vec<Obligation>,
    #[serde(deserialize_with = "non_empty")]
    pub(super) sources: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) age_sources: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) signal_sources: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "lines")]
    pub(super) doubts: Vec<String>,
    #[serde(default)]
    pub(super) examples: Vec<Spanned<RawExample>>,
}

impl RawRule {
    pub(super) fn subjects(&self) -> impl Iterator<Item = Subject> {
        let purposes = self.purposes.iter().copied().map(Subject::Purpose);
        purposes.chain(self.sensitive.iter().copied().map(Subject::Sensitive))
    }
}

#[derive(Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
pub(super) enum Signal {
    Gpc,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExample {
    #[serde(deserialize_with = "parsed")]
    pub(super) place: Jurisdictions,
    #[serde(default)]
    pub(super) choice: Choice,
    #[serde(default)]
    pub(super) gpc: bool,
    #[serde(default, deserialize_with = "parsed")]
    pub(super) age: Age,
    #[serde(default)]
    pub(super) guardian: bool,
    #[serde(default)]
    pub(super) days: u32,
    pub(super) is: Outcome,
}
