//! `audit`: what an auditor needs, without a running gateway.

use std::path::{Path, PathBuf};

use audit::files::FileErrorKind;
use audit::{Action, Actor, VerifierKey};
use clap::{Args, Subcommand};
use genesys_api::{Clock, error_chain};
use guest_store::{Limits, SqliteStore};

use super::{Failure, say};
use crate::config::Config;
use crate::journal::note;
use crate::keys::Keys;

/// Export the audit log, and prove that nothing in it was altered
///
/// The log is an RFC 6962 Merkle tree with signed checkpoints. `export` writes entries, leaf hashes and checkpoints
/// to one file; `verify` reads that file and the public key, and needs neither gateway nor store. Keep a checkpoint
/// somewhere else: only a copy that the gateway's machine cannot reach shows that the log was cut or written anew.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Export(ExportOptions),
    Key(KeyOptions),
    Verify(VerifyOptions),
}

/// Write the log of a stopped gateway's store to a file
#[derive(Args, Debug)]
pub(super) struct ExportOptions {
    /// The gateway's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The file to write; it must not exist yet
    #[arg(long, value_name = "FILE", default_value = "audit.jsonl")]
    out: PathBuf,
}

/// Print the public key that verifies a gateway's checkpoints
#[derive(Args, Debug)]
pub(super) struct KeyOptions {
    /// The gateway's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Verify an exported log: every entry, the tree, and every signature
///
/// Exit code 0 if all of it is as it was written, 1 with the entries at fault if not, 2 if it cannot be read.
#[derive(Args, Debug)]
pub(super) struct VerifyOptions {
    /// The exported log
    file: PathBuf,
    /// The public key, as `audit key` prints it
    #[arg(long)]
    key: String,
    /// A file with a checkpoint that was kept elsewhere: shows if the log was cut or written anew since
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Export(options) => export(options).await,
        Command::Key(options) => key(&options),
        Command::Verify(options) => verify(&options),
    }
}

async fn export(options: ExportOptions) -> Result<(), Failure> {
    let (config, keys) = configured(&options.config)?;
    if options.out.exists() {
        let out = options.out.display();
        return Err(Failure::usage(format!(
            "{out} exists already: choose another name with --out, or remove it"
        )));
    }
    let store = opened(&config, &keys)?;
    note(
        &store,
        Actor::operator("guest-gateway audit export"),
        Action::AuditExported,
        Clock::system().now().utc,
    )
    .await
    .map_err(|error| Failure::failed(error_chain(&error)))?;
    let exported = guest_store::export(&store, &options.out)
        .await
        .map_err(|error| Failure::failed(error_chain(&error)))?;
    say(&format!(
        "{} entries are in {}.",
        exported.size,
        options.out.display()
    ));
    say(&format!(
        "Keep this checkpoint elsewhere:\n\n{}",
        exported.note.trim_end()
    ));
    Ok(())
}

fn key(options: &KeyOptions) -> Result<(), Failure> {
    let (_, keys) = configured(&options.config)?;
    say(&keys.for_store().signer.verifier_key().to_string());
    Ok(())
}

fn verify(options: &VerifyOptions) -> Result<(), Failure> {
    let key: VerifierKey = options
        .key
        .parse()
        .map_err(|error| Failure::usage(format!("--key: {}", error_chain(&error))))?;
    let against = match &options.against {
        Some(path) => {
            let note = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            Some(
                // it may have been copied by hand
                key.open(&format!("{}\n", note.trim())).map_err(|error| {
                    Failure::usage(format!("{}: {}", path.display(), error_chain(&error)))
                })?,
            )
        }
        None => None,
    };
    let report = audit::files::verify_file(&options.file, &key, against).map_err(|error| {
        let text = error_chain(&error);
        match error.kind() {
            FileErrorKind::Read => Failure::usage(text),
            _ => Failure::failed(text),
        }
    })?;
    if report.covered < report.entries {
        return Err(Failure::failed(format!(
            "{}: {} entries are proved; the {} after the last checkpoint are not: an export ends with a checkpoint, so \
             the end of this file is missing",
            options.file.display(),
            report.covered,
            report.entries - report.covered
        )));
    }
    say(&format!(
        "{} entries are as they were written, proved by {} signed checkpoints.",
        report.entries, report.checkpoints
    ));
    Ok(())
}

/// The store of a gateway that is stopped.
pub(super) fn opened(config: &Config, keys: &Keys) -> Result<SqliteStore, Failure> {
    let path = config.store.path.display();
    if !config.store.path.exists() {
        return Err(Failure::usage(format!(
            "there is no store {path}: run this where the gateway ran"
        )));
    }
    SqliteStore::open(&config.store.path, keys.for_store(), Limits::default())
        .map_err(|error| Failure::usage(format!("{path}: {}", error_chain(&error))))
}

pub(super) fn configured(path: &Path) -> Result<(Config, Keys), Failure> {
    let config = Config::read(path).map_err(Failure::usage)?;
    if !config.store.keys.exists() {
        let keys = config.store.keys.display();
        return Err(Failure::usage(format!(
            "there is no key file {keys}: run this where the gateway ran"
        )));
    }
    let keys = Keys::open(&config.store.keys)
        .map_err(|error| Failure::usage(format!("{}: {error}", config.store.keys.display())))?;
    Ok((config, keys))
}
