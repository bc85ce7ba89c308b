//! `audit`: export, display, proofs and verification of the audit log.

mod read;
mod show;
mod verify;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit::Actor;
use audit::files::Export;
use clap::{Args, Subcommand};
use genesys_api::{Clock, SessionId, error_chain};
use guest_store::{Limits, Store, StoreErrorKind};
use time::OffsetDateTime;

use self::read::Format;
use super::remote::Source;
use super::{Failure, print_line};
use crate::audit_log::record;
use crate::config::Config;
use crate::gateway;
use crate::keys::Keys;

/// Export and verify the audit log
///
/// The log is an RFC 6962 Merkle tree with signed checkpoints. `export` writes entries, leaf hashes and checkpoints
/// to one file. `verify` reads that file and the public key, and needs neither gateway nor store. Keep a checkpoint on
/// another machine: it detects that the log was truncated or rewritten.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the log to a file
    ///
    /// A running gateway needs the scope audit:read. The export of a running and of a stopped gateway have the same lines.
    /// One with --csv or --since cannot be verified as a whole.
    Export {
        #[command(flatten)]
        source: Source,
        /// The file to create; it must not exist
        #[arg(long, value_name = "FILE", default_value = "audit.jsonl")]
        out: PathBuf,
        /// One entry a line, in the form of RFC 4180, without leaf hashes and checkpoints
        #[arg(long)]
        csv: bool,
        /// The lines of the log, which `audit verify` verifies; this is the default
        #[arg(long, conflicts_with = "csv")]
        jsonl: bool,
        /// Leave out the entries before a time of RFC 3339, and all checkpoints
        #[arg(long, value_name = "TIME", value_parser = read::time)]
        since: Option<OffsetDateTime>,
    },
    /// Print the public key that verifies a gateway's checkpoints
    Key {
        /// The gateway's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print a proof that an entry is in the log (C2SP tlog-proof), or that an older log is its beginning
    ///
    /// A running gateway needs the scope audit:read.
    Prove {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        subject: Subject,
        /// The checkpoint of the proof, by its number of entries [default: a new one]
        #[arg(long, value_name = "N")]
        size: Option<u64>,
    },
    /// Show the entries of one session, oldest first, one a line
    ///
    /// A running gateway shows the sessions of the API client, which needs the scope webmessaging:guest.
    Show {
        #[command(flatten)]
        source: Source,
        /// The id of the session
        session: SessionId,
    },
    /// Print the last entries, and follow the log of a running gateway
    ///
    /// A running gateway needs the scope audit:read.
    Tail {
        #[command(flatten)]
        source: Source,
        /// Number of entries before the new ones
        #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "since")]
        lines: u64,
        /// All entries since a time of RFC 3339 before the new ones
        #[arg(long, value_name = "TIME", value_parser = read::time)]
        since: Option<OffsetDateTime>,
    },
    /// Verify an exported log: every entry, the tree, and every signature
    ///
    /// Exit code 0 if the log is unaltered, 1 with the faulty entries if not, 2 if the file cannot be read, is no log, or is a
    /// partial export.
    Verify {
        /// The exported log
        file: PathBuf,
        /// The public key, as `audit key` prints it
        #[arg(long)]
        key: String,
        /// A file with checkpoints kept elsewhere, to detect a log that was truncated or rewritten
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// The public key of a witness, whose cosignatures of checkpoints are verified; may be repeated
        #[arg(long, value_name = "KEY")]
        witness: Vec<String>,
    },
}

/// The subject of a proof.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct Subject {
    /// The sequence number of the entry
    entry: Option<u64>,
    /// Prove in its place that the first N entries did not change
    #[arg(long, value_name = "N")]
    old: Option<u64>,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Export {
            source,
            out,
            csv,
            jsonl: _,
            since,
        } => {
            let format = if csv { Format::Csv } else { Format::Jsonl };
            read::export(&source, &out, format, since).await
        }
        Command::Key { config } => {
            let (_, keys) = read_config_to_repair(&config)?;
            print_line(&keys.for_store().signer.verifier_key().to_string());
            Ok(())
        }
        Command::Prove {
            source,
            subject,
            size,
        } => read::prove(&source, &subject, size).await,
        Command::Show { source, session } => show::run(&source, &session).await,
        Command::Tail { source, lines, since } => read::tail(&source, lines, since).await,
        Command::Verify {
            file,
            key,
            against,
            witness,
        } => verify::run(&file, &key, against.as_deref(), &witness),
    }
}

/// Opens the store of a stopped gateway.
pub(super) fn open_store(config: &Path) -> Result<(Config, Arc<dyn Store>), Failure> {
    let (config, keys) = read_config(config)?;
    let place = config.place().map_err(Failure::usage)?;
    if let Some(path) = config.store.file().filter(|path| !path.exists()) {
        return Err(missing("open the store", path));
    }
    let store = gateway::open_store(&place, keys.for_store(), Limits::default()).map_err(|error| {
        let other = match error.kind() {
            StoreErrorKind::Locked => {
                "; if that is the gateway, give --url in place of --config where the command has it"
            }
            _ => "",
        };
        Failure::usage(format!("{}: {}{other}", config.store.name(), error_chain(&error)))
    })?;
    Ok((config, store))
}

/// The failure of a command whose file does not exist.
pub(super) fn missing(action: &str, path: &Path) -> Failure {
    let hint = match path.is_relative() {
        true => "; run this command in the directory of the gateway",
        false => "",
    };
    Failure::usage(format!("cannot {action} {}: no such file{hint}", path.display()))
}

/// Creates the partial file of an export, which gets its name once it is complete.
pub(super) fn create_export(out: &Path) -> Result<Export, Failure> {
    if out.exists() {
        let name = out.display();
        return Err(Failure::usage(format!(
            "cannot create {name}: it exists; use another name with --out, or remove it"
        )));
    }
    Export::create(out).map_err(|error| Failure::usage(error_chain(&error)))
}

/// Records an export or another read by the operator, before anything is read.
pub(super) async fn record_export(
    store: &dyn Store,
    command: &'static str,
    action: &'static str,
) -> Result<(), Failure> {
    let now = Clock::system().now().utc;
    let recorded = record(store, Actor::operator(command), action, now).await;
    recorded.map_err(Failure::caused_by)
}

/// Reads the configuration and the keys, unless `store rekey` was interrupted.
pub(super) fn read_config(path: &Path) -> Result<(Config, Keys), Failure> {
    read_config_by(path, Keys::open)
}

/// Reads the configuration and the keys, also after an interrupted `store rekey`.
pub(super) fn read_config_to_repair(path: &Path) -> Result<(Config, Keys), Failure> {
    read_config_by(path, Keys::open_to_rekey)
}

fn read_config_by(
    path: &Path,
    open: impl FnOnce(&Path) -> io::Result<Keys>,
) -> Result<(Config, Keys), Failure> {
    let config = Config::read(path).map_err(Failure::usage)?;
    let name = config.store.keys.display();
    if !config.store.keys.exists() {
        return Err(missing("read the key file", &config.store.keys));
    }
    let keys = open(&config.store.keys);
    let keys = keys.map_err(|error| Failure::usage(format!("cannot read the key file {name}: {error}")))?;
    Ok((config, keys))
}
