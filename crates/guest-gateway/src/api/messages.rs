//! `GET …/{id}/messages`: the conversation of a session, for its guest.

use std::time::Duration;

use axum::response::Response;
use guest_sessions::{ErrorCode, HistoryQuery, MessagePage};
use http::StatusCode;

use super::page::{self, Guest};
use super::request::Call;
use super::{Refusal, json_answer};
use crate::relay::HistoryAnswer;

/// Longest time for the history to be read. Our choice: a page takes two round trips to Genesys.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn fetch(call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let query = HistoryQuery::parse(call.request.uri().query().unwrap_or_default());
    let guest = page::admit(&call);
    drop(call);
    let Guest { id, admitted, origin } = guest.await?;
    let query = query?;
    let answer = tokio::select! {
        answer = app.hub.history(admitted, &id, origin, query) => answer,
        () = app.clock.sleep(TIMEOUT) => None,
    };
    match answer {
        Some(HistoryAnswer::Messages(messages, next_page)) => {
            let messages = messages.iter().map(Into::into).collect();
            Ok(json_answer(StatusCode::OK, &MessagePage { messages, next_page }))
        }
        Some(HistoryAnswer::NotFound) => {
            let message =
                "invalid from: the history does not have this message, read from the newest backwards";
            Err(Refusal::new(ErrorCode::NotFound, message))
        }
        Some(HistoryAnswer::Limited(wait)) => Err(Refusal::too_many_pages(wait)),
        Some(HistoryAnswer::Unavailable(reason)) => {
            app.hub.log_unread(&id, &reason);
            let message = format!("cannot read the history from Genesys: {reason}, try again later");
            Err(Refusal::unavailable(message))
        }
        None => Err(Refusal::unavailable(
            "cannot read the history from Genesys: no answer in time, try again later",
        )),
    }
}
