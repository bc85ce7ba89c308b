//! A REST call as a value.

use bytes::Bytes;

use crate::{Host, Problem};

/// One operation of a service: builds its request and parses its response.
pub trait Call {
    /// The parsed body of a successful response.
    type Reply;

    /// Whether sending it twice equals sending it once. Other calls are retried only if the service certainly did not act
    /// on them.
    const IDEMPOTENT: bool;

    /// Builds the request, complete except for `Authorization`, which the client adds.
    fn request(&self, host: &Host) -> http::Request<Bytes>;

    /// Parses the response.
    ///
    /// # Errors
    /// [`ReplyError::Refused`] for a refusal, [`ReplyError::Malformed`] for a body that does not match the contract.
    fn reply(&self, response: http::Response<Bytes>) -> Result<Self::Reply, ReplyError>;
}

/// A response that is not the expected reply.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// A success whose body does not match the contract.
    #[error("invalid body of a {status} response: expected {expected}, check that the host serves this API")]
    Malformed {
        /// Status of the response.
        status: u16,
        /// Name of the expected body.
        expected: &'static str,
    },
    /// The service refused the call.
    #[error("{0}")]
    Refused(Box<Problem>),
}

impl ReplyError {
    /// The error body of the service, if it refused the call.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Malformed { .. } => None,
        }
    }
}
