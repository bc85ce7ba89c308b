//! `audit` as the log of another application, the admin console of a shop. One altered byte is found.
#![expect(clippy::disallowed_methods, reason = "a program reads the clock")]
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::fs;

use audit::{Actor, Draft, Log, Signer, files};
use time::OffsetDateTime;

/// An action of a clerk.
fn act(action: &'static str, key: &str, value: &str) -> Draft {
    Draft::new(OffsetDateTime::now_utc(), Actor::operator("clerk-7"), action).detail(key, value)
}

fn main() -> Result<(), Box<dyn Error>> {
    // in production: 32 secret random bytes
    let mut log = Log::new(Signer::from_seed("shop.example/admin", &[7; 32])?);
    let lines = [
        log.append(&act("price.changed", "apple", "1.20"))?,
        log.append(&act("page.opened", "path", "/refunds"))?,
        log.checkpoint(),
    ];
    let path = std::env::temp_dir().join(format!("shop-admin-{}.log", std::process::id()));
    fs::write(&path, lines.concat())?;
    let report = files::verify_file(&path, log.verifier_key(), None)?;
    println!("{} entries verified", report.entries);

    fs::write(&path, fs::read_to_string(&path)?.replace("1.20", "1.90"))?;
    let error = files::verify_file(&path, log.verifier_key(), None).expect_err("a changed price");
    println!("{error}");
    fs::remove_file(path)?;
    Ok(())
}
