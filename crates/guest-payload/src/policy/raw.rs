//! A policy file as TOML, before validation.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::case::Outcome;
use super::rule::{Basis, OnMissing, Switch};
use crate::{Choice, Obligation, Purpose};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPolicy {
    pub(super) id: Spanned<String>,
    pub(super) version: Spanned<String>,
    pub(super) about: Spanned<String>,
    pub(super) valid_from: Spanned<Datetime>,
    pub(super) valid_until: Option<Spanned<Datetime>>,
    pub(super) reviewed: Spanned<Datetime>,
    pub(super) assumed_age: Spanned<u8>,
    pub(super) functional: RawFunctional,
    pub(super) sources: BTreeMap<Spanned<String>, RawSource>,
    #[serde(rename = "rule")]
    pub(super) rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFunctional {
    pub(super) basis: Basis,
    pub(super) sources: Spanned<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    pub(super) law: Spanned<String>,
    pub(super) article: Spanned<String>,
    pub(super) reviewed: Spanned<Datetime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRule {
    pub(super) area: Spanned<String>,
    pub(super) places: Spanned<Vec<Spanned<String>>>,
    pub(super) purposes: Spanned<Vec<Purpose>>,
    pub(super) basis: Basis,
    pub(super) default: Switch,
    pub(super) missing: OnMissing,
    #[serde(default)]
    pub(super) signals: Vec<Signal>,
    #[serde(default)]
    pub(super) consent_from: Option<Spanned<u8>>,
    #[serde(default)]
    pub(super) opt_in_below: Option<Spanned<u8>>,
    #[serde(default)]
    pub(super) prohibited_below: Option<Spanned<u8>>,
    #[serde(default)]
    pub(super) max_age_days: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) obligations: Vec<Obligation>,
    pub(super) sources: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) doubts: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) examples: Vec<RawExample>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Signal {
    Gpc,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExample {
    pub(super) place: Spanned<String>,
    #[serde(default)]
    pub(super) choice: Choice,
    #[serde(default)]
    pub(super) gpc: bool,
    pub(super) age: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) guardian: bool,
    #[serde(default)]
    pub(super) days: u32,
    pub(super) is: Outcome,
}
