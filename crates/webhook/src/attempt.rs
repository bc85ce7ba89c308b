//! One attempt to deliver a message, as an HTTP request.

use std::fmt;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use time::OffsetDateTime;

use crate::{CustomHeaders, MessageId, Secret, Target, sign};

/// A message with its endpoint and the secrets that sign it. `Debug` shows the length of the body, which may be personal.
#[derive(Clone)]
pub struct Attempt<'a> {
    /// Id of the message, the same in every attempt.
    pub id: &'a MessageId,
    /// URL of the endpoint.
    pub target: &'a Target,
    /// Headers that the subscriber requested.
    pub headers: &'a CustomHeaders,
    /// Current secret of the endpoint.
    pub secret: &'a Secret,
    /// Earlier secrets that the receiver still accepts, during a rotation.
    pub old_secrets: &'a [Secret],
    /// Body as bytes, from [`EventBody::to_bytes`](crate::EventBody::to_bytes).
    pub body: Bytes,
}

impl Attempt<'_> {
    /// Builds the request, signed for `utc`, the time of this attempt.
    #[must_use]
    pub fn request(&self, utc: OffsetDateTime) -> Request<Bytes> {
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.uri().clone();
        let headers = request.headers_mut();
        headers.extend(self.headers.0.iter().cloned());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(sign(self.secret, self.old_secrets, self.id, utc, &self.body));
        request
    }
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("id", self.id)
            .field("target", self.target)
            .field("headers", self.headers)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verifier;

    #[test]
    fn attempt_request_verifies_with_every_secret() {
        let secret = Secret::generate([1; 32]);
        let old = [Secret::generate([2; 32])];
        let headers = CustomHeaders::parse([("x-source", "here")]).unwrap();
        let attempt = Attempt {
            id: &MessageId::generate([3; 16]),
            target: &"https://crm.example/sync?tenant=1".parse().unwrap(),
            headers: &headers,
            secret: &secret,
            old_secrets: &old,
            body: Bytes::from_static(br#"{"name":"Anna"}"#),
        };
        let utc = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let request = attempt.request(utc);
        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/sync"));
        assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(request.headers()["x-source"], "here");
        for secret in [&secret, &old[0]] {
            let verifier = Verifier::new([secret.clone()]);
            let verified = verifier.verify(request.headers(), request.body(), utc).unwrap();
            assert_eq!(verified.id, attempt.id.as_str());
        }
        let debug = format!("{attempt:?}");
        for hidden in [&secret.expose()[6..], "tenant", "here", "Anna"] {
            assert!(!debug.contains(hidden), "{debug}");
        }
    }
}
