//! Proxies, and the rules that select one for a connection.

mod tunnel;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use secrecy::{ExposeSecret, SecretString};

pub(crate) use self::tunnel::open_tunnel;
use crate::endpoint::Endpoint;

/// The proxies of a client, and the hosts that need none. Clones share them.
///
/// Every connection is a tunnel by `CONNECT` (RFC 9110 section 9.3.6), also to plain hosts: one mechanism for requests and
/// WebSockets, in which the proxy sees only name and port of the host. A proxy that allows `CONNECT` only to port 443
/// refuses plain hosts. The proxy resolves the name.
///
/// `localhost`, its subdomains and loopback addresses never use a proxy (our choice, as in Go's client).
#[derive(Clone, Debug)]
pub struct Proxy {
    rules: Arc<Matcher>,
}

impl Proxy {
    /// Uses the proxy at `url` for all hosts, such as `http://user:password@proxy.example:3128`. The default scheme is
    /// `http`, the default port 80. User name and password are sent to the proxy as `Basic`.
    ///
    /// Hosts in `except` use no proxy. It has the form of `NO_PROXY`: names including their subdomains, with or without a
    /// leading dot, addresses, networks such as `10.0.0.0/8`, or `*` for all, separated by commas, without ports.
    ///
    /// # Errors
    /// If `url` is not the URL of a proxy.
    pub fn new(url: &SecretString, except: &str) -> Result<Self, ProxyError> {
        let url = checked(None, url.expose_secret())?;
        Ok(Self {
            rules: Arc::new(Matcher::builder().all(url).no(except).build()),
        })
    }

    /// Reads the environment: `https_proxy` for secure hosts, `http_proxy` for plain ones, `all_proxy` for both as a
    /// fallback, and `no_proxy` for exceptions. Upper case is read if lower case is absent or empty. `None` if no proxy is
    /// set. No client reads the environment by itself.
    ///
    /// # Errors
    /// If a variable that is read does not hold the URL of a proxy. The error names the variable.
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
            Some((name, value)) => checked(Some(name), &value).map(str::to_owned),
            None => Ok(String::new()),
        };
        let https = url(["https_proxy", "HTTPS_PROXY"])?;
        // a CGI server copies the request header `Proxy` to this variable
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

    /// Returns the proxy for `endpoint`, if it needs one.
    pub(crate) fn hop(&self, endpoint: &Endpoint) -> Option<Hop> {
        if is_local(&endpoint.name) {
            return None;
        }
        let scheme = if endpoint.secure { "https" } else { "http" };
        let target = format!("{scheme}://{endpoint}/").parse::<Uri>().ok()?;
        Hop::of(&self.rules.intercept(&target)?)
    }
}

/// A proxy with its credentials.
pub(crate) struct Hop {
    pub(crate) endpoint: Endpoint,
    credentials: Option<HeaderValue>,
}

impl Hop {
    fn of(proxy: &Intercept) -> Option<Self> {
        Some(Self {
            endpoint: Endpoint::of_uri(proxy.uri()).ok()?,
            credentials: proxy.basic_auth().cloned(),
        })
    }
}

/// An invalid proxy. The message does not repeat its URL, which may contain a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid proxy{}: {reason}", variable.map_or_else(String::new, |name| format!(" in {name}")))]
pub struct ProxyError {
    /// Name of the environment variable, if it is of one.
    variable: Option<&'static str>,
    reason: &'static str,
}

fn checked<'u>(variable: Option<&'static str>, url: &'u str) -> Result<&'u str, ProxyError> {
    let invalid = |reason| ProxyError { variable, reason };
    let unreadable = invalid(
        "give http://host:port, or http://user:password@host:port with special characters percent-encoded",
    );
    let uri = url.parse::<Uri>().map_err(|_| unreadable)?;
    if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err(invalid("only plain HTTP is supported, give http://host:port"));
    }
    let anywhere = Uri::from_static("http://host.example/");
    let proxy = Matcher::builder().all(url).build().intercept(&anywhere);
    match proxy.as_ref().and_then(Hop::of) {
        Some(_) if matches!(uri.path(), "" | "/") && uri.query().is_none() => Ok(url),
        _ => Err(unreadable),
    }
}

fn is_local(name: &str) -> bool {
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

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::of_uri(&url.parse().unwrap()).unwrap()
    }

    fn route(proxy: &Proxy, url: &str) -> Option<String> {
        proxy.hop(&endpoint(url)).map(|hop| hop.endpoint.to_string())
    }

    fn read(variables: &[(&str, &str)]) -> Result<Option<Proxy>, ProxyError> {
        Proxy::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn environment_selects_proxy_by_scheme() {
        let proxy = read(&[
            ("HTTPS_PROXY", "http://secure.example:3128"),
            ("ALL_PROXY", "all.example:8080"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(
            route(&proxy, "https://a.example").as_deref(),
            Some("secure.example:3128")
        );
        assert_eq!(
            route(&proxy, "http://a.example").as_deref(),
            Some("all.example:8080")
        );
        let proxy = read(&[("http_proxy", "http://plain.example")]).unwrap().unwrap();
        assert_eq!(
            route(&proxy, "http://a.example").as_deref(),
            Some("plain.example:80")
        );
        assert_eq!(route(&proxy, "https://a.example"), None);
        assert!(read(&[]).unwrap().is_none());
        assert!(
            read(&[("https_proxy", " "), ("NO_PROXY", "*")])
                .unwrap()
                .is_none()
        );
        let both = [("https_proxy", "lower.example"), ("HTTPS_PROXY", "upper.example")];
        let proxy = read(&both).unwrap().unwrap();
        assert_eq!(
            route(&proxy, "https://a.example").as_deref(),
            Some("lower.example:80")
        );
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "attacker.example")];
        assert!(read(&cgi).unwrap().is_none());
    }

    #[test]
    fn exceptions_match_names_suffixes_addresses_networks_and_all() {
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
            assert_eq!(route(&proxy, url).is_some(), through, "{url}");
        }
        let proxy = Proxy::new(&"proxy.example".into(), "*").unwrap();
        assert_eq!(route(&proxy, "https://a.example"), None);
    }

    #[test]
    fn invalid_proxy_is_rejected_without_repeating_it() {
        let (unreadable, kind) = ("percent-encoded", "only plain HTTP is supported");
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
            assert!(error.to_string().contains(expected), "{url}: {error}");
            assert!(!format!("{error} {error:?}").contains("pa55"), "{error}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_redacted() {
        let proxy = Proxy::new(&"http://Aladdin:open%3Asesame@proxy.example".into(), "").unwrap();
        let hop = proxy.hop(&endpoint("https://a.example")).unwrap();
        let credentials = hop.credentials.unwrap();
        assert!(credentials.is_sensitive());
        assert_eq!(credentials, "Basic QWxhZGRpbjpvcGVuOnNlc2FtZQ==");
        let shown = format!("{proxy:?} {credentials:?}");
        assert!(!shown.contains("sesame") && !shown.contains("QWxh"), "{shown}");
    }
}
