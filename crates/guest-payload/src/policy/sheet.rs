//! The form of a policy's file, before its words mean anything.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::example::Outcome;
use super::rule::{Basis, OnMissing, Switch};
use crate::{Choice, Obligation, Purpose};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Sheet {
    pub(super) id: Spanned<String>,
    pub(super) version: Spanned<String>,
    pub(super) about: Spanned<String>,
    pub(super) valid_from: Spanned<Datetime>,
    pub(super) valid_until: Option<Spanned<Datetime>>,
    pub(super) reviewed: Spanned<Datetime>,
    pub(super) assumed_age: Spanned<u8>,
    pub(super) functional: FunctionalSheet,
    pub(super) sources: BTreeMap<Spanned<String>, SourceSheet>,
    #[serde(rename = "rule")]
    pub(super) rules: Vec<RuleSheet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FunctionalSheet {
    pub(super) basis: Basis,
    pub(super) sources: Spanned<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceSheet {
    pub(super) law: Spanned<String>,
    pub(super) article: Spanned<String>,
    pub(super) reviewed: Spanned<Datetime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RuleSheet {
    pub(super) area: Spanned<String>,
    pub(super) places: Spanned<Vec<Spanned<String>>>,
    pub(super) purposes: Spanned<Vec<Spanned<Purpose>>>,
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
    pub(super) examples: Vec<ExampleSheet>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Signal {
    Gpc,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExampleSheet {
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
