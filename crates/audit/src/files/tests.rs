//! Tests of exports and of their verification.

use super::*;
use crate::{Hash, Line, Signer, Tree, leaf_hash};

fn signer() -> Signer {
    Signer::from_seed("log", &[1; 32]).unwrap()
}

fn entry(seq: u64) -> (Hash, Vec<u8>) {
    let bytes = format!("{{\"log\":\"log\",\"seq\":{seq}}}").into_bytes();
    (leaf_hash(&bytes), bytes)
}

fn lines<'a>(entries: &'a [(Hash, Vec<u8>)], note: &'a str) -> impl Iterator<Item = Line<'a>> {
    let entries = entries
        .iter()
        .map(|(leaf, bytes)| Line::Entry { leaf: *leaf, bytes });
    entries.chain([Line::Checkpoint(note)])
}

fn write_export<'a>(path: &Path, lines: impl IntoIterator<Item = Line<'a>>) {
    let mut export = Export::create(path).unwrap();
    for line in lines {
        export.write(&line.to_bytes()).unwrap();
    }
    export.finish().unwrap();
}

#[test]
fn log_file_verifies_until_altered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let signer = signer();
    let entries: Vec<_> = (0..300).map(entry).collect();
    let root = entries.iter().map(|(leaf, _)| *leaf).collect::<Tree>().root();
    let note = signer.checkpoint(300, root);
    write_export(&path, lines(&entries, &note));
    let report = verify_file(&path, signer.verifier_key(), None).unwrap();
    assert_eq!((report.entries, report.covered), (300, 300));

    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes
        .windows(9)
        .position(|window| window == b"\"seq\":17}")
        .unwrap();
    bytes[at + 6] = b'7';
    std::fs::write(&path, &bytes).unwrap();
    let error = verify_file(&path, signer.verifier_key(), None).unwrap_err();
    assert_eq!(error.kind(), FileErrorKind::Altered);
    assert_eq!(
        *error.failure().unwrap().first(),
        Fault::EntryAltered { seq: 17, line: 18 }
    );
    assert!(error.source().unwrap().to_string().contains("entry 17"));

    write_export(&path, lines(&entries, &note));
    assert!(
        verify_file(&path, signer.verifier_key(), None).is_ok(),
        "it was replaced"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing is left over"
    );
}

#[test]
fn overlong_line_is_one_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (leaf, bytes) = entry(0);
    let mut text = Line::Entry { leaf, bytes: &bytes }.to_bytes();
    text.extend(std::iter::repeat_n(b'x', 100_000));
    text.push(b'\n');
    std::fs::write(&path, &text).unwrap();
    let error = verify_file(&path, signer().verifier_key(), None).unwrap_err();
    assert_eq!(
        error.failure().unwrap().faults,
        [Fault::Malformed { line: 2, seq: 1 }]
    );
}

#[test]
fn threads_find_what_one_line_after_the_other_finds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut log = crate::Log::new(signer());
    let at = genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
    let mut text = Vec::new();
    for number in 0..4000_u64 {
        let draft = crate::Draft::new(at, crate::Actor::client("spa"), "a")
            .detail("text", "x".repeat(number as usize % 300));
        text.extend(log.append(&draft).unwrap());
        if number % 500 == 499 {
            text.extend(log.checkpoint());
        }
    }
    assert!(text.len() > 1_000_000, "several chunks");
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend(
        String::from_utf8(text.clone())
            .unwrap()
            .replace('\n', "\r\n")
            .bytes(),
    );
    let mut altered = text.clone();
    for at in [100_000, 300_000, 500_000, 900_000] {
        altered[at] ^= 1;
    }
    let mut long_line = text.clone();
    long_line.splice(600_000..600_000, vec![b'x'; 600_000]);
    let mut cut = text.clone();
    cut.truncate(700_000);
    for (what, bytes) in [
        ("sound", text),
        ("copy", bom),
        ("altered", altered),
        ("long line", long_line),
        ("cut", cut),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let expected = crate::verify(signer().verifier_key(), &lines);
        let found = verify_file(&path, signer().verifier_key(), None);
        match (expected, found) {
            (Ok(expected), Ok(found)) => assert_eq!(found, expected, "{what}"),
            (Err(expected), Err(found)) => assert_eq!(found.failure(), Some(&expected), "{what}"),
            (expected, found) => panic!("{what}: {expected:?}, {found:?}"),
        }
    }
}

#[test]
fn other_file_or_one_without_proof_is_named_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (leaf, bytes) = entry(0);
    let unproved = Line::Entry { leaf, bytes: &bytes }.to_bytes();
    for (text, kind) in [
        (b"id;name\n1;x\n".to_vec(), FileErrorKind::NotALog),
        (vec![0xff; 300_000], FileErrorKind::NotALog),
        (unproved, FileErrorKind::Unproved),
        (Vec::new(), FileErrorKind::Unproved),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = verify_file(&path, signer().verifier_key(), None).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains("altered"), "{error}");
    }
}

#[test]
fn export_appears_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut export = Export::create(&path).unwrap();
    export.write(&Line::Checkpoint("note").to_bytes()).unwrap();
    let second = Export::create(&path).unwrap_err();
    assert_eq!(second.kind(), FileErrorKind::Busy);
    assert!(!path.exists());
    #[cfg(unix)]
    {
        let partial = folder.path().join("audit.jsonl.partial").metadata().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&partial.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    drop(export);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let missing = folder.path().join("missing/audit.jsonl");
    assert_eq!(Export::create(&missing).unwrap_err().kind(), FileErrorKind::Write);
    let error = verify_file(&missing, signer().verifier_key(), None).unwrap_err();
    assert_eq!(error.kind(), FileErrorKind::Read);
    assert!(error.source().is_some() && error.failure().is_none());
}
