#![doc = include_str!("../README.md")]

mod attributes;
mod consent;
mod decision;
pub mod guest_sessions;
mod jurisdiction;
mod policy;
mod purpose;
mod record;
mod session;
mod state;
pub mod web_messaging;

pub use attributes::{AttributeError, Attributes, LawfulAttributes, Use};
pub use consent::{Choice, Consent, ConsentChange, Evidence, Signals};
pub use decision::{Allowed, Decision, PurposeState, Reason, Refused, Request};
pub use jurisdiction::{Jurisdiction, JurisdictionError, Jurisdictions};
pub use policy::{Basis, Lint, LintKind, OnMissing, Policy, Rule, Source, Switch, UnknownPolicy};
pub use purpose::Purpose;
pub use record::{ChangeError, Changed, ConsentRecord, PurposeRecord};
pub use session::NewSession;
pub use state::SessionState;
