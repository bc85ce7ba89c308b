//! The deployment's allowed domains.

use http::uri::Authority;

/// Whether `origin` is within `domains`: its host name equals an entry, or ends with `.entry`. Case, scheme and port do
/// not matter. The official mobile SDK sends a bare host name, which counts as well. A missing origin is admitted only
/// if all domains are (inference: unverified for restricted deployments).
pub(crate) fn admits(domains: Option<&[String]>, origin: Option<&str>) -> bool {
    let Some(domains) = domains else {
        return true;
    };
    let Some(name) = origin.and_then(host_name) else {
        return false;
    };
    domains.iter().any(|domain| {
        let domain = domain.to_ascii_lowercase();
        !domain.is_empty()
            && (name == domain || name.strip_suffix(&domain).is_some_and(|sub| sub.ends_with('.')))
    })
}

fn host_name(origin: &str) -> Option<String> {
    let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let authority: Authority = authority.parse().ok()?;
    let name = authority.host().trim_matches(['[', ']']);
    (!authority.as_str().contains('@')).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_admits_itself_and_its_subdomains() {
        let domains = ["example.com".to_owned(), "::1".to_owned()];
        for (origin, admitted) in [
            ("https://example.com", true),
            ("http://example.com:8080", true),
            ("HTTPS://Shop.EXAMPLE.com", true),
            ("https://a.b.example.com:1", true),
            ("example.com", true),
            ("http://[::1]:3000", true),
            ("https://example.com.evil.test", false),
            ("https://evilexample.com", false),
            ("https://com", false),
            ("https://evil.test/.example.com", false),
            ("https://evil.test#.example.com", false),
            ("https://user@example.com", false),
            ("null", false),
            ("", false),
            ("https://", false),
        ] {
            assert_eq!(admits(Some(&domains), Some(origin)), admitted, "{origin:?}");
        }
    }

    #[test]
    fn missing_list_admits_all_origins_and_empty_list_none() {
        assert!(admits(None, None));
        assert!(admits(None, Some("null")));
        assert!(!admits(Some(&[]), Some("https://example.com")));
        assert!(!admits(Some(&["example.com".to_owned()]), None));
    }
}
