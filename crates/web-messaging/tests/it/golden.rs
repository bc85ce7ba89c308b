//! The golden frames of `spec/web-messaging/golden`. Each is parsed or serialized here.

mod client;
mod rest;
mod server;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// The files of one folder, as the index lists them.
fn folder(name: &str) -> Vec<Golden> {
    let index = std::fs::read_to_string(root().join("golden.toml")).unwrap();
    let index: Index = toml::from_str(&index).unwrap();
    let golden: Vec<_> = index
        .golden
        .into_iter()
        .filter(|golden| golden.file.starts_with(&format!("{name}/")))
        .collect();
    assert!(!golden.is_empty());
    golden
}

#[derive(Deserialize)]
struct Index {
    golden: Vec<Golden>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    file: String,
    what: String,
    #[expect(dead_code, reason = "parsing checks that it is one of the four")]
    provenance: Provenance,
    source: String,
    #[serde(default)]
    foreign: bool,
    #[serde(default)]
    unknown: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Provenance {
    Capture,
    Documentation,
    Inference,
    Official,
}

impl Golden {
    /// Without folder and ending.
    fn name(&self) -> &str {
        Path::new(&self.file).file_stem().unwrap().to_str().unwrap()
    }

    fn text(&self) -> String {
        text(&self.file)
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/web-messaging/golden")
}

#[test]
fn index_names_each_file_once_with_its_source() {
    let mut indexed = Vec::new();
    let mut found = BTreeSet::new();
    for name in ["client", "rest", "server"] {
        for golden in folder(name) {
            assert!(
                !golden.what.is_empty() && !golden.source.is_empty(),
                "{}",
                golden.file
            );
            indexed.push(golden.file);
        }
        for file in std::fs::read_dir(root().join(name)).unwrap() {
            let file = file.unwrap().file_name();
            found.insert(format!("{name}/{}", file.to_str().unwrap()));
        }
    }
    let unique: BTreeSet<_> = indexed.iter().cloned().collect();
    assert_eq!(unique.len(), indexed.len());
    assert_eq!(unique, found);
}
