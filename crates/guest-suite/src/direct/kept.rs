//! What a store keeps, read without running it: for exports.

use genesys_api::SessionId;
use guest_store::{SessionQuery, Store};

use super::DirectError;
use super::record::Record;
use crate::SessionInfo;

/// Sessions that are read together.
const PAGE: usize = 1_000;

/// Sessions of a store in the order of their ids, ended ones too until they are erased: those after this id, at most
/// 1,000. None are left when the answer is empty.
///
/// # Errors
/// If the store cannot be read, or holds a session that this version does not understand.
pub async fn kept(store: &dyn Store, after: Option<SessionId>) -> Result<Vec<SessionInfo>, DirectError> {
    let query = SessionQuery::All { after, limit: PAGE };
    let sessions = store.sessions(query).await?.into_iter();
    sessions.map(|row| Ok(Record::load(row)?.info())).collect()
}
