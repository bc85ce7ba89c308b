//! The audit log.

use audit::{Entry, Line, Pseudonym, Report, Verifier, files, leaf_hash};

use super::Make;
use super::samples::{draft, stored};
use crate::{Limits, Store, Unit, export};

fn entries(subjects: impl Iterator<Item = String>) -> Unit {
    Unit {
        entries: subjects.map(|subject| draft(&subject)).collect(),
        ..Unit::default()
    }
}

/// Verifies the log as it stands, as an export would be.
pub(super) async fn verify(store: &dyn Store) -> Report {
    let last = store.checkpoint().await.expect("signable");
    let mut verifier = Verifier::new(store.verifier_key().clone(), None);
    let mut next = 0;
    for checkpoint in store.checkpoints(0, 1_000).await.expect("readable") {
        while next < checkpoint.size {
            let page = store.audit_lines(next, 100, None).await.expect("readable");
            let page: Vec<_> = page
                .into_iter()
                .filter(|entry| entry.seq < checkpoint.size)
                .collect();
            next += page.len() as u64;
            for entry in page {
                let line = Line::Entry {
                    leaf: entry.leaf,
                    bytes: &entry.bytes,
                };
                verifier.verify_line(&line.to_bytes());
            }
        }
        verifier.verify_line(&Line::Checkpoint(&checkpoint.note).to_bytes());
    }
    let report = verifier.finish().expect("the log verifies");
    assert_eq!((report.entries, report.covered), (last.size, last.size));
    report
}

/// Entries are read by page and by subject, and are what was logged.
pub(crate) async fn audit_lines_page_by_subject(make: Make) {
    let store = make(Limits::default());
    stored(
        &*store,
        entries((0..25).map(|number| format!("g-{}", number % 3))),
    )
    .await;
    let all = store.audit_lines(0, 1_000, None).await.expect("readable");
    assert_eq!(all.len(), 25);
    for (number, line) in all.iter().enumerate() {
        let entry = Entry::parse(&line.bytes).expect("canonical");
        assert_eq!((line.seq, entry.seq), (number as u64, number as u64));
        assert_eq!(line.leaf, leaf_hash(&line.bytes));
        assert_eq!(entry.log, store.verifier_key().name());
        assert_eq!(entry.draft, draft(&format!("g-{}", number % 3)));
    }
    let subject = Pseudonym::of(&[5; 32], "g-1");
    let seqs = async |from, limit, subject| {
        let found = store.audit_lines(from, limit, subject).await.expect("readable");
        found.iter().map(|line| line.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(23, 10, None).await, [23, 24]);
    assert_eq!(seqs(5, 2, None).await, [5, 6]);
    assert_eq!(seqs(25, 10, None).await, [0; 0]);
    assert_eq!(seqs(u64::MAX, 10, None).await, [0; 0]);
    assert_eq!(seqs(2, 3, Some(&subject)).await, [4, 7, 10]);
    let other = Pseudonym::of(&[6; 32], "g-1");
    assert_eq!(seqs(0, 10, Some(&other)).await, [0; 0]);
}

/// A checkpoint follows every 256 entries, also within one unit, and each request.
pub(crate) async fn checkpoint_follows_every_256_entries(make: Make) {
    let store = make(Limits::default());
    let sizes = async |from, limit| {
        let found = store.checkpoints(from, limit).await.expect("readable");
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
    assert_eq!((opened.size, opened.root), (555, verify(&*store).await.root));
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
