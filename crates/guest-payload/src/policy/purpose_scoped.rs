//! What the law rather asks for, purpose by purpose.
//!
//! The session is never refused: nothing here is needed to serve the guest, so no consent to it may be made a condition
//! (GDPR Art. 7(4), and the like elsewhere). No legal advice: a starting set that counsel must sign off.

use super::{Area, Basis, OnMissing, Policy, Rule, Source, Switch};
use crate::{Jurisdiction, Purpose};

pub(super) static POLICY: Policy = Policy {
    id: "purpose-scoped",
    version: "1.0.0",
    reviewed: "2026-11-22",
    areas: &[
        Area {
            places: &[Jurisdiction::EU, Jurisdiction::EEA],
            rules: [
                opt_in(
                    "purpose-scoped/EU/marketing",
                    Purpose::Marketing,
                    Source {
                        law: "Directive 2002/58/EC",
                        article: "Art. 13(1)",
                    },
                ),
                opt_in(
                    "purpose-scoped/EU/personalization",
                    Purpose::Personalization,
                    Source {
                        law: "Directive 2002/58/EC and GDPR",
                        article: "Art. 5(3); Art. 6(1)(a)",
                    },
                ),
                opt_in(
                    "purpose-scoped/EU/analytics",
                    Purpose::Analytics,
                    Source {
                        law: "Directive 2002/58/EC",
                        article: "Art. 5(3)",
                    },
                ),
            ],
        },
        Area {
            // The exemption for own statistics (Data (Use and Access) Act 2025) depends on what they are
            // used for, which is not known here: consent is asked for. Our choice.
            places: &[Jurisdiction::known("GB")],
            rules: [
                opt_in(
                    "purpose-scoped/GB/marketing",
                    Purpose::Marketing,
                    Source {
                        law: "PECR 2003",
                        article: "reg. 22",
                    },
                ),
                opt_in(
                    "purpose-scoped/GB/personalization",
                    Purpose::Personalization,
                    Source {
                        law: "PECR 2003 and UK GDPR",
                        article: "reg. 6; Art. 6(1)(a)",
                    },
                ),
                opt_in(
                    "purpose-scoped/GB/analytics",
                    Purpose::Analytics,
                    Source {
                        law: "PECR 2003",
                        article: "reg. 6",
                    },
                ),
            ],
        },
        Area {
            places: &[Jurisdiction::known("CH")],
            rules: [
                opt_in(
                    "purpose-scoped/CH/marketing",
                    Purpose::Marketing,
                    Source {
                        law: "Unfair Competition Act (UWG)",
                        article: "Art. 3(1)(o)",
                    },
                ),
                opt_out(
                    "purpose-scoped/CH/personalization",
                    Purpose::Personalization,
                    Source {
                        law: "Data Protection Act (revFADP)",
                        article: "Art. 30(2)(b)",
                    },
                ),
                opt_out(
                    "purpose-scoped/CH/analytics",
                    Purpose::Analytics,
                    Source {
                        law: "Telecommunications Act (FMG)",
                        article: "Art. 45c",
                    },
                ),
            ],
        },
        Area {
            // Legitimate interest (Art. 7 IX) is open to the first two as well; consent is the protective
            // reading. Our choice.
            places: &[Jurisdiction::known("BR")],
            rules: [
                opt_in(
                    "purpose-scoped/BR/marketing",
                    Purpose::Marketing,
                    Source {
                        law: "LGPD, Law 13.709/2018",
                        article: "Art. 7 I and Art. 8",
                    },
                ),
                opt_in(
                    "purpose-scoped/BR/personalization",
                    Purpose::Personalization,
                    Source {
                        law: "LGPD, Law 13.709/2018",
                        article: "Art. 7 I and Art. 20",
                    },
                ),
                opt_in(
                    "purpose-scoped/BR/analytics",
                    Purpose::Analytics,
                    Source {
                        law: "ANPD guide to cookies and LGPD, Law 13.709/2018",
                        article: "Art. 7 I",
                    },
                ),
            ],
        },
        Area {
            // Personalization may rest on an opt-out where it is neither sensitive nor unexpected, which
            // is not known here: consent is asked for. Our choice.
            places: &[Jurisdiction::known("CA")],
            rules: [
                opt_in(
                    "purpose-scoped/CA/marketing",
                    Purpose::Marketing,
                    Source {
                        law: "CASL, S.C. 2010, c. 23",
                        article: "s. 6",
                    },
                ),
                opt_in(
                    "purpose-scoped/CA/personalization",
                    Purpose::Personalization,
                    Source {
                        law: "PIPEDA, Schedule 1",
                        article: "cl. 4.3.4 to 4.3.6",
                    },
                ),
                opt_out(
                    "purpose-scoped/CA/analytics",
                    Purpose::Analytics,
                    Source {
                        law: "PIPEDA, Schedule 1",
                        article: "cl. 4.3.6 and 4.3.7",
                    },
                ),
            ],
        },
        Area {
            places: &[Jurisdiction::known("CA-QC")],
            rules: [
                opt_in(
                    "purpose-scoped/CA-QC/marketing",
                    Purpose::Marketing,
                    Source {
                        law: "CASL, S.C. 2010, c. 23, and CQLR c. P-39.1",
                        article: "s. 6; s. 14",
                    },
                ),
                opt_in(
                    "purpose-scoped/CA-QC/personalization",
                    Purpose::Personalization,
                    Source {
                        law: "CQLR c. P-39.1 (Law 25)",
                        article: "s. 8.1",
                    },
                ),
                opt_in(
                    "purpose-scoped/CA-QC/analytics",
                    Purpose::Analytics,
                    Source {
                        law: "CQLR c. P-39.1 (Law 25)",
                        article: "s. 8.1 and s. 14",
                    },
                ),
            ],
        },
        Area {
            // No general federal law on the second and third; the states that have one grant an objection.
            places: &[Jurisdiction::known("US")],
            rules: [
                opt_out(
                    "purpose-scoped/US/marketing",
                    Purpose::Marketing,
                    Source {
                        law: "CAN-SPAM Act, 15 U.S.C.",
                        article: "§ 7704(a)",
                    },
                ),
                opt_out(
                    "purpose-scoped/US/personalization",
                    Purpose::Personalization,
                    Source {
                        law: "state privacy laws, such as Colo. Rev. Stat.",
                        article: "§ 6-1-1306(1)(a)",
                    },
                ),
                opt_out(
                    "purpose-scoped/US/analytics",
                    Purpose::Analytics,
                    Source {
                        law: "state privacy laws, such as Colo. Rev. Stat.",
                        article: "§ 6-1-1306(1)(a)",
                    },
                ),
            ],
        },
        Area {
            places: &[Jurisdiction::known("US-CA")],
            rules: [
                opt_out(
                    "purpose-scoped/US-CA/marketing",
                    Purpose::Marketing,
                    Source {
                        law: "CAN-SPAM Act, 15 U.S.C., and CCPA, Cal. Civ. Code",
                        article: "§ 7704(a); § 1798.120",
                    },
                ),
                opt_out(
                    "purpose-scoped/US-CA/personalization",
                    Purpose::Personalization,
                    Source {
                        law: "CCPA, Cal. Civ. Code, and 11 CCR",
                        article: "§ 1798.120; § 7025",
                    },
                ),
                opt_out(
                    "purpose-scoped/US-CA/analytics",
                    Purpose::Analytics,
                    Source {
                        law: "CCPA, Cal. Civ. Code",
                        article: "§ 1798.120",
                    },
                ),
            ],
        },
    ],
    elsewhere: [
        opt_in(
            "purpose-scoped/elsewhere/marketing",
            Purpose::Marketing,
            STRICTEST,
        ),
        opt_in(
            "purpose-scoped/elsewhere/personalization",
            Purpose::Personalization,
            STRICTEST,
        ),
        opt_in(
            "purpose-scoped/elsewhere/analytics",
            Purpose::Analytics,
            STRICTEST,
        ),
    ],
    unknown: [
        opt_in("purpose-scoped/unknown/marketing", Purpose::Marketing, STRICTEST),
        opt_in(
            "purpose-scoped/unknown/personalization",
            Purpose::Personalization,
            STRICTEST,
        ),
        opt_in("purpose-scoped/unknown/analytics", Purpose::Analytics, STRICTEST),
    ],
};

/// The guest has to agree first.
const fn opt_in(id: &'static str, purpose: Purpose, source: Source) -> Rule {
    Rule {
        id,
        purpose,
        basis: Basis::Consent,
        default: Switch::Off,
        on_missing: OnMissing::DisablePurpose,
        gpc: heeds_gpc(purpose),
        source,
    }
}

/// The guest may object.
const fn opt_out(id: &'static str, purpose: Purpose, source: Source) -> Rule {
    Rule {
        id,
        purpose,
        basis: Basis::OptOut,
        default: Switch::On,
        on_missing: OnMissing::DisablePurpose,
        gpc: heeds_gpc(purpose),
        source,
    }
}

/// GPC speaks of the sale and sharing of data, not of the site's own statistics. It is heeded everywhere, which is
/// cheap and leaves no doubt about single states. Our choice.
const fn heeds_gpc(purpose: Purpose) -> bool {
    !matches!(purpose, Purpose::Analytics)
}

/// Where no rule is known.
const STRICTEST: Source = Source {
    law: "our choice",
    article: "the strictest of the rules above",
};
