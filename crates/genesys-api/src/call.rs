//! A REST call as a value.

use bytes::Bytes;

use crate::{Host, Problem};

/// One operation of one service: the request it makes, and what its response means.
pub trait Call {
    /// What a successful response says.
    type Reply;

    /// Whether sending it twice equals sending it once. A call that is not is retried only when no byte of it can
    /// have been acted on.
    const IDEMPOTENT: bool;

    /// The request, complete but for `Authorization`, which whoever moves it adds.
    fn request(&self, host: &Host) -> http::Request<Bytes>;

    /// Reads the response.
    ///
    /// # Errors
    /// If the service refused, or answered with something else than the contract says.
    fn reply(&self, response: http::Response<Bytes>) -> Result<Self::Reply, ReplyError>;
}

/// The response of a service is not the reply that was asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// A success whose body is not what the contract says.
    #[error(
        "the service answered {status} with a body that is not {expected}: check that the host speaks this contract"
    )]
    Malformed {
        /// Status of the response.
        status: u16,
        /// What the body should have been.
        expected: &'static str,
    },
    /// The service refused, and said why.
    #[error("{0}")]
    Refused(Box<Problem>),
}

impl ReplyError {
    /// The service's own account, if it refused.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Malformed { .. } => None,
        }
    }
}
