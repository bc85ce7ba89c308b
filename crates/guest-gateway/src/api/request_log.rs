//! The log line of a request: its caller, its session and its network.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use audit::Pseudonym;
use axum::extract::Request;

/// The caller and the session of a request, for the log. An extension of the request, which its handler fills.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestLog(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    caller: OnceLock<String>,
    session: OnceLock<Pseudonym>,
}

impl RequestLog {
    /// Returns the log of a request. A request without one is not logged.
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Sets the API client, or the operator.
    pub(crate) fn set_caller(&self, caller: &str) {
        // the first one is that of the credentials
        let _ = self.0.caller.set(caller.to_owned());
    }

    /// Sets the pseudonym of the session.
    pub(crate) fn set_session(&self, session: Pseudonym) {
        let _ = self.0.session.set(session);
    }

    pub(super) fn caller(&self) -> Option<&str> {
        self.0.caller.get().map(String::as_str)
    }

    pub(super) fn session(&self) -> Option<String> {
        self.0.session.get().map(Pseudonym::to_string)
    }
}

/// The network of an address: 24 bits of IPv4, 48 of IPv6. It identifies no single guest.
pub(super) fn network(address: IpAddr) -> String {
    let bits = if address.is_ipv4() { 24 } else { 48 };
    format!("{}/{bits}", super::failures::wide_prefix(address))
}
