//! Queries of sessions, page by page.

use crate::store::PAGE;
use crate::{Session, SessionQuery, Store, StoreError};

/// The pages of a query of sessions, each of at most 1,000.
///
/// [`SessionQuery::EndedBefore`] returns the same sessions again until those are removed.
#[derive(Clone, Debug)]
pub struct SessionPages {
    /// `None` after the last page.
    query: Option<SessionQuery>,
}

impl SessionPages {
    /// The pages of a query, from the first one.
    #[must_use]
    pub const fn of(query: SessionQuery) -> Self {
        Self { query: Some(query) }
    }

    /// Reads the next page. `None` after the last page: the first one that is not full, which can be empty.
    ///
    /// # Errors
    /// The store's. The page can be read again.
    pub async fn next(&mut self, store: &dyn Store) -> Result<Option<Vec<Session>>, StoreError> {
        let Some(query) = &mut self.query else {
            return Ok(None);
        };
        let page = store.sessions(query.clone(), PAGE).await?;
        match page.get(PAGE - 1) {
            Some(last) => query.continue_after(last),
            None => self.query = None,
        }
        Ok(Some(page))
    }
}

impl SessionQuery {
    fn continue_after(&mut self, last: &Session) {
        match self {
            Self::All(after) | Self::Live(after) | Self::OfGuest { after, .. } => {
                *after = Some(last.id.clone())
            }
            Self::EndedBefore(_) | Self::Id(_) => {}
        }
    }
}
