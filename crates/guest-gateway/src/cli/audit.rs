//! `audit`: export, display and verification of the audit log.

mod show;

use std::path::{Path, PathBuf};

use audit::files::FileErrorKind;
use audit::{Actor, VerifierKey};
use clap::Subcommand;
use genesys_api::{Clock, SessionId, error_chain};
use guest_store::{Limits, SqliteStore};

use super::remote::Source;
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
    /// Write the log of a stopped gateway's store to a file
    Export {
        /// The gateway's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The file to create; it must not exist
        #[arg(long, value_name = "FILE", default_value = "audit.jsonl")]
        out: PathBuf,
    },
    /// Print the public key that verifies a gateway's checkpoints
    Key {
        /// The gateway's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
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
    /// Verify an exported log: every entry, the tree, and every signature
    ///
    /// Exit code 0 if the log is unaltered, 1 with the faulty entries if not, 2 if it cannot be read.
    Verify {
        /// The exported log
        file: PathBuf,
        /// The public key, as `audit key` prints it
        #[arg(long)]
        key: String,
        /// A file with a checkpoint kept elsewhere, to detect a log that was truncated or rewritten
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Export { config, out } => export(&config, &out).await,
        Command::Key { config } => {
            let (_, keys) = read_config(&config)?;
            print_line(&keys.for_store().signer.verifier_key().to_string());
            Ok(())
        }
        Command::Show { source, session } => show::run(&source, &session).await,
        Command::Verify { file, key, against } => verify(&file, &key, against.as_deref()),
    }
}

async fn export(config: &Path, out: &Path) -> Result<(), Failure> {
    let name = out.display();
    if out.exists() {
        return Err(Failure::usage(format!(
            "cannot create {name}: it exists; use another name with --out, or remove it"
        )));
    }
    let (_, store) = open_store(config)?;
    record_export(&store, "guest-gateway audit export", "audit.exported").await?;
    let exported = guest_store::export(&store, out)
        .await
        .map_err(Failure::caused_by)?;
    let (count, checkpoint) = (exported.size, exported.note.trim_end());
    print_line(&format!(
        "{count} entries exported to {name}.\nKeep this checkpoint on another machine:\n\n{checkpoint}"
    ));
    Ok(())
}

fn verify(file: &Path, key: &str, against: Option<&Path>) -> Result<(), Failure> {
    let key: VerifierKey = key
        .parse()
        .map_err(|error| Failure::usage(format!("invalid --key: {}", error_chain(&error))))?;
    let against = match against {
        Some(path) => {
            let invalid =
                |why: String| Failure::usage(format!("invalid checkpoint {}: {why}", path.display()));
            let note = std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
            // a copied checkpoint may lack its final line break
            let checkpoint = key.open(&format!("{}\n", note.trim()));
            Some(checkpoint.map_err(|error| invalid(error_chain(&error)))?)
        }
        None => None,
    };
    let report = audit::files::verify_file(file, &key, against).map_err(|error| match error.kind() {
        FileErrorKind::Read => Failure::usage(error_chain(&error)),
        _ => Failure::caused_by(error),
    })?;
    let (entries, covered, checkpoints) = (report.entries, report.covered, report.checkpoints);
    if covered < entries {
        return Err(Failure::failed(format!(
            "{}: {covered} entries verified, but not the {} after the last checkpoint: the file is truncated, since an \
             export ends with a checkpoint",
            file.display(),
            entries - covered
        )));
    }
    print_line(&format!(
        "{entries} entries verified against {checkpoints} signed checkpoints."
    ));
    Ok(())
}

/// Opens the store of a stopped gateway.
pub(super) fn open_store(config: &Path) -> Result<(Config, SqliteStore), Failure> {
    let (config, keys) = read_config(config)?;
    let path = &config.store.path;
    let name = path.display();
    if !path.exists() {
        return Err(Failure::usage(format!(
            "cannot open the store {name}: no such file, run this command in the directory of the gateway"
        )));
    }
    let store = SqliteStore::open(path, keys.for_store(), Limits::default())
        .map_err(|error| Failure::usage(format!("{name}: {}", error_chain(&error))))?;
    Ok((config, store))
}

pub(super) async fn record_export(
    store: &SqliteStore,
    command: &'static str,
    action: &'static str,
) -> Result<(), Failure> {
    let now = Clock::system().now().utc;
    let recorded = record(store, Actor::operator(command), action, now).await;
    recorded.map_err(Failure::caused_by)
}

pub(super) fn read_config(path: &Path) -> Result<(Config, Keys), Failure> {
    let config = Config::read(path).map_err(Failure::usage)?;
    let name = config.store.keys.display();
    if !config.store.keys.exists() {
        return Err(Failure::usage(format!(
            "cannot read the key file {name}: no such file, run this command in the directory of the gateway"
        )));
    }
    let keys = Keys::open(&config.store.keys);
    let keys = keys.map_err(|error| Failure::usage(format!("cannot read the key file {name}: {error}")))?;
    Ok((config, keys))
}
