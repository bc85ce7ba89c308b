//! The list of origins that may open a socket, and the check of a handshake against it.

use std::fmt;

use genesys_api::wire::sanitize;
use genesys_api::{Origin, ParseOriginError};

/// The list of origins that are admitted. An empty list admits none.
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    allowed: Vec<Origin>,
}

impl OriginPolicy {
    /// Parses the list.
    ///
    /// # Errors
    /// If an entry is not an origin. The error names the first one, with a suggestion.
    pub fn new<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, OriginPolicyError> {
        let read = |entry: T| {
            let entry = entry.as_ref();
            entry
                .parse()
                .map_err(|problem| OriginPolicyError::new(entry, problem))
        };
        Ok(Self {
            allowed: entries.into_iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    /// The admitted origins.
    pub fn origins(&self) -> &[Origin] {
        &self.allowed
    }

    /// Checks the values of all `Origin` headers of a handshake; there must be exactly one.
    ///
    /// # Errors
    /// See [`OriginError`]. Respond with 403, before the upgrade.
    pub fn admit<T: AsRef<[u8]>>(
        &self,
        headers: impl IntoIterator<Item = T>,
    ) -> Result<AdmittedOrigin, OriginError> {
        let mut headers = headers.into_iter();
        let value = headers.next().ok_or(OriginError::Missing)?;
        if headers.next().is_some() {
            return Err(OriginError::Several);
        }
        let text = std::str::from_utf8(value.as_ref()).map_err(|_| OriginError::Encoding)?;
        let origin = text
            .parse()
            .map_err(|problem| OriginError::Malformed { problem })?;
        self.admit_own(&origin)
    }

    /// Checks a parsed origin: a client's own, before it connects.
    ///
    /// # Errors
    /// [`OriginError::NotAllowed`].
    pub fn admit_own(&self, origin: &Origin) -> Result<AdmittedOrigin, OriginError> {
        if self.allowed.contains(origin) {
            return Ok(AdmittedOrigin(origin.clone()));
        }
        Err(OriginError::NotAllowed {
            origin: Box::new(origin.clone()),
        })
    }
}

/// An origin that a policy admitted. No handshake is made without one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdmittedOrigin(Origin);

impl AdmittedOrigin {
    /// The own origin of a client, which no policy limits.
    #[must_use]
    pub fn own(origin: Origin) -> Self {
        Self(origin)
    }

    /// The origin.
    pub fn origin(&self) -> &Origin {
        &self.0
    }
}

impl fmt::Display for AdmittedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An origin that is not admitted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// The header is not UTF-8.
    #[error("invalid Origin header: not UTF-8; send the page's origin")]
    Encoding,
    /// The header is not an origin.
    #[error("invalid Origin header: {problem}")]
    Malformed {
        /// The reason.
        problem: ParseOriginError,
    },
    /// The header is missing: the peer is not a browser.
    #[error("invalid Origin header: missing; set it to an allowed origin if the client is not a browser")]
    Missing,
    /// An origin that is not on the list.
    #[error("invalid origin {origin}: not allowed; add it to the allowed origins if that site is yours")]
    NotAllowed {
        /// The origin.
        origin: Box<Origin>,
    },
    /// More than one header.
    #[error("invalid Origin header: more than one; send exactly one")]
    Several,
}

/// An entry of the list that is not an origin. The message suggests one, and repeats no credentials.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct OriginPolicyError(String);

impl OriginPolicyError {
    fn new(entry: &str, problem: ParseOriginError) -> Self {
        let shown = match problem {
            ParseOriginError::Credentials => String::new(),
            _ => format!(" {:?}", sanitize(entry)),
        };
        let suggestion = suggestion(entry, problem).map(|origin| format!("; did you mean {origin}?"));
        let suggestion = suggestion.unwrap_or_default();
        Self(format!("invalid allowed origin{shown}: {problem}{suggestion}"))
    }
}

/// The origin that the entry probably stands for.
fn suggestion(text: &str, problem: ParseOriginError) -> Option<Origin> {
    let behind_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    let guess = match problem {
        ParseOriginError::Blank => text.trim().to_owned(),
        ParseOriginError::NoScheme => format!("https://{text}"),
        ParseOriginError::Path => {
            let end = behind_scheme.find(['/', '\\', '?', '#'])?;
            let scheme = &text[..text.len() - behind_scheme.len()];
            format!("{scheme}{}", &behind_scheme[..end])
        }
        ParseOriginError::Scheme => format!("https://{behind_scheme}"),
        _ => return None,
    };
    guess.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn admits(listed: &str, header: &str) -> bool {
        OriginPolicy::new([listed]).unwrap().admit([header]).is_ok()
    }

    #[test]
    fn origin_equals_every_spelling_of_its_tuple() {
        for (listed, header) in [
            ("https://example.com", "https://example.com"),
            ("https://example.com", "https://Example.COM"),
            ("https://example.com", "HTTPS://EXAMPLE.COM"),
            ("https://example.com", "https://example.com:443"),
            ("https://example.com:443", "https://example.com"),
            ("https://example.com", "https://example.com:0443"),
            ("http://example.com", "http://example.com:80"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://example.com:8443", "https://EXAMPLE.com:8443"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://xn--bcher-kva.example", "https://bücher.example"),
            ("https://BÜCHER.example", "https://xn--bcher-kva.example"),
            ("https://[::1]:8443", "https://[::1]:8443"),
            ("https://[0:0:0:0:0:0:0:1]:8443", "https://[::1]:8443"),
            ("https://127.0.0.1", "https://127.0.0.1:443"),
            ("https://example.com.", "https://example.com."),
        ] {
            assert!(admits(listed, header), "{listed} should admit {header}");
        }
    }

    #[test]
    fn origin_differs_in_each_part_of_its_tuple() {
        for (listed, header) in [
            ("https://example.com", "http://example.com"),
            ("http://example.com", "https://example.com"),
            ("https://example.com", "https://example.com:8443"),
            ("https://example.com", "https://example.com:80"),
            ("http://example.com", "http://example.com:443"),
            ("https://example.com", "https://example.com."),
            ("https://example.com.", "https://example.com"),
            ("https://example.com", "https://www.example.com"),
            ("https://www.example.com", "https://example.com"),
            ("https://example.com", "https://example.com.evil.com"),
            ("https://example.com", "https://evil-example.com"),
            ("https://example.com", "https://evilexample.com"),
            ("https://example.com", "https://exаmple.com"),
            ("https://example.com", "https://example.co"),
            ("https://bücher.example", "https://bucher.example"),
            ("https://[::1]:8443", "https://[::2]:8443"),
            ("https://[::1]", "https://127.0.0.1"),
            ("https://localhost", "https://127.0.0.1"),
            ("https://example.com:8443", "https://example.com"),
        ] {
            let error = OriginPolicy::new([listed]).unwrap().admit([header]).unwrap_err();
            assert!(
                matches!(error, OriginError::NotAllowed { .. }),
                "{header}: {error}"
            );
        }
    }

    #[test]
    fn invalid_origin_is_refused_with_its_reason() {
        use ParseOriginError as P;
        for (header, problem) in [
            ("", P::Empty),
            ("null", P::Opaque),
            ("NULL", P::Opaque),
            (" https://example.com", P::Blank),
            ("https://example.com ", P::Blank),
            ("https://example.com\t", P::Blank),
            ("https://exam\nple.com", P::Blank),
            ("https://example.com\u{a0}", P::Blank),
            ("https://example.com\0", P::Blank),
            ("https://example.com https://evil.com", P::Blank),
            ("https://example.com/", P::Path),
            ("https://example.com/chat", P::Path),
            ("https://example.com?", P::Path),
            ("https://example.com#x", P::Path),
            ("https://example.com\\@evil.com", P::Credentials),
            ("https://evil.com\\.example.com", P::Path),
            ("https:///example.com", P::Path),
            ("https://example.com@evil.com", P::Credentials),
            ("https://joe:pw@example.com", P::Credentials),
            ("https://@example.com", P::Credentials),
            ("file://", P::Scheme),
            ("file:///etc/passwd", P::Scheme),
            ("wss://example.com", P::Scheme),
            ("ftp://example.com", P::Scheme),
            ("chrome-extension://abcdef", P::Scheme),
            ("://example.com", P::Scheme),
            ("example.com", P::NoScheme),
            ("//example.com", P::NoScheme),
            ("https:example.com", P::NoScheme),
            ("https:/example.com", P::NoScheme),
            ("data:text/html,x", P::NoScheme),
            ("https://", P::Host),
            ("https://:443", P::Host),
            ("https://exa%6dple.com", P::Host),
            ("https://example.com:99999", P::Host),
            ("https://example.com:https", P::Host),
            ("https://[::1", P::Host),
            ("https://exa<mple.com", P::Host),
            ("https://1.2.3.256", P::Host),
            ("https://*.example.com", P::Wildcard),
            ("*", P::Wildcard),
        ] {
            let policy = OriginPolicy::new(["https://example.com"]).unwrap();
            assert_eq!(
                policy.admit([header]),
                Err(OriginError::Malformed { problem }),
                "{header:?}"
            );
        }
        let long = format!("https://{}.example", "a".repeat(300));
        assert!(matches!(long.parse::<Origin>(), Err(P::TooLong { .. })));
    }

    #[test]
    fn admit_requires_exactly_one_header() {
        let policy = OriginPolicy::new(["https://example.com"]).unwrap();
        assert_eq!(policy.admit::<&[u8]>([]), Err(OriginError::Missing));
        assert_eq!(
            policy.admit(["https://example.com", "https://example.com"]),
            Err(OriginError::Several)
        );
        assert_eq!(policy.admit([b"\xff\xfe"]), Err(OriginError::Encoding));
        let empty = OriginPolicy::default();
        assert!(empty.admit(["https://example.com"]).is_err());
    }

    #[test]
    fn policy_error_suggests_an_origin() {
        for (entry, expected) in [
            (
                "shop.example",
                r#"invalid allowed origin "shop.example": it has no scheme; begin it with https://; did you mean https://shop.example?"#,
            ),
            (
                "https://shop.example/",
                r#"invalid allowed origin "https://shop.example/": it has a path behind the host; write scheme, host and port only; did you mean https://shop.example?"#,
            ),
            (
                "wss://shop.example:8443",
                r#"invalid allowed origin "wss://shop.example:8443": its scheme is neither http nor https; did you mean https://shop.example:8443?"#,
            ),
            (
                "*",
                r#"invalid allowed origin "*": it contains a wildcard; list each origin"#,
            ),
            (
                "https://joe:hunter2@shop.example",
                "invalid allowed origin: it contains credentials before the host; remove them",
            ),
        ] {
            let error = OriginPolicy::new(["https://a.example", entry]).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn origin_is_displayed_as_a_browser_writes_it() {
        for (text, written) in [
            ("HTTPS://Bücher.example:443", "https://xn--bcher-kva.example"),
            ("http://a.example:443", "http://a.example:443"),
            ("https://[0::1]:1", "https://[::1]:1"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), written);
        }
    }

    proptest! {
        #[test]
        fn admitted_origin_is_the_tuple_of_the_url_parser(header in "https?://[a-zA-Z0-9.:@/\\[\\] %-]{0,24}") {
            let policy = OriginPolicy::new(["https://a.example", "http://a:80", "https://b:1"]).unwrap();
            if let Ok(admitted) = policy.admit([&header]) {
                let seen = url::Url::parse(&header).unwrap().origin().ascii_serialization();
                prop_assert_eq!(seen, admitted.to_string());
            }
        }

        #[test]
        fn admit_accepts_any_bytes_without_panic(header in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = OriginPolicy::new(["https://a.example"]).unwrap().admit([header]);
        }

        #[test]
        fn origin_display_parses_back(text in "https?://[a-z0-9.-]{1,20}(:[0-9]{1,5})?") {
            if let Ok(origin) = text.parse::<Origin>() {
                prop_assert_eq!(origin.to_string().parse::<Origin>(), Ok(origin));
            }
        }
    }
}
