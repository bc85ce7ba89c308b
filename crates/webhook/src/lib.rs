#![doc = include_str!("../README.md")]

mod secret;
mod signature;
mod verify;

mod custom_headers;
mod event;
mod subscription;
mod target;

mod attempt;
#[cfg(feature = "client")]
mod courier;
mod schedule;

pub use attempt::{Attempt, LARGEST_ANSWER, TIMEOUT};
#[cfg(feature = "client")]
pub use courier::Courier;
pub use custom_headers::{CustomHeaders, HeaderError};
pub use event::{EventBody, EventName, EventSet, UnknownEvent};
pub use schedule::{DisableReason, EndpointHealth, Failure, Outcome, SCHEDULE, Verdict};
pub use secret::{Secret, SecretError};
pub use signature::{
    ID_HEADER, MessageId, MessageIdError, SIGNATURE_HEADER, SignatureHeaders, TIMESTAMP_HEADER, sign,
};
pub use subscription::{Name, NameError, Subscription};
pub use target::{Target, TargetError};
pub use verify::{TOLERANCE, Verified, Verifier, VerifyError};
