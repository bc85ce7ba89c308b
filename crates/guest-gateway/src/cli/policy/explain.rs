//! `policy explain`: a decision with its reasons, sources and doubts.

use std::collections::BTreeSet;

use clap::Args;
use genesys_api::{ChannelId, Clock};
use guest_payload::{
    Actor, Age, Attributes, Category, Choice, Consent, DecisionInput, Evidence, GuardianEvidence,
    Jurisdictions, NewGuest, NewSession, Policy, Purpose, Relationship, Rule, Signals, Subject, Verification,
};
use time::OffsetDateTime;

use super::{Failure, Named, Output, address, json, subject};

/// A guest.
#[derive(Debug, Args)]
pub(in crate::cli) struct Guest {
    /// The location of the guest, such as US-CA or FR,US-CA
    #[arg(long, default_value = "unknown")]
    jurisdiction: Jurisdictions,
    /// The age of the guest, such as 16, 13-15, 18+ or "under 13"
    #[arg(long, default_value = "unknown")]
    age: Age,
    /// The browser of the guest sends a GPC signal
    #[arg(long)]
    gpc: bool,
    /// There is evidence that a parent or guardian chose
    #[arg(long)]
    guardian: bool,
    /// A purpose, or a category of sensitive data such as health, that the guest granted; may be repeated
    #[arg(long, value_parser = subject, value_name = "NAME")]
    grant: Vec<Subject>,
    /// A purpose, or a category of sensitive data, that the guest denied; may be repeated
    #[arg(long, value_parser = subject, value_name = "NAME")]
    deny: Vec<Subject>,
    /// The name of an attribute of the guest: whether it may be sent; may be repeated
    #[arg(long, value_name = "NAME")]
    attribute: Vec<String>,
}

impl Guest {
    fn choice(&self, subject: Subject) -> Choice {
        match subject {
            _ if self.grant.contains(&subject) => Choice::Granted,
            _ if self.deny.contains(&subject) => Choice::Denied,
            _ => Choice::Unknown,
        }
    }

    fn consent(&self, now: OffsetDateTime) -> Result<Consent, Failure> {
        if let Some(both) = self.grant.iter().find(|subject| self.deny.contains(subject)) {
            return Err(Failure::usage(format!(
                "invalid choice about {both}: both granted and denied, use one of --grant and --deny"
            )));
        }
        let mut evidence = Evidence::at(now);
        if self.guardian {
            evidence.actor = Actor::Guardian;
            evidence.guardian = Some(GuardianEvidence::new(
                Relationship::Guardian,
                Verification::SignedForm,
                now,
            ));
        }
        let choices = Purpose::ALL.map(|purpose| self.choice(purpose.into()));
        let asked = self.grant.iter().chain(&self.deny);
        Ok(asked.fold(
            Consent::together(choices, evidence.clone()),
            |consent, subject| match subject {
                Subject::Sensitive(category) => {
                    consent.with_sensitive(*category, self.choice(*subject), evidence.clone())
                }
                _ => consent,
            },
        ))
    }

    /// The session that the policy allows.
    fn session(
        &self,
        policy: &Policy,
        consent: Consent,
        now: OffsetDateTime,
    ) -> Result<Option<NewSession>, Failure> {
        let channel: ChannelId = "channel".parse().map_err(Failure::failed)?;
        let mut guest = NewGuest::new(channel, self.jurisdiction.clone(), consent);
        (guest.age, guest.signals) = (self.age, Signals { gpc: self.gpc });
        for name in &self.attribute {
            guest.attributes.insert(name, "").map_err(Failure::usage)?;
        }
        Ok(guest.decide(policy, now).ok())
    }
}

/// An attribute of the guest.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttributeUse<'a> {
    name: &'a str,
    /// The purpose that it serves. `None` for serving the guest.
    purpose: Option<Purpose>,
    /// The declared category of sensitive data.
    category: Option<Category>,
    /// Whether it may be stored and sent.
    may_be_sent: bool,
    warning: Option<String>,
}

pub(super) fn run(named: &Named<'_>, guest: &Guest, output: Output) -> Result<(), Failure> {
    let policy = &named.file.policy;
    let now = Clock::system().now().utc;
    let consent = guest.consent(now)?;
    let session = guest.session(policy, consent.clone(), now)?;
    let attributes: Vec<AttributeUse<'_>> = guest
        .attribute
        .iter()
        .map(|name| AttributeUse {
            name,
            purpose: Attributes::purpose(name),
            category: policy.category(name),
            may_be_sent: session
                .as_ref()
                .is_some_and(|session| session.data().attributes().any(|(kept, _)| kept == name)),
            warning: policy.warning(name).map(|warning| warning.to_string()),
        })
        .collect();
    let categories: Vec<Category> = attributes
        .iter()
        .filter_map(|attribute| attribute.category)
        .collect();
    let decision = policy.decide(&DecisionInput {
        jurisdictions: &guest.jurisdiction,
        age: guest.age,
        signals: Signals { gpc: guest.gpc },
        consent: &consent,
        now,
    });
    match decision {
        Ok(allowed) => output.print(
            || json::allowed(policy, &allowed, &categories, &attributes),
            || {
                let states = allowed.explained(&categories).map(|state| state.rule);
                let mut lines = vec![allowed.explain(&categories)];
                lines.extend(attribute_lines(&attributes));
                lines.extend(source_lines(allowed.functional().chain(states)));
                lines
            },
        ),
        Err(refused) => {
            output.print(
                || json::refused(policy, &refused, &attributes),
                || {
                    let mut lines = vec![refused.explain()];
                    lines.extend(attribute_lines(&attributes));
                    lines.extend(source_lines(refused.rules()));
                    lines
                },
            );
            return Err(Failure::failed(refused));
        }
    }
    Ok(())
}

fn attribute_lines(attributes: &[AttributeUse<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    for attribute in attributes {
        let purpose = attribute
            .purpose
            .map_or("serving the guest", |purpose| purpose.as_str());
        let category = attribute
            .category
            .map_or(String::new(), |category| format!(", with {category} data"));
        let sent = if attribute.may_be_sent {
            "may be sent"
        } else {
            "may not be sent"
        };
        lines.push(format!(
            "- the attribute {}, for {purpose}{category}, {sent}",
            attribute.name
        ));
        lines.extend(
            attribute
                .warning
                .iter()
                .map(|warning| format!("- warning: {warning}")),
        );
    }
    lines
}

/// The sources of the rules with their addresses, then the doubts.
fn source_lines<'p>(rules: impl Iterator<Item = &'p Rule>) -> Vec<String> {
    let rules: Vec<&Rule> = rules.collect();
    let sources: BTreeSet<String> = rules
        .iter()
        .flat_map(|rule| rule.all_sources())
        .map(address)
        .collect();
    let doubts: BTreeSet<String> = rules.iter().flat_map(|rule| rule.all_doubts()).collect();
    let listed = |heading: &str, of: BTreeSet<String>| {
        let heading = (!of.is_empty()).then(|| heading.to_owned());
        heading
            .into_iter()
            .chain(of.into_iter().map(|line| format!("- {line}")))
            .collect::<Vec<_>>()
    };
    let mut lines = listed("\nSources:", sources);
    lines.extend(listed("\nDoubts:", doubts));
    lines
}
