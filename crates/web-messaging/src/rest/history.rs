//! `GET /api/v2/webmessaging/messages`: messages of the session, newest first.

use bytes::Bytes;
use genesys_api::wire::RawJson;
use genesys_api::{Call, Host, Origin, ReplyError, json};
use http::header::ORIGIN;
use http::{HeaderValue, Request, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::StructuredMessage;
use crate::message::Message;

/// Reads one page of the history, newest first, with [`History::jwt`] as the bearer token, from [`History::host`].
///
/// At most 10 a minute for a session (Genesys). Genesys' own client relies on the order of pages; it is not documented.
#[derive(Clone, Debug)]
pub struct History {
    /// Host of the call.
    pub host: Host,
    /// Response to `getJwt`; it is valid for one minute.
    pub jwt: SecretString,
    /// Number of the page, from 1.
    pub page: u32,
    /// Entries of a page; Genesys' Java SDK uses 100.
    pub page_size: u32,
    /// Origin of the guest's page. The deployment must allow it.
    pub origin: Option<Origin>,
}

impl PartialEq for History {
    fn eq(&self, other: &Self) -> bool {
        (&self.host, self.page, self.page_size, &self.origin)
            == (&other.host, other.page, other.page_size, &other.origin)
            && self.jwt.expose_secret() == other.jwt.expose_secret()
    }
}

impl Eq for History {}

impl Call for History {
    type Reply = HistoryPage;

    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let (size, page) = (self.page_size, self.page);
        let path = format!("/api/v2/webmessaging/messages?pageSize={size}&pageNumber={page}");
        let mut request = json::get(host, &path);
        let origin = self.origin.as_ref().map(ToString::to_string);
        if let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(&origin).ok()) {
            request.headers_mut().insert(ORIGIN, origin);
        }
        request
    }

    fn reply(&self, response: Response<Bytes>) -> Result<HistoryPage, ReplyError> {
        let response = json::accepted(response)?;
        let malformed = |_| ReplyError::Malformed {
            status: response.status().as_u16(),
            expected: "a page of the history",
        };
        let page: Page<'_> = serde_json::from_slice(response.body()).map_err(malformed)?;
        let entries = page.entities.len();
        let mut messages: Vec<Message> = Vec::new();
        for entity in &page.entities {
            let entity = serde_json::from_str::<StructuredMessage<'_>>(entity.as_str()).ok();
            let newer = messages.last().map_or(UNDATED, |newer| newer.at);
            messages.extend(entity.and_then(|entity| entity.to_message(newer)));
        }
        // nothing newer has a time
        let first = messages
            .iter()
            .map(|message| message.at)
            .find(|at| *at != UNDATED);
        date(&mut messages, first.unwrap_or(UNDATED));
        Ok(HistoryPage {
            messages,
            entries,
            page: page.page_number.unwrap_or(self.page),
            page_count: page.page_count.unwrap_or(0),
        })
    }
}

/// One page of the history.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// Messages, newest first, parsed like live ones. Past events, such as an agent who left, and unreadable entries are
    /// left out. A message without a time has the time of the next newer one, else of the next older one; if no message
    /// of the page has a time, it is 1970.
    pub messages: Vec<Message>,
    /// Number of entries of the page, including those that are not messages.
    pub entries: usize,
    /// Its number, from 1.
    pub page: u32,
    /// Number of pages.
    pub page_count: u32,
}

/// Marks a message without a time.
const UNDATED: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// Sets the time of messages without one.
pub fn date(messages: &mut [Message], at: OffsetDateTime) {
    for message in messages.iter_mut().filter(|message| message.at == UNDATED) {
        message.at = at;
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Page<'a> {
    entities: Vec<RawJson<'a>>,
    page_number: Option<u32>,
    page_count: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Direction;

    fn history() -> History {
        History {
            host: "https://api.mypurecloud.ie".parse().unwrap(),
            jwt: "canary".into(),
            page: 2,
            page_size: 50,
            origin: "https://shop.example".parse().ok(),
        }
    }

    #[test]
    fn history_request_has_page_and_origin_and_no_secret() {
        let history = history();
        let request = history.request(&history.host);
        assert_eq!(
            request.uri(),
            "https://api.mypurecloud.ie/api/v2/webmessaging/messages?pageSize=50&pageNumber=2"
        );
        assert_eq!(request.headers()["origin"], "https://shop.example");
        assert!(!format!("{history:?} {request:?}").contains("canary"));
    }

    #[test]
    fn history_parses_messages_and_leaves_out_events() {
        let body = r#"{"entities":[
            {"id":"d","type":"Event","direction":"Outbound","channel":{"time":"2014-04-30T21:09:53.000Z"},
             "events":[{"eventType":"Presence","presence":{"type":"Disconnect"}}]},
            {"id":"b","channel":{"time":"2014-04-30T21:09:52.000Z"},"type":"Text","text":"hi","content":[],
             "direction":"Outbound","originatingEntity":"Bot","metadata":{}},
            {"id":"a","channel":{"time":null,"messageId":"m1"},"type":"Text","text":"hello","direction":"Inbound"},
            "nonsense"],"pageSize":25,"pageNumber":1,"total":4,"pageCount":1}"#;
        let page = history()
            .reply(Response::new(Bytes::from_static(body.as_bytes())))
            .unwrap();
        assert_eq!((page.entries, page.page, page.page_count), (4, 1, 1));
        let read: Vec<_> = page
            .messages
            .iter()
            .map(|message| (&*message.id, message.direction, message.at.unix_timestamp()))
            .collect();
        let second = 1_398_892_192;
        assert_eq!(
            read,
            [
                ("b", Direction::Outbound, second),
                ("m1", Direction::Inbound, second)
            ]
        );
    }

    #[test]
    fn message_without_time_takes_that_of_its_neighbor() {
        let at = |text: &str| genesys_api::parse_rfc3339(text).unwrap();
        let read = |times: &[Option<&str>]| {
            let entities: Vec<_> = times
                .iter()
                .map(|time| {
                    serde_json::json!({"id": "a", "type": "Text", "direction": "Outbound", "channel": {"time": time}})
                })
                .collect();
            let body = serde_json::json!({ "entities": entities }).to_string();
            let page = history().reply(Response::new(Bytes::from(body))).unwrap();
            page.messages.iter().map(|message| message.at).collect::<Vec<_>>()
        };
        let (late, early) = ("2014-04-30T21:09:53Z", "2014-04-30T21:09:52Z");
        assert_eq!(
            read(&[None, Some(late), None, Some(early)]),
            [at(late), at(late), at(late), at(early)]
        );
        assert_eq!(read(&[None, None]), [UNDATED; 2]);
    }

    #[test]
    fn history_refusal_and_html_are_errors() {
        let refused = Response::builder()
            .status(401)
            .body(Bytes::from_static(b"{}"))
            .unwrap();
        assert!(history().reply(refused).unwrap_err().problem().is_some());
        let html = Response::new(Bytes::from_static(b"<html>"));
        assert!(matches!(history().reply(html), Err(ReplyError::Malformed { .. })));
    }
}
