//! Errors at the start of a simulator.

use std::fmt;

/// A simulator could not be started.
#[derive(Debug)]
pub struct StartError {
    kind: StartErrorKind,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Kinds of error at the start of a simulator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StartErrorKind {
    /// Plain HTTP on an address that is not loopback.
    Address,
    /// The address is taken, or does not belong to this machine.
    Bind,
    /// The certificate or its key is invalid.
    Certificate,
}

impl StartError {
    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> StartErrorKind {
        self.kind
    }

    pub(super) fn address(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(StartErrorKind::Address, source)
    }

    pub(super) fn bind(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(StartErrorKind::Bind, source)
    }

    pub(super) fn certificate(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(StartErrorKind::Certificate, source)
    }

    fn new(kind: StartErrorKind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self { kind, source }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StartErrorKind::Address => {
                "cannot start the simulator: plain HTTP needs a loopback address, use one or turn TLS on"
            }
            StartErrorKind::Bind => "cannot bind the simulator's address: use another one, or port 0 for any",
            StartErrorKind::Certificate => "invalid certificate or key of the simulator",
        })
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
