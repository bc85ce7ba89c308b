//! The framing of a request (RFC 9112): one valid `Host`, and no transfer coding but `chunked`.

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, Version};

use super::Refusal;

/// Refuses a request that another server on its way may read differently. The HTTP library ignores other codings.
pub(super) fn check(version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        // HTTP/1.0 needs none (RFC 9112 section 3.2)
        (None, _) if version < Version::HTTP_11 => {}
        (Some(host), None) if is_host(host.as_bytes()) => {}
        _ => {
            return Err(Refusal::bad_request(
                "invalid Host: send this header once, with the host and port of the gateway",
            ));
        }
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Refusal::bad_request(
            "invalid Transfer-Encoding: only chunked is supported, once",
        )),
    }
}

fn is_host(value: &[u8]) -> bool {
    !value.contains(&b'@') && Authority::try_from(value).is_ok()
}

#[cfg(test)]
mod tests {
    //! Hosts and codings.

    use http::HeaderValue;

    use super::*;

    #[test]
    fn framing_is_refused_unless_host_and_coding_are_valid() {
        let host = |value: &'static str| (HOST, value);
        let coding = |value: &'static str| (TRANSFER_ENCODING, value);
        let valid = host("chat.example:8443");
        for (version, headers, is_valid) in [
            (Version::HTTP_11, vec![valid.clone()], true),
            (Version::HTTP_11, vec![host("[::1]:80")], true),
            (Version::HTTP_11, vec![valid.clone(), coding("Chunked")], true),
            (Version::HTTP_10, vec![], true),
            (Version::HTTP_11, vec![], false),
            (Version::HTTP_10, vec![host("a b")], false),
            (Version::HTTP_11, vec![host("")], false),
            (Version::HTTP_11, vec![host("a b")], false),
            (Version::HTTP_11, vec![host("user@chat.example")], false),
            (Version::HTTP_11, vec![valid.clone(), valid.clone()], false),
            (
                Version::HTTP_11,
                vec![valid.clone(), coding("gzip, chunked")],
                false,
            ),
            (Version::HTTP_11, vec![valid.clone(), coding("gzip")], false),
            (
                Version::HTTP_11,
                vec![valid.clone(), coding("chunked, chunked")],
                false,
            ),
            (
                Version::HTTP_11,
                vec![valid.clone(), coding("chunked"), coding("chunked")],
                false,
            ),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(name, HeaderValue::from_static(value));
            }
            assert_eq!(check(version, &map).is_ok(), is_valid, "{version:?} {headers:?}");
        }
    }
}
