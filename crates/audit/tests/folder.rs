//! A log in a folder, and its entries as written.

use std::path::Path;

use audit::files::FileLogOptions;
use audit::{Actor, Draft, Entry, FileLog, Signer, Value};

/// Short segments, so that a child starts several.
const OPTIONS: FileLogOptions = FileLogOptions {
    checkpoint_every: 50,
    segment_bytes: 32 * 1024,
};

pub(crate) fn signer() -> Signer {
    Signer::from_seed("example.com/log", &[7; 32]).unwrap()
}

pub(crate) fn open(folder: &Path) -> FileLog {
    FileLog::open_with(folder, signer(), OPTIONS).unwrap()
}

pub(crate) fn draft(writer: &str, number: u64) -> Draft {
    let at = std::time::SystemTime::UNIX_EPOCH.into();
    Draft::new(at, Actor::system(writer), "thing.done").detail("number", number)
}

/// The text of all segments, without the zeroes at the end.
pub(crate) fn text(folder: &Path) -> String {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let segments = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|it| it == "jsonl"));
    let texts = segments.map(|path| std::fs::read_to_string(path).unwrap());
    texts.map(|text| text.trim_end_matches('\0').to_owned()).collect()
}

/// The writer and the number of each entry, in order.
pub(crate) fn entries(folder: &Path) -> Vec<(String, i64)> {
    let text = text(folder);
    let sealed = text.lines().filter_map(|line| line.strip_prefix(r#"{"leaf":""#));
    let parsed = sealed.map(|line| {
        let entry = line.split_once(r#"","entry":"#).unwrap().1;
        Entry::parse(&entry.as_bytes()[..entry.len() - 1]).unwrap()
    });
    let number = |entry: &Entry| match entry.draft.detail["number"] {
        Value::Integer(number) => number,
        _ => panic!("not a number"),
    };
    parsed
        .map(|entry| (entry.draft.actor.id.clone(), number(&entry)))
        .collect()
}
