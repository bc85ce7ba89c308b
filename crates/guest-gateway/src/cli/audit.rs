//! `audit`: export and verification of the audit log, without a running gateway.

use std::path::{Path, PathBuf};

use audit::files::FileErrorKind;
use audit::{Actor, VerifierKey};
use clap::{Args, Subcommand};
use genesys_api::{Clock, error_chain};
use guest_store::{Limits, SqliteStore};

use super::{Failure, print_line};
use crate::audit_log::record;
use crate::config::Config;
use crate::keys::Keys;

/// Export and verify the audit log
///
/// The log is an RFC 6962 Merkle tree with signed checkpoints. `export` writes entries, leaf hashes and checkpoints
/// to one file. `verify` reads that file and the public key, and needs neither gateway nor store. Keep a checkpoint on
/// another machine: it detects that the log was truncated or rewritten.
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
    /// The file to create; it must not exist
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
/// Exit code 0 if the log is unaltered, 1 with the faulty entries if not, 2 if it cannot be read.
#[derive(Args, Debug)]
pub(super) struct VerifyOptions {
    /// The exported log
    file: PathBuf,
    /// The public key, as `audit key` prints it
    #[arg(long)]
    key: String,
    /// A file with a checkpoint kept elsewhere, to detect a log that was truncated or rewritten
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
    let (config, keys) = read_config(&options.config)?;
    if options.out.exists() {
        let out = options.out.display();
        return Err(Failure::usage(format!(
            "cannot create {out}: it exists; use another name with --out, or remove it"
        )));
    }
    let store = open_store(&config, &keys)?;
    record(
        &store,
        Actor::operator("guest-gateway audit export"),
        "audit.exported",
        Clock::system().now().utc,
    )
    .await
    .map_err(|error| Failure::failed(error_chain(&error)))?;
    let exported = guest_store::export(&store, &options.out)
        .await
        .map_err(|error| Failure::failed(error_chain(&error)))?;
    print_line(&format!(
        "{} entries exported to {}.",
        exported.size,
        options.out.display()
    ));
    print_line(&format!(
        "Keep this checkpoint on another machine:\n\n{}",
        exported.note.trim_end()
    ));
    Ok(())
}

fn key(options: &KeyOptions) -> Result<(), Failure> {
    let (_, keys) = read_config(&options.config)?;
    print_line(&keys.for_store().signer.verifier_key().to_string());
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
                // a copied checkpoint may lack its final line break
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
            "{}: {} entries verified, but not the {} after the last checkpoint: the file is truncated, since an export \
             ends with a checkpoint",
            options.file.display(),
            report.covered,
            report.entries - report.covered
        )));
    }
    print_line(&format!(
        "{} entries verified against {} signed checkpoints.",
        report.entries, report.checkpoints
    ));
    Ok(())
}

/// Opens the store of a stopped gateway.
pub(super) fn open_store(config: &Config, keys: &Keys) -> Result<SqliteStore, Failure> {
    let path = config.store.path.display();
    if !config.store.path.exists() {
        return Err(Failure::usage(format!(
            "no store {path}: run this command in the directory of the gateway"
        )));
    }
    SqliteStore::open(&config.store.path, keys.for_store(), Limits::default())
        .map_err(|error| Failure::usage(format!("{path}: {}", error_chain(&error))))
}

/// Reads the configuration and the key file of a gateway.
pub(super) fn read_config(path: &Path) -> Result<(Config, Keys), Failure> {
    let config = Config::read(path).map_err(Failure::usage)?;
    if !config.store.keys.exists() {
        let keys = config.store.keys.display();
        return Err(Failure::usage(format!(
            "no key file {keys}: run this command in the directory of the gateway"
        )));
    }
    let keys = Keys::open(&config.store.keys)
        .map_err(|error| Failure::usage(format!("{}: {error}", config.store.keys.display())))?;
    Ok((config, keys))
}
