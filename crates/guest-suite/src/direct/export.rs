//! Reading of stored sessions without a [`Direct`](super::Direct), for exports.

use genesys_api::SessionId;
use guest_store::{SessionQuery, Store};

use super::DirectError;
use super::session_row::SessionRow;
use crate::SessionInfo;

/// Sessions of a page.
const PAGE: usize = 1_000;

/// Returns a page of at most 1,000 sessions after this id, in the order of their ids, with the ended ones that are not
/// erased. An empty page is the end.
///
/// # Errors
/// If the store cannot be read, or holds a session that this version does not understand.
pub async fn stored_sessions(
    store: &dyn Store,
    after: Option<SessionId>,
) -> Result<Vec<SessionInfo>, DirectError> {
    let query = SessionQuery::All { after, limit: PAGE };
    let sessions = store.sessions(query).await?.into_iter();
    sessions.map(|row| Ok(SessionRow::load(row)?.info())).collect()
}
