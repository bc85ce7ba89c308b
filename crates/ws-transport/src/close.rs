//! The end of a connection.

use std::fmt;

use genesys_api::wire::sanitize;

/// The end of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CloseInfo {
    code: Option<u16>,
    reason: String,
    permanent: bool,
}

impl CloseInfo {
    /// A close frame of the peer with `code` (RFC 6455 section 7.4).
    #[must_use]
    pub fn with_code(code: u16, reason: &str) -> Self {
        Self {
            code: Some(code),
            reason: sanitize(reason),
            permanent: false,
        }
    }

    /// An end without a close frame, or a failed attempt; `reason` is text for an operator.
    #[must_use]
    pub fn abnormal(reason: &str) -> Self {
        Self {
            code: None,
            reason: sanitize(reason),
            permanent: false,
        }
    }

    /// An attempt that could not open a connection.
    #[cfg(feature = "client")]
    pub(crate) fn not_opened(error: &genesys_http::Error) -> Self {
        let fault = error.tls_fault();
        Self {
            permanent: fault.is_some_and(genesys_http::TlsFault::is_permanent),
            ..Self::abnormal(&genesys_api::error_chain(error))
        }
    }

    /// The close code, if there was a close frame with one.
    pub fn code(&self) -> Option<u16> {
        self.code
    }

    /// Whether the peer closed on purpose, or because of this side: 1000, and 1002, 1003, 1007, 1008, 1009, 1010 (RFC
    /// 6455 section 7.4.1). A new connection would end in the same way.
    pub fn is_final(&self) -> bool {
        matches!(self.code, Some(1000 | 1002 | 1003 | 1007..=1010))
    }

    /// Whether no connection can be opened until somebody changes the server, the network or the settings, as with an
    /// invalid certificate. A later attempt can succeed.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// Text for an operator, at most 500 characters, without control characters.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for CloseInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "closed with {code} {:?}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}
