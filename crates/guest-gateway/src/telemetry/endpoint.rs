//! The collector of one signal, from the variables `OTEL_EXPORTER_OTLP_*`.

use std::time::Duration;

use bytes::Bytes;
use genesys_api::error_chain;
use genesys_http::Client;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use url::form_urlencoded;

const PROTOCOL: &str = "http/protobuf";

/// The URL and the headers of requests, which can be secret.
pub(super) struct Endpoint {
    uri: Uri,
    headers: HeaderMap,
}

impl Endpoint {
    /// The collector of `TRACES` or `METRICS`. `None` if no variable names one, or `OTEL_SDK_DISABLED` is true.
    pub(super) fn of(signal: &str) -> Result<Option<Self>, String> {
        let own = |name: &str| format!("OTEL_EXPORTER_OTLP_{signal}_{name}");
        let common = |name: &str| format!("OTEL_EXPORTER_OTLP_{name}");
        let either = |name| {
            let names = [own(name), common(name)].into_iter();
            names.filter_map(|name| Some((variable(&name)?, name))).next()
        };
        let Some((mut url, name)) = either("ENDPOINT") else {
            return Ok(None);
        };
        if variable("OTEL_SDK_DISABLED").is_some_and(|disabled| disabled.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        if name == common("ENDPOINT") {
            url = format!("{}/v1/{}", url.trim_end_matches('/'), signal.to_lowercase());
        }
        let uri: Uri = url.parse().unwrap_or_default();
        if uri.host().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) || url.contains('@') {
            return Err(format!(
                "invalid {name}: give the URL of a collector without credentials, as in http://127.0.0.1:4318"
            ));
        }
        if let Some((protocol, name)) = either("PROTOCOL").filter(|(protocol, _)| protocol != PROTOCOL) {
            return Err(format!(
                "invalid {name} `{protocol}`: only {PROTOCOL} is supported"
            ));
        }
        let mut headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))]);
        if let Some((text, name)) = either("HEADERS") {
            for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
                let (key, value) = header(pair).ok_or_else(|| {
                    format!("invalid {name}: give name=value, separated by commas, values percent-encoded")
                })?;
                headers.insert(key, value);
            }
        }
        Ok(Some(Self { uri, headers }))
    }

    /// Sends a message once, and returns the body of the answer.
    ///
    /// # Errors
    /// The failure as text, without the headers.
    pub(super) async fn post(&self, client: &Client, body: Vec<u8>) -> Result<Bytes, String> {
        let mut request = Request::post(&self.uri)
            .body(Bytes::from(body))
            .expect("the URI is parsed");
        *request.headers_mut() = self.headers.clone();
        let answer = client.send(request).await.map_err(|error| error_chain(&error))?;
        match answer.status() {
            status if status.is_success() => Ok(answer.into_body()),
            status => Err(format!("the collector answers with status {status}")),
        }
    }
}

/// A header, whose value is percent-encoded.
fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    // in a form these characters have a meaning
    let mut form = value.trim().to_owned();
    for (character, encoded) in [("+", "%2B"), ("&", "%26"), ("=", "%3D")] {
        form = form.replace(character, encoded);
    }
    let (value, _) = form_urlencoded::parse(form.as_bytes()).next()?;
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

/// A duration in milliseconds.
pub(super) fn milliseconds(name: &str) -> Result<Option<Duration>, String> {
    let milliseconds = variable(name).map(|text| text.parse().map(Duration::from_millis));
    milliseconds
        .transpose()
        .map_err(|_| format!("invalid {name}: give a number of milliseconds"))
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_percent_decoded_and_sensitive() {
        let (name, value) = header(" Authorization=Basic%20a+b/c== ").unwrap();
        assert_eq!(name, "authorization");
        assert_eq!(value, "Basic a+b/c==");
        assert!(value.is_sensitive());
        assert!(header("no value").is_none() && header("x=%0A").is_none());
    }
}
