//! `audit` as the log of another application, the admin console of a shop. One altered byte is found.
#![expect(clippy::disallowed_methods, reason = "a program reads the clock")]
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::fs;

use audit::{Action, Actor, Draft, Line, Signer, Tree, files, leaf_hash};
use time::OffsetDateTime;

/// The log: sealed entries, and the tree over them.
struct Log {
    signer: Signer,
    tree: Tree,
    entries: Vec<Vec<u8>>,
}

impl Log {
    fn append(&mut self, action: Action, key: &str, value: &str) -> Result<(), Box<dyn Error>> {
        let draft = Draft::new(OffsetDateTime::now_utc(), Actor::operator("clerk-7"), action);
        let entry = draft
            .detail(key, value)
            .seal(self.tree.size(), self.signer.name())?;
        self.tree.append(leaf_hash(&entry));
        self.entries.push(entry);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut log = Log {
        signer: Signer::from_seed("shop.example/admin", &[7; 32])?, // in production: 32 secret random bytes
        tree: Tree::new(),
        entries: Vec::new(),
    };
    log.append(Action::ConfigChanged, "price.apple", "1.20")?;
    log.append(Action::AccessDenied, "page", "/refunds")?;

    let path = std::env::temp_dir().join(format!("shop-admin-{}.log", std::process::id()));
    let checkpoint = log.signer.checkpoint(log.tree.size(), log.tree.root());
    let entries = log.entries.iter().map(|bytes| Line::Entry {
        leaf: leaf_hash(bytes),
        bytes,
    });
    files::write_export(&path, entries.chain([Line::Checkpoint(&checkpoint)]))?;
    let key = log.signer.verifier_key();
    println!(
        "{} entries verified",
        files::verify_file(&path, key, None)?.entries
    );

    fs::write(&path, fs::read_to_string(&path)?.replace("1.20", "1.90"))?;
    let error = files::verify_file(&path, key, None).expect_err("a changed price");
    println!("{error}");
    fs::remove_file(path)?;
    Ok(())
}
