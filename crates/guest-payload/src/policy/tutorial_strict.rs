//! The founding tutorial's rule.
//!
//! Its step 1 names the regions "EU", "UK", "CA" and "BR", in which a session "requires explicit marketing and
//! personalization consent". Everywhere, marketing and personalization are off and analytics is on unless said
//! otherwise.

use super::{Area, Basis, OnMissing, Policy, Rule, Source, Switch};
use crate::{Jurisdiction, Purpose};

pub(super) static POLICY: Policy = Policy {
    id: "tutorial-strict",
    version: "1.0.0",
    reviewed: "2026-11-22",
    areas: &[
        Area {
            places: &[Jurisdiction::EU, Jurisdiction::EEA],
            rules: strict([
                "tutorial-strict/EU/marketing",
                "tutorial-strict/EU/personalization",
                "tutorial-strict/EU/analytics",
            ]),
        },
        Area {
            // inside the EEA, and not among the tutorial's regions
            places: &[
                Jurisdiction::known("IS"),
                Jurisdiction::known("LI"),
                Jurisdiction::known("NO"),
            ],
            rules: free([
                "tutorial-strict/IS-LI-NO/marketing",
                "tutorial-strict/IS-LI-NO/personalization",
                "tutorial-strict/IS-LI-NO/analytics",
            ]),
        },
        Area {
            places: &[Jurisdiction::known("GB")],
            rules: strict([
                "tutorial-strict/GB/marketing",
                "tutorial-strict/GB/personalization",
                "tutorial-strict/GB/analytics",
            ]),
        },
        Area {
            places: &[Jurisdiction::known("CA")],
            rules: strict([
                "tutorial-strict/CA/marketing",
                "tutorial-strict/CA/personalization",
                "tutorial-strict/CA/analytics",
            ]),
        },
        Area {
            places: &[Jurisdiction::known("BR")],
            rules: strict([
                "tutorial-strict/BR/marketing",
                "tutorial-strict/BR/personalization",
                "tutorial-strict/BR/analytics",
            ]),
        },
    ],
    elsewhere: free([
        "tutorial-strict/elsewhere/marketing",
        "tutorial-strict/elsewhere/personalization",
        "tutorial-strict/elsewhere/analytics",
    ]),
    unknown: strict([
        "tutorial-strict/unknown/marketing",
        "tutorial-strict/unknown/personalization",
        "tutorial-strict/unknown/analytics",
    ]),
};

/// Marketing and personalization must be granted; analytics is on unless refused.
const fn strict([marketing, personalization, analytics]: [&'static str; 3]) -> [Rule; 3] {
    [
        Rule {
            id: marketing,
            purpose: Purpose::Marketing,
            basis: Basis::Consent,
            default: Switch::Off,
            on_missing: OnMissing::DenySession,
            gpc: true,
            source: TUTORIAL,
        },
        Rule {
            id: personalization,
            purpose: Purpose::Personalization,
            basis: Basis::Consent,
            default: Switch::Off,
            on_missing: OnMissing::DenySession,
            gpc: true,
            source: TUTORIAL,
        },
        Rule {
            id: analytics,
            purpose: Purpose::Analytics,
            basis: Basis::Consent,
            default: Switch::On,
            on_missing: OnMissing::DisablePurpose,
            gpc: false,
            source: TUTORIAL,
        },
    ]
}

/// Nothing is demanded; what the guest left open stands as the tutorial's arguments default.
const fn free([marketing, personalization, analytics]: [&'static str; 3]) -> [Rule; 3] {
    [
        Rule {
            id: marketing,
            purpose: Purpose::Marketing,
            basis: Basis::OptOut,
            default: Switch::Off,
            on_missing: OnMissing::DisablePurpose,
            gpc: true,
            source: TUTORIAL,
        },
        Rule {
            id: personalization,
            purpose: Purpose::Personalization,
            basis: Basis::OptOut,
            default: Switch::Off,
            on_missing: OnMissing::DisablePurpose,
            gpc: true,
            source: TUTORIAL,
        },
        Rule {
            id: analytics,
            purpose: Purpose::Analytics,
            basis: Basis::OptOut,
            default: Switch::On,
            on_missing: OnMissing::DisablePurpose,
            gpc: false,
            source: TUTORIAL,
        },
    ]
}

const TUTORIAL: Source = Source {
    law: "the founding tutorial",
    article: "step 1",
};
