//! Pages of the audit entries of one subject.

use audit::Pseudonym;
use time::OffsetDateTime;

use crate::store::PAGE;
use crate::{EntryQuery, Store, StoreError, StoredEntry};

/// A query of the entries of a subject.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the caller")]
pub struct Trail {
    /// The subject.
    pub subject: Pseudonym,
    /// The sequence number of the entry before which the page begins.
    pub before: Option<u64>,
    /// The time of the oldest entries.
    pub since: Option<OffsetDateTime>,
    /// Largest number of entries.
    pub limit: usize,
}

/// Returns a page of entries, newest first, and the sequence number before which the next page begins. The last page has
/// none.
///
/// # Errors
/// The store's, and [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt) for an entry that cannot be parsed.
pub async fn trail(store: &dyn Store, query: Trail) -> Result<(Vec<StoredEntry>, Option<u64>), StoreError> {
    let Trail {
        subject,
        mut before,
        since,
        limit,
    } = query;
    // one more than wanted shows whether there is a next page; a query by time may have to skip many entries
    let wanted = since.map_or(limit.saturating_add(1).min(PAGE), |_| PAGE);
    let mut entries = Vec::new();
    while entries.len() <= limit {
        let page = EntryQuery::OfSubject { subject, before };
        let page = store.entries(page, wanted).await?;
        let Some(last) = page.last() else { break };
        before = Some(last.seq);
        for entry in page {
            if is_since(&entry, since)? {
                entries.push(entry);
            }
        }
    }
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| has_more).map(|last| last.seq);
    Ok((entries, next))
}

/// Whether an entry is not older than `since`. A clock that was set back makes a later entry older.
pub(crate) fn is_since(entry: &StoredEntry, since: Option<OffsetDateTime>) -> Result<bool, StoreError> {
    let Some(since) = since else { return Ok(true) };
    Ok(entry.parse()?.draft.at >= since)
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    //! Pages, their ends, and times.

    use audit::{Actor, Draft};

    use super::*;
    use crate::{Keys, Limits, SqliteStore, Unit};

    #[tokio::test]
    async fn trail_is_read_page_by_page_newest_first() {
        let store = SqliteStore::open(":memory:", Keys::ephemeral(), Limits::default()).unwrap();
        let [subject, other] = ["s-1", "s-2"].map(|id| Pseudonym::of(&[0; 32], id));
        let at = |second| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second);
        for (second, subject) in [(1, subject), (2, other), (3, subject), (2, subject), (5, subject)] {
            let entry = Draft::new(at(second), Actor::client("spa"), "test.entry").subject(subject);
            let unit = Unit {
                entries: vec![entry],
                ..Unit::default()
            };
            store.commit(unit).await.unwrap();
        }
        let query = Trail {
            subject,
            before: None,
            since: None,
            limit: 2,
        };
        let page = async |query| {
            let (entries, next) = trail(&store, query).await.unwrap();
            (entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), next)
        };
        assert_eq!(page(query).await, (vec![4, 3], Some(3)));
        let before = Some(3);
        assert_eq!(page(Trail { before, ..query }).await, (vec![2, 0], None));
        // the clock was set back before entry 3
        let since = Some(at(3));
        assert_eq!(page(Trail { since, ..query }).await, (vec![4, 2], None));
        let limit = 1;
        assert_eq!(
            page(Trail {
                since,
                limit,
                ..query
            })
            .await,
            (vec![4], Some(4))
        );
        let before = Some(0);
        assert_eq!(page(Trail { before, ..query }).await, (vec![], None));
    }
}
