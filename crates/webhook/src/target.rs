//! The URL of an endpoint.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use url::{Host, Url};

/// Longest accepted URL, in bytes. Our choice.
const MAX_LENGTH: usize = 2048;

/// The URL of an endpoint: `https`, or plain `http` on loopback only; no credentials, no fragment.
///
/// Its address is checked when the name is resolved for a connection, so that a name cannot change its address after the
/// check: give the dispatcher a client with public egress only. `Debug` shows the origin only, because paths and queries
/// of webhooks often contain a secret.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Target {
    text: String,
    uri: Uri,
}

impl Target {
    /// The normalized URL: lower-case host, no default port.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.len() > MAX_LENGTH {
            return Err(TargetError::TooLong { bytes: text.len() });
        }
        // the URL standard trims and drops these, and the stored URL must equal the given one
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(TargetError::Malformed);
        }
        let url = Url::parse(text).map_err(|_| TargetError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(TargetError::Fragment);
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(TargetError::Malformed),
        };
        if url.scheme() == "http" && !loopback {
            return Err(TargetError::Insecure);
        }
        // a normalized URL can be longer, and is parsed again when it is read from a store
        if url.as_str().len() > MAX_LENGTH {
            return Err(TargetError::TooLong {
                bytes: url.as_str().len(),
            });
        }
        Ok(Self {
            uri: url.as_str().parse().map_err(|_| TargetError::Malformed)?,
            text: url.into(),
        })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.uri.scheme(), self.uri.authority());
        match (scheme, authority) {
            (Some(scheme), Some(authority)) => write!(f, "Target({scheme}://{authority}/…)"),
            _ => f.write_str("Target(…)"),
        }
    }
}

/// An invalid URL of an endpoint. No message contains it, because it may contain a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// A user name or a password.
    #[error("invalid URL: it contains credentials, remove them and verify the signature instead")]
    Credentials,
    /// A fragment, which is never sent.
    #[error("invalid URL: it has a fragment, remove the # and the text after it")]
    Fragment,
    /// Plain HTTP to another machine.
    #[error("invalid URL: plain http is for loopback only, use https")]
    Insecure,
    /// Not a URL.
    #[error("invalid URL: give an absolute one such as https://crm.example/guest-sync")]
    Malformed,
    /// Neither https nor http.
    #[error("invalid URL: its scheme is not https")]
    Scheme,
    /// Longer than 2048 bytes, as given or normalized.
    #[error("invalid URL: {bytes} bytes in its normal form, at most 2048 are allowed")]
    TooLong {
        /// Length in bytes.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_https_or_loopback() {
        for (text, normal) in [
            ("https://your-crm-endpoint.com/api/guest-sync", None),
            (
                "https://CRM.example:443/hook?key=1",
                Some("https://crm.example/hook?key=1"),
            ),
            ("https://crm.example", Some("https://crm.example/")),
            ("https://bücher.example/", Some("https://xn--bcher-kva.example/")),
            ("http://127.0.0.1:9000/hook", None),
            ("http://localhost/", None),
            ("http://[::1]:9/", None),
            ("https://10.0.0.1/", None),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.as_str(), normal.unwrap_or(text));
        }
        for (text, error) in [
            ("http://crm.example/", TargetError::Insecure),
            ("http://10.0.0.1/", TargetError::Insecure),
            ("http://localhost.evil.example/", TargetError::Insecure),
            ("https://joe:hunter2@crm.example/", TargetError::Credentials),
            ("https://joe@crm.example/", TargetError::Credentials),
            ("https://crm.example/#x", TargetError::Fragment),
            ("ftp://crm.example/", TargetError::Scheme),
            ("file:///etc/passwd", TargetError::Scheme),
            ("javascript:alert(1)", TargetError::Scheme),
            ("/hook", TargetError::Malformed),
            ("", TargetError::Malformed),
            ("https://", TargetError::Malformed),
            ("https://[crm.example]/", TargetError::Malformed),
            (" https://crm.example/", TargetError::Malformed),
            ("https://crm.example/\n", TargetError::Malformed),
        ] {
            let refused = text.parse::<Target>().unwrap_err();
            assert_eq!(refused, error, "{text}");
            assert!(!refused.to_string().contains("hunter2"));
        }
        let long = format!("https://crm.example/{}", "x".repeat(2048));
        assert_eq!(
            long.parse::<Target>(),
            Err(TargetError::TooLong { bytes: long.len() })
        );
    }

    #[test]
    fn target_parses_again_in_its_normal_form() {
        for text in [
            format!("https://{}", "a".repeat(2_040)),
            format!("https://crm.example/{}", "é".repeat(1_000)),
        ] {
            assert!(text.len() <= MAX_LENGTH);
            let bytes = Url::parse(&text).unwrap().as_str().len();
            assert_eq!(text.parse::<Target>(), Err(TargetError::TooLong { bytes }));
        }
        let longest: Target = format!("https://{}", "a".repeat(2_039)).parse().unwrap();
        assert_eq!(longest.as_str().parse::<Target>().unwrap(), longest);
    }

    #[test]
    fn target_debug_omits_path() {
        let target: Target = "https://crm.example:8443/s3cret?key=s3cret".parse().unwrap();
        assert_eq!(format!("{target:?}"), "Target(https://crm.example:8443/…)");
    }
}
