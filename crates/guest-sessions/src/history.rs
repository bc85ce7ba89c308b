//! The history of a conversation: its query and its reply.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::MessageBody;

/// The part of a conversation to read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the parameters of the contract")]
pub enum HistoryQuery {
    /// The messages from the one with this id on, oldest first, at most the newest 200.
    From(String),
    /// A page of at most 50 messages, newest first, by its number from 1.
    Page(u32),
}

impl HistoryQuery {
    /// Largest number of a page. Our choice.
    pub const MAX_PAGE: u32 = 10_000;
    /// Longest id, in bytes. Our choice.
    pub const MAX_ID: usize = 256;

    /// Parses the query of a URL.
    ///
    /// Only the values are checked. [`Operation::query`](crate::Operation::query) lists the allowed names.
    ///
    /// # Errors
    /// If a value is not allowed.
    pub fn parse(query: &str) -> Result<Self, HistoryQueryError> {
        let (mut page, mut from) = (None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "page" => {
                    let number = value
                        .parse()
                        .ok()
                        .filter(|number| (1..=Self::MAX_PAGE).contains(number));
                    page = Some(number.ok_or(HistoryQueryError::Page)?);
                }
                "from" => {
                    let allowed = (1..=Self::MAX_ID).contains(&value.len());
                    from = Some(
                        allowed
                            .then(|| value.into_owned())
                            .ok_or(HistoryQueryError::From)?,
                    );
                }
                _ => {}
            }
        }
        match (page, from) {
            (Some(_), Some(_)) => Err(HistoryQueryError::Both),
            (_, Some(from)) => Ok(Self::From(from)),
            (page, None) => Ok(Self::Page(page.unwrap_or(1))),
        }
    }
}

/// The query of a URL, without `?`.
impl fmt::Display for HistoryQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = form_urlencoded::Serializer::new(String::new());
        match self {
            Self::From(id) => query.append_pair("from", id),
            Self::Page(page) => query.append_pair("page", &page.to_string()),
        };
        f.write_str(&query.finish())
    }
}

/// An invalid query of the history.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryQueryError {
    /// Both parameters.
    #[error("invalid query: page and from exclude each other, send one")]
    Both,
    /// No id.
    #[error("invalid from: not the id of a message, which has 1 to 256 bytes")]
    From,
    /// No number of a page.
    #[error("invalid page: not a number from 1 to 10,000")]
    Page,
}

impl HistoryQueryError {
    /// The parameter.
    #[must_use]
    pub fn parameter(&self) -> &'static str {
        match self {
            Self::Both | Self::From => "from",
            Self::Page => "page",
        }
    }
}

/// Messages of a conversation.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the fields of the contract")]
pub struct MessagePage<'a> {
    /// The messages, in the order of the query.
    #[serde(borrow)]
    pub messages: Vec<MessageBody<'a>>,
    /// Number of the next older page, if there is one, and older messages belong to the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_round_trips_and_an_invalid_one_names_its_parameter() {
        for query in [HistoryQuery::Page(3), HistoryQuery::From("a&b=c".to_owned())] {
            assert_eq!(HistoryQuery::parse(&query.to_string()), Ok(query));
        }
        assert_eq!(HistoryQuery::parse(""), Ok(HistoryQuery::Page(1)));
        let long = format!("from={}", "x".repeat(257));
        for (query, error) in [
            ("page=0", HistoryQueryError::Page),
            ("page=10001", HistoryQueryError::Page),
            ("page=x", HistoryQueryError::Page),
            ("from=", HistoryQueryError::From),
            (&long, HistoryQueryError::From),
            ("page=1&from=x", HistoryQueryError::Both),
        ] {
            assert_eq!(HistoryQuery::parse(query), Err(error), "{query}");
            assert!(error.to_string().contains(error.parameter()));
        }
    }
}
