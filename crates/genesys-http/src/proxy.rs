//! Which connections go through a proxy, and through which.

mod tunnel;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use secrecy::{ExposeSecret, SecretString};

pub(crate) use self::tunnel::dig;
use crate::ErrorKind;
use crate::place::Place;

/// The proxies on the way out, and the hosts that are reached without one. Clones share them.
///
/// Every connection through a proxy is a tunnel made by `CONNECT` (RFC 9110 section 9.3.6), to plain hosts as well: so
/// one way serves requests and WebSockets, and a proxy sees nothing but the host's name and port. A proxy that allows
/// `CONNECT` to port 443 alone refuses plain hosts then. The proxy resolves the name.
///
/// `localhost`, names under it and loopback addresses are never asked of a proxy (our choice, as in Go's client).
#[derive(Clone, Debug)]
pub struct Proxy {
    rules: Arc<Matcher>,
}

impl Proxy {
    /// All hosts through the proxy at `url`, such as `http://user:password@proxy.example:3128`; without a scheme `http`
    /// is meant, without a port 80. User name and password are sent by the scheme `Basic`, to the proxy only.
    ///
    /// Not so the hosts in `except`, which has the form of `NO_PROXY`: names, which count for the names under them too,
    /// with a leading dot or without, addresses, networks such as `10.0.0.0/8`, or `*` for all; between commas, without
    /// ports.
    ///
    /// # Errors
    /// If `url` is none of a proxy, or of one of another kind.
    pub fn new(url: &SecretString, except: &str) -> Result<Self, ProxyError> {
        let url = checked("the proxy", url.expose_secret())?;
        Ok(Self {
            rules: Arc::new(Matcher::builder().all(url).no(except).build()),
        })
    }

    /// What the environment asks for: `https_proxy` for secure hosts, `http_proxy` for plain ones, `all_proxy` for those
    /// that have no own, and `no_proxy` for exceptions, all of which may be written in capitals too; lower case goes
    /// first, and an empty one counts as absent. `None` if it asks for no proxy.
    ///
    /// This reads the environment of the process. No client does so by itself: an application that wants it hands the
    /// answer to [`ClientBuilder::proxy`](crate::ClientBuilder::proxy).
    ///
    /// # Errors
    /// If a variable holds no URL of a proxy, or one of another kind. The value is not repeated: it may hold a password.
    pub fn from_env() -> Result<Option<Self>, ProxyError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ProxyError> {
        let read = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                let value = variable(name)?;
                (!value.trim().is_empty()).then(|| (name, value.trim().to_owned()))
            })
        };
        let url = |names| match read(names) {
            Some((name, value)) => checked(name, &value).map(str::to_owned),
            None => Ok(String::new()),
        };
        let https = url(["https_proxy", "HTTPS_PROXY"])?;
        // a CGI server writes the header `Proxy` of a request into that very variable
        let http = match variable("REQUEST_METHOD") {
            Some(_) => url(["http_proxy", "http_proxy"])?,
            None => url(["http_proxy", "HTTP_PROXY"])?,
        };
        let all = url(["all_proxy", "ALL_PROXY"])?;
        if https.is_empty() && http.is_empty() && all.is_empty() {
            return Ok(None);
        }
        let except = read(["no_proxy", "NO_PROXY"]).map_or_else(String::new, |(_, value)| value);
        Ok(Some(Self {
            rules: Arc::new(
                Matcher::builder()
                    .https(https)
                    .http(http)
                    .all(all)
                    .no(except)
                    .build(),
            ),
        }))
    }

    /// The proxy on the way to `place`, if there is one.
    pub(crate) fn before(&self, place: &Place) -> Option<Hop> {
        if is_this_machine(&place.name) {
            return None;
        }
        let scheme = if place.secure { "https" } else { "http" };
        let target = format!("{scheme}://{place}/").parse::<Uri>().ok()?;
        Hop::of(&self.rules.intercept(&target)?)
    }
}

/// One proxy, with what it asks for.
pub(crate) struct Hop {
    pub(crate) place: Place,
    credentials: Option<HeaderValue>,
}

impl Hop {
    fn of(proxy: &Intercept) -> Option<Self> {
        Some(Self {
            place: Place::of_uri(proxy.uri())?,
            credentials: proxy.basic_auth().cloned(),
        })
    }
}

/// A proxy that cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// A proxy that is spoken to over TLS, or by SOCKS.
    #[error(
        "{variable} names a proxy of a kind that is not supported: give one that speaks plain HTTP, as http://host:port"
    )]
    Kind {
        /// Where it was named.
        variable: &'static str,
    },
    /// No URL of a proxy.
    #[error(
        "{variable} does not name a proxy: give http://host:port, or http://user:password@host:port with special \
         characters percent-encoded"
    )]
    Unreadable {
        /// Where it was named.
        variable: &'static str,
    },
}

/// Why a connection through a proxy could not be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ProxyFailure {
    /// It closed the connection before it answered.
    Closed,
    /// What it answered is not HTTP, too long, or goes on when it should be silent.
    NoProxy,
    Refused(u16),
    Timeout(Duration),
    Unreachable,
}

impl ProxyFailure {
    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            // the same words of the host itself would be worth another try
            Self::Closed | Self::Refused(500..) | Self::Unreachable => ErrorKind::Connect,
            Self::NoProxy | Self::Refused(_) => ErrorKind::Proxy,
            Self::Timeout(_) => ErrorKind::Timeout,
        }
    }

    /// What went wrong at `proxy` on the way to `place`, and what to do.
    pub(crate) fn tell(self, proxy: &Place, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(
                f,
                "the proxy {proxy} closed the connection without a word about {place}: check that it allows CONNECT"
            ),
            Self::NoProxy => write!(
                f,
                "what answers at {proxy} on the way to {place} is no HTTP proxy: check the proxy's address"
            ),
            Self::Refused(407) => write!(
                f,
                "the proxy {proxy} wants other credentials for {place} (407): put user name and password into the \
                 proxy's URL"
            ),
            Self::Refused(status @ 500..) => write!(
                f,
                "the proxy {proxy} cannot reach {place} ({status}): check the host, and the proxy's own network"
            ),
            Self::Refused(status) => write!(
                f,
                "the proxy {proxy} refuses to connect to {place} ({status}): have this host and port allowed there, \
                 or exempt the host in NO_PROXY"
            ),
            Self::Timeout(limit) => write!(
                f,
                "no connection to {place} through the proxy {proxy} within {limit:?}: check both and the network"
            ),
            Self::Unreachable => write!(
                f,
                "cannot connect to the proxy {proxy} on the way to {place}: check the proxy's address, and that it \
                 runs"
            ),
        }
    }
}

fn checked<'u>(variable: &'static str, url: &'u str) -> Result<&'u str, ProxyError> {
    let unreadable = ProxyError::Unreadable { variable };
    let uri = url.parse::<Uri>().map_err(|_| unreadable)?;
    if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err(ProxyError::Kind { variable });
    }
    let anywhere = Uri::from_static("http://host.example/");
    let proxy = Matcher::builder().all(url).build().intercept(&anywhere);
    match proxy.as_ref().and_then(Hop::of) {
        Some(_) if matches!(uri.path(), "" | "/") && uri.query().is_none() => Ok(url),
        _ => Err(unreadable),
    }
}

fn is_this_machine(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower == "localhost"
        || lower.ends_with(".localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Place {
        Place::of_uri(&url.parse().unwrap()).unwrap()
    }

    fn way(proxy: &Proxy, url: &str) -> Option<String> {
        proxy.before(&place(url)).map(|hop| hop.place.to_string())
    }

    fn read(variables: &[(&str, &str)]) -> Result<Option<Proxy>, ProxyError> {
        Proxy::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn each_scheme_has_its_own_variable_and_all_is_for_the_rest() {
        let proxy = read(&[
            ("HTTPS_PROXY", "http://secure.example:3128"),
            ("ALL_PROXY", "all.example:8080"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(
            way(&proxy, "https://a.example").as_deref(),
            Some("secure.example:3128")
        );
        assert_eq!(
            way(&proxy, "http://a.example").as_deref(),
            Some("all.example:8080")
        );
        let proxy = read(&[("http_proxy", "http://plain.example")]).unwrap().unwrap();
        assert_eq!(
            way(&proxy, "http://a.example").as_deref(),
            Some("plain.example:80")
        );
        assert_eq!(way(&proxy, "https://a.example"), None);
        assert!(read(&[]).unwrap().is_none());
        assert!(
            read(&[("https_proxy", " "), ("NO_PROXY", "*")])
                .unwrap()
                .is_none()
        );
        let both = [("https_proxy", "lower.example"), ("HTTPS_PROXY", "upper.example")];
        let proxy = read(&both).unwrap().unwrap();
        assert_eq!(
            way(&proxy, "https://a.example").as_deref(),
            Some("lower.example:80")
        );
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "attacker.example")];
        assert!(read(&cgi).unwrap().is_none());
    }

    #[test]
    fn exceptions_are_names_suffixes_addresses_networks_or_all() {
        let except = "corp.example, .dot.example,10.0.0.0/8,192.0.2.7, 2001:db8::/32";
        let proxy = Proxy::new(&"http://proxy.example:3128".into(), except).unwrap();
        for (url, through) in [
            ("https://corp.example", false),
            ("https://CORP.example", false),
            ("https://a.corp.example:8443", false),
            ("https://notcorp.example", true),
            ("https://a.dot.example", false),
            ("https://10.1.2.3", false),
            ("https://11.1.2.3", true),
            ("https://192.0.2.7", false),
            ("https://192.0.2.8", true),
            ("https://[2001:db8::1]", false),
            ("https://[2001:db9::1]", true),
            ("http://localhost:8080", false),
            ("https://api.localhost", false),
            ("https://127.8.8.8", false),
            ("https://[::1]", false),
            ("https://[::ffff:127.0.0.1]", false),
            ("https://localhost.example", true),
        ] {
            assert_eq!(way(&proxy, url).is_some(), through, "{url}");
        }
        let proxy = Proxy::new(&"proxy.example".into(), "*").unwrap();
        assert_eq!(way(&proxy, "https://a.example"), None);
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_never_repeated() {
        let unreadable = ProxyError::Unreadable {
            variable: "HTTPS_PROXY",
        };
        let kind = ProxyError::Kind {
            variable: "HTTPS_PROXY",
        };
        for (url, expected) in [
            ("http://", unreadable),
            ("http://user:pa55word@", unreadable),
            ("http://user:pa55@word@proxy.example", unreadable),
            ("http://proxy.example:99999", unreadable),
            ("http://proxy.example/pa55word", unreadable),
            ("http://proxy.example?pa55word", unreadable),
            ("http:// pa55word", unreadable),
            ("/pa55word", unreadable),
            ("https://user:pa55word@proxy.example", kind),
            ("socks5://user:pa55word@proxy.example", kind),
        ] {
            let error = read(&[("HTTPS_PROXY", url)]).unwrap_err();
            assert_eq!(error, expected, "{url}");
            assert!(!format!("{error} {error:?}").contains("pa55"), "{error}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_do_not_appear() {
        let proxy = Proxy::new(&"http://Aladdin:open%3Asesame@proxy.example".into(), "").unwrap();
        let hop = proxy.before(&place("https://a.example")).unwrap();
        let credentials = hop.credentials.unwrap();
        assert!(credentials.is_sensitive());
        assert_eq!(credentials, "Basic QWxhZGRpbjpvcGVuOnNlc2FtZQ==");
        let shown = format!("{proxy:?} {credentials:?}");
        assert!(!shown.contains("sesame") && !shown.contains("QWxh"), "{shown}");
    }
}
