#![doc = include_str!("../README.md")]

mod age;
mod attributes;
mod audit;
mod consent;
#[cfg(feature = "guest-sessions")]
mod create_body;
mod decision;
mod guardian;
mod guest_data;
pub mod iso27560;
mod jurisdiction;
mod new_guest;
mod obligation;
mod policy;
mod purpose;
mod record;
mod remedy;
mod sensitive;
mod subject;

pub use age::{Age, AgeError};
pub use attributes::{AttributeError, Attributes};
pub use consent::{
    Actor, Choice, CollectionMethod, Consent, ConsentChange, Evidence, EvidenceError, Gpp, Notice,
    PurposeChoice, Signals,
};
#[cfg(feature = "guest-sessions")]
pub use create_body::sensitive_choices;
pub use decision::{Allowed, DecisionInput, PurposeState, Reason, Refused};
pub use guardian::{GuardianEvidence, Reference, Relationship, Verification};
pub use guest_data::GuestData;
pub use jurisdiction::{Jurisdiction, JurisdictionError, Jurisdictions};
pub use new_guest::{NewGuest, NewSession};
pub use obligation::{Obligation, Obligations};
pub use policy::{
    AgeLimits, Basis, Case, Difference, DifferenceSummary, Example, ExampleFailure, Lint, LintKind,
    OnMissing, Outcome, Policy, PolicyError, PolicyFile, Rule, Scope, Source, Switch, UnknownPolicy,
};
pub use purpose::Purpose;
pub use record::{ChangeError, ConsentDiff, ConsentRecord, ConsentUpdate, PurposeRecord};
pub use remedy::Remedy;
pub use sensitive::{AttributeWarning, Category};
pub use subject::Subject;
