//! The audit log.

use audit::{Entry, Pseudonym, files, leaf_hash};

use super::Make;
use super::samples::{draft, stored};
use crate::{CheckpointQuery, EntryQuery, Limits, Unit, export, verify};

fn entries(subjects: impl Iterator<Item = String>) -> Unit {
    Unit {
        entries: subjects.map(|subject| draft(&subject)).collect(),
        ..Unit::default()
    }
}

/// Entries are read by page and by subject, and are what was logged.
pub(crate) async fn entries_page_by_subject(make: Make) {
    let store = make(Limits::default());
    stored(
        &*store,
        entries((0..25).map(|number| format!("g-{}", number % 3))),
    )
    .await;
    let all = store.entries(EntryQuery::From(0), 1_000).await.expect("readable");
    assert_eq!(all.len(), 25);
    for (number, line) in all.iter().enumerate() {
        let entry = Entry::parse(&line.bytes).expect("canonical");
        assert_eq!((line.seq, entry.seq), (number as u64, number as u64));
        assert_eq!(line.leaf, leaf_hash(&line.bytes));
        assert_eq!(entry.log, store.verifier_key().name());
        assert_eq!(entry.draft, draft(&format!("g-{}", number % 3)));
    }
    let subject = Pseudonym::of(&[5; 32], "g-1");
    let seqs = async |query, limit| {
        let found = store.entries(query, limit).await.expect("readable");
        found.iter().map(|line| line.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(EntryQuery::From(23), 10).await, [23, 24]);
    assert_eq!(seqs(EntryQuery::From(5), 2).await, [5, 6]);
    assert_eq!(seqs(EntryQuery::From(25), 10).await, [0; 0]);
    assert_eq!(seqs(EntryQuery::From(u64::MAX), 10).await, [0; 0]);
    let of = |subject, before| EntryQuery::OfSubject { subject, before };
    assert_eq!(seqs(of(subject, None), 3).await, [22, 19, 16]);
    assert_eq!(seqs(of(subject, Some(16)), 4).await, [13, 10, 7, 4]);
    assert_eq!(seqs(of(subject, Some(4)), 4).await, [1]);
    assert_eq!(seqs(of(subject, Some(1)), 4).await, [0; 0]);
    let other = Pseudonym::of(&[6; 32], "g-1");
    assert_eq!(seqs(of(other, None), 10).await, [0; 0]);
}

/// A checkpoint follows every 256 entries, also within one unit, and each request.
pub(crate) async fn checkpoint_follows_every_256_entries(make: Make) {
    let store = make(Limits::default());
    let sizes = async |from, limit| {
        let found = store
            .checkpoints(CheckpointQuery::From(from), limit)
            .await
            .expect("readable");
        found.iter().map(|checkpoint| checkpoint.size).collect::<Vec<_>>()
    };
    let empty = store.checkpoint().await.expect("signable");
    assert_eq!(empty.size, 0);
    stored(&*store, entries((0..255).map(|number| number.to_string()))).await;
    assert_eq!(sizes(0, 10).await, [0]);
    stored(&*store, entries((0..300).map(|number| number.to_string()))).await;
    assert_eq!(sizes(0, 10).await, [0, 256, 512]);
    let last = store.checkpoint().await.expect("signable");
    assert_eq!(last.size, 555);
    assert_eq!(
        store.checkpoint().await.expect("signable"),
        last,
        "nothing was logged since"
    );
    assert_eq!(sizes(0, 10).await, [0, 256, 512, 555]);
    assert_eq!(sizes(1, 2).await, [256, 512]);
    assert_eq!(sizes(556, 10).await, [0; 0]);
    let opened = store.verifier_key().open(&last.note).expect("signed");
    assert_eq!(
        (opened.size, opened.root),
        (555, verify(&*store, |_| ()).await.expect("it verifies").root)
    );
}

/// An exported log verifies without the store.
pub(crate) async fn export_verifies(make: Make) {
    let store = make(Limits::default());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    let empty = export(&*store, &path).await.expect("exported");
    let key = store.verifier_key();
    assert_eq!(
        files::verify_file(&path, key, None).expect("it verifies").entries,
        0
    );
    assert_eq!(empty.size, 0);

    stored(&*store, entries((0..300).map(|number| number.to_string()))).await;
    let exported = export(&*store, &path).await.expect("exported");
    let report = files::verify_file(&path, key, None).expect("it verifies");
    assert_eq!(
        (report.entries, report.covered, report.checkpoints),
        (300, 300, 3)
    );
    let kept = key.open(&exported.note).expect("signed");
    assert!(files::verify_file(&path, key, Some(kept)).is_ok());
    let again = export(&*store, &path).await.expect("exported");
    assert_eq!(again, exported, "nothing was logged since");
}
