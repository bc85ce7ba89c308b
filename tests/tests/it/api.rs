//! The gateway's HTTP API: hand-written requests, and raw replies.

use bytes::Bytes;
use genesys_http::Client;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::document::{Asked, DOCUMENT};
use crate::world::{CHANNEL, World};

/// Path of guest sessions.
pub(crate) const SESSIONS: &str = "/api/v2/webmessaging/guest-sessions";
/// Path of webhooks.
pub(crate) const WEBHOOKS: &str = "/api/v2/webhooks";

/// Path of requests about a guest.
pub(crate) const QUERY: &str = "/api/v2/webmessaging/guests/query";
/// Path of erasures.
pub(crate) const ERASURES: &str = "/api/v2/webmessaging/guests/erasures";

/// The path of a session, with the rest of a longer path.
pub(crate) fn path_of(session: &Value, rest: &str) -> String {
    format!("{SESSIONS}/{}{rest}", session["id"].as_str().unwrap())
}

/// Default body of a session creation.
pub(crate) fn guest() -> Value {
    json!({
        "channelConfigurationId": CHANNEL,
        "guestAttributes": { "region": "EU", "source": "web" },
        "consent": { "marketing": true, "personalization": true, "analytics": true },
    })
}

/// One API client of a gateway.
pub(crate) struct Api {
    http: Client,
    base: String,
    pub(crate) token: String,
}

impl Api {
    /// Fetches a token for all that `client` may do.
    pub(crate) async fn of(world: &World, client: (&str, &str)) -> Self {
        Self::at(world.http(), world.url(""), client).await
    }

    /// The same at a gateway outside of a [`World`].
    pub(crate) async fn at(http: Client, base: String, (id, secret): (&str, &str)) -> Self {
        let mut api = Self::without_token(http, base);
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let answer = api.send(Call::post("/oauth/token").form(&form)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        api.token = answer.json()["access_token"].as_str().unwrap().to_owned();
        api
    }

    /// An API client without a token, for requests with their own credentials.
    pub(crate) fn without_token(http: Client, base: String) -> Self {
        Self {
            http,
            base,
            token: String::new(),
        }
    }

    /// Sends a call as it is. The answer must be one that the contract has for it.
    pub(crate) async fn send(&self, call: Call) -> Answer {
        self.try_send(call).await.unwrap()
    }

    /// As [`Self::send`], also where no answer arrives.
    pub(crate) async fn try_send(&self, call: Call) -> Result<Answer, genesys_http::Error> {
        let request = call.request();
        let mut parts = Request::builder()
            .method(request.method())
            .uri(format!("{}{}", self.base, request.uri()))
            .body(request.body().clone())
            .unwrap();
        *parts.headers_mut() = request.headers().clone();
        let response = self.http.send(parts).await?;
        let (head, body) = response.into_parts();
        let answer = Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        };
        call.check(&answer);
        Ok(answer)
    }

    /// Sends a call with this client's token, which must succeed, and gives the answer's body.
    pub(crate) async fn ask(&self, call: Call) -> Value {
        let answer = self.send(call.bearer(&self.token)).await;
        assert!(answer.status.is_success(), "{} {}", answer.status, answer.text);
        serde_json::from_str(&answer.text).unwrap_or(Value::Null)
    }

    /// Creates a session.
    pub(crate) async fn create(&self, body: &Value) -> Value {
        self.ask(Call::post(SESSIONS).json(body)).await
    }
}

/// A request, built step by step, for any gateway.
#[derive(Clone, Debug)]
pub(crate) struct Call(Request<Bytes>);

impl Call {
    pub(crate) fn new(method: Method, path: &str) -> Self {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        Self(request)
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn request(&self) -> &Request<Bytes> {
        &self.0
    }

    pub(crate) fn path(&self) -> &str {
        self.0.uri().path()
    }

    /// The answer must be one that the contract's document has for this.
    pub(crate) fn check(&self, answer: &Answer) {
        let media = self.0.headers().get(CONTENT_TYPE);
        let asked = Asked {
            method: self.0.method(),
            path: self.path(),
            media: media.and_then(|media| media.to_str().ok()),
            body: self.0.body(),
        };
        DOCUMENT.check_answer(&asked, answer);
    }

    /// The same at another path.
    pub(crate) fn with_path(mut self, path: &str) -> Self {
        *self.0.uri_mut() = path.parse().unwrap();
        self
    }

    /// The same with another body.
    pub(crate) fn with_body(mut self, media: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.headers_mut().remove(CONTENT_TYPE);
        self.body(media, bytes)
    }

    /// Adds a header; one of this name that is there already stays.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        let value = HeaderValue::from_str(value).unwrap();
        self.0.headers_mut().append(name, value);
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    /// Sets a body and its media type.
    pub(crate) fn body(mut self, media: &str, bytes: impl Into<Vec<u8>>) -> Self {
        *self.0.body_mut() = Bytes::from(bytes.into());
        self.header(CONTENT_TYPE.as_str(), media)
    }

    /// Sets a body of the media type that is set already.
    pub(crate) fn bytes(mut self, bytes: Bytes) -> Self {
        *self.0.body_mut() = bytes;
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn form(self, body: &str) -> Self {
        self.body("application/x-www-form-urlencoded", body)
    }
}

/// An answer, its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    /// The value of a header, which must be there once.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            panic!("the header {name} is not there once: {self:?}");
        };
        value.to_str().unwrap()
    }
}
