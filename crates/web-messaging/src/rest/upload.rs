//! Upload of a file to the presigned URL of Genesys Cloud.

use std::fmt;

use bytes::Bytes;
use genesys_api::{Call, Host, Problem, ReplyError};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use secrecy::{ExposeSecret, SecretString};

/// `PUT` of a file to a presigned URL, at [`Upload::host`] and without a bearer token: the URL is the permission.
///
/// Success is not completion: the service scans the file, then reports on the socket whether it accepted it. A repeated
/// `PUT` of the same bytes changes nothing, so the call is idempotent.
///
/// URL and headers are secrets: `Debug` shows the host and the length of the file, and no error contains the response of
/// the storage, which quotes them.
#[derive(Clone)]
pub struct Upload {
    host: Host,
    target: SecretString,
    headers: HeaderMap,
    body: Bytes,
}

impl Upload {
    /// An upload of `body` to `url`, with the headers of the grant unchanged. `content_type` is the file's; one among the
    /// headers takes precedence, since it is signed. Headers of HTTP itself (`Host`, `Content-Length`, `Connection`,
    /// `Transfer-Encoding`) are left out.
    ///
    /// # Errors
    /// If the grant is invalid.
    pub fn new<'a>(
        url: &SecretString,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        content_type: &str,
        body: Bytes,
    ) -> Result<Self, UploadError> {
        let (host, target) = split(url.expose_secret()).ok_or(UploadError::Url)?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(|_| UploadError::Header)?;
            let mut value = HeaderValue::try_from(value).map_err(|_| UploadError::Header)?;
            value.set_sensitive(true);
            if ![CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING].contains(&name) {
                map.try_append(name, value).map_err(|_| UploadError::Header)?;
            }
        }
        if !map.contains_key(CONTENT_TYPE) {
            let value = HeaderValue::try_from(content_type).map_err(|_| UploadError::ContentType)?;
            map.insert(CONTENT_TYPE, value);
        }
        Ok(Self {
            host,
            target,
            headers: map,
            body,
        })
    }

    /// Host of the URL, usually a bucket of Genesys Cloud.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }
}

impl Call for Upload {
    type Reply = ();
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = host.uri(self.target.expose_secret());
        *request.headers_mut() = self.headers.clone();
        request
    }

    fn reply(&self, response: Response<Bytes>) -> Result<(), ReplyError> {
        let status = response.status().as_u16();
        match status {
            200..=299 => Ok(()),
            403 => Err(refused(
                status,
                "the storage refused the upload: the grant may have expired; attach the file again",
            )),
            _ => Err(refused(
                status,
                "the upload failed at the storage: attach the file again",
            )),
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("host", &self.host)
            .field("headers", &self.headers.len())
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A grant that cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The file's content type is not a valid header.
    #[error("invalid content type of the file: use a media type such as image/png")]
    ContentType,
    /// A header of the grant is invalid.
    #[error("invalid header in the upload grant: attach the file again")]
    Header,
    /// The URL is not absolute, not https, or not a URL.
    #[error("invalid URL in the upload grant (not https): attach the file again")]
    Url,
}

fn split(url: &str) -> Option<(Host, SecretString)> {
    let parts = url.parse::<Uri>().ok()?.into_parts();
    let host = format!("{}://{}", parts.scheme?, parts.authority?).parse().ok()?;
    let target = parts.path_and_query?;
    Some((host, SecretString::from(target.as_str())))
}

fn refused(status: u16, message: &str) -> ReplyError {
    ReplyError::Refused(Box::new(Problem::new(status, "upload.refused", message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://shyrka-prod.s3.amazonaws.com/a%20b/c?X-Amz-Signature=5ec2e7";

    fn upload(url: &str, headers: &[(&str, &str)]) -> Result<Upload, UploadError> {
        let headers = headers.iter().copied();
        Upload::new(
            &SecretString::from(url),
            headers,
            "image/png",
            Bytes::from_static(b"png"),
        )
    }

    #[test]
    fn upload_request_matches_the_grant() {
        let headers = [
            ("x-amz-tagging", "organizationId=1&originPlatform=PureCloud"),
            ("X-Amz-Meta", "5ec2e7"),
            ("Content-Length", "999"),
            ("Host", "elsewhere.example"),
        ];
        let upload = upload(URL, &headers).unwrap();
        let request = upload.request(upload.host());
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(request.uri().to_string(), URL);
        assert_eq!(request.headers()["x-amz-tagging"], headers[0].1);
        assert_eq!(request.headers()[CONTENT_TYPE], "image/png");
        assert_eq!(request.headers().len(), 3, "HTTP sets the rest");
        assert_eq!(request.into_body(), "png");
    }

    #[test]
    fn signed_content_type_takes_precedence() {
        let upload = upload(URL, &[("content-type", "image/x-signed")]).unwrap();
        assert_eq!(
            upload.request(upload.host()).headers()[CONTENT_TYPE],
            "image/x-signed"
        );
    }

    #[test]
    fn invalid_grant_is_refused() {
        for url in [
            "",
            "/relative",
            "http://shop.example/x",
            "ftp://a/b",
            "https://u:p@a.example/x",
            "https:// /",
        ] {
            assert_eq!(upload(url, &[]).err(), Some(UploadError::Url), "{url}");
        }
        assert!(upload("http://127.0.0.1:8080/upload/1?key=x", &[]).is_ok());
        let pathless = upload("https://a.example?x", &[]).unwrap();
        assert_eq!(pathless.request(pathless.host()).uri(), "https://a.example/?x");
        for header in [("a b", "x"), ("x", "a\r\nb: c"), ("", "")] {
            assert_eq!(
                upload(URL, &[header]).err(),
                Some(UploadError::Header),
                "{header:?}"
            );
        }
    }

    #[test]
    fn upload_redacts_url_headers_and_response() {
        let upload = upload(URL, &[("x-amz-meta", "5ec2e7")]).unwrap();
        assert_eq!(
            format!("{upload:?}"),
            r#"Upload { host: Host { scheme: "https", authority: shyrka-prod.s3.amazonaws.com }, headers: 2, bytes: 3, .. }"#
        );
        for status in [403, 500] {
            let answer = Response::builder()
                .status(status)
                .body("<Signature>5ec2e7".into());
            let error = upload.reply(answer.unwrap()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("5ec2e7"));
            assert_eq!(error.problem().unwrap().status, status);
        }
        assert!(upload.reply(Response::new(Bytes::new())).is_ok());
    }
}
