#![doc = include_str!("../README.md")]

mod hub;
mod replay_cache;
mod secret;
mod signature;
mod verify;
mod verifying_key;

mod custom_headers;
mod event;
mod field_source;
mod subscription;
mod target;

mod attempt;
#[cfg(feature = "client")]
mod dispatcher;
mod schedule;

pub use attempt::Attempt;
pub use custom_headers::{CustomHeaders, HeaderError};
#[cfg(feature = "client")]
pub use dispatcher::Dispatcher;
pub use event::{EventBody, EventName, UnknownEvent};
pub use field_source::FieldSource;
pub use hub::HubVerifier;
pub use replay_cache::{ReplayCache, ReplayError};
pub use schedule::{
    DisableReason, EndpointHealth, Failure, Load, NextStep, Outcome, Schedule, ScheduleError,
};
pub use secret::{KeyError, Secret};
pub use signature::{ID_HEADER, MessageId, MessageIdError, SignatureVersion, UnknownSignatureVersion, sign};
pub use subscription::{Conditions, Name, NameError, Subscription};
pub use target::{Target, TargetError};
pub use verify::{Verified, Verifier, VerifyError};
pub use verifying_key::{PublicKey, VerifyingKey};
