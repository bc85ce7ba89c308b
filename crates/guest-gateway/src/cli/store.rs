//! `store`: creation, backup, new key, restore, check and vacuum of the store's file.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use genesys_api::error_chain;
use guest_store::{Limits, SqliteStore, StoreError};

use super::audit::{open_store, read_config, record_export};
use super::{Failure, print_line};
use crate::config::Config;
use crate::gateway::is_empty;
use crate::keys::Keys;

/// Create, back up, rekey, restore, check or vacuum the store
///
/// The key file is not part of a backup. Keep both, apart from each other: a backup cannot be read without the keys, and
/// erased guests stay in backups that were made before their erasure.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Copy the store to a new file; the gateway may run
    Backup {
        /// The gateway's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The file to create; it must not exist
        path: PathBuf,
    },
    /// Create an empty store, with a new audit log, for keys that exist
    ///
    /// A gateway does not start with a key file and without a store, since its sessions and its audit log may be lost.
    /// Use this command if they never existed.
    Create {
        /// The gateway's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Seal a stopped gateway's store with a new key
    ///
    /// Replaces the seal key in the key file and writes each sealed value, look-up hash and MAC anew. It needs space for two
    /// copies of the store. An interrupted run is completed by the next one, and the gateway does not start before that.
    /// The signing key of the audit log stays, so checkpoints and proofs remain valid. A backup that was made before needs
    /// the old key file: make a new one.
    Rekey {
        /// The gateway's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Put a backup in the place of a stopped gateway's store
    Restore {
        /// The gateway's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The backup
        path: PathBuf,
        /// Replace a store that is not empty
        #[arg(long)]
        force: bool,
    },
    /// Check the file, each sealed value and each audit entry; the gateway may run
    ///
    /// Exit code 0 if all is well, 1 with the faults if not, 2 if the store cannot be opened.
    Check {
        /// The gateway's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Rewrite a stopped gateway's store without unused pages
    ///
    /// Needed once after an upgrade from a version that stored ids in plain. It needs space for two copies of the file.
    Vacuum {
        /// The gateway's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Backup { config, path } => backup(&config, &path),
        Command::Create { config } => create(&config).await,
        Command::Rekey { config } => rekey(&config).await,
        Command::Restore { config, path, force } => restore(&config, &path, force).await,
        Command::Check { config } => check(&config),
        Command::Vacuum { config } => vacuum(&config).await,
    }
}

fn backup(config: &Path, to: &Path) -> Result<(), Failure> {
    let config = Config::read(config).map_err(Failure::usage)?;
    let (name, store) = (to.display(), &config.store.path);
    if to.exists() {
        return Err(Failure::usage(format!(
            "cannot create {name}: it exists; use another name, or remove it"
        )));
    }
    require(store)?;
    SqliteStore::backup(store, to).map_err(Failure::caused_by)?;
    print_line(&format!(
        "{} backed up to {name}. Keep the key file apart from it.",
        store.display()
    ));
    Ok(())
}

async fn create(config: &Path) -> Result<(), Failure> {
    let (settings, keys) = read_config(config)?;
    let path = &settings.store.path;
    let name = path.display();
    if !is_empty(path) {
        return Err(Failure::usage(format!(
            "cannot create {name}: it has contents; start the gateway with it, or use another path in [store]"
        )));
    }
    let store = SqliteStore::open(path, keys.for_store(), Limits::default());
    let store = store.map_err(|error| unusable(path, &error))?;
    record_export(&store, "guest-gateway store create", "store.created").await?;
    print_line(&format!("{name} created, with a new audit log."));
    Ok(())
}

async fn rekey(config: &Path) -> Result<(), Failure> {
    let settings = Config::read(config).map_err(Failure::usage)?;
    let (path, key_file) = (&settings.store.path, &settings.store.keys);
    require(path)?;
    let failed = |error| Failure::usage(format!("key file {}: {error}", key_file.display()));
    let mut keys = Keys::open_to_rekey(key_file).map_err(failed)?;
    if !keys.is_rekeying() {
        // the key file does not change if the store is in use or has other keys
        SqliteStore::open(path, keys.for_store(), Limits::default())
            .map_err(|error| unusable(path, &error))?;
    }
    let next = keys.begin_rekey(key_file).map_err(failed)?;
    SqliteStore::rekey(path, &keys.for_store(), &next).map_err(|error| unusable(path, &error))?;
    let store = SqliteStore::open(path, keys.for_rekeyed_store(), Limits::default());
    let store = store.map_err(|error| unusable(path, &error))?;
    record_export(&store, "guest-gateway store rekey", "store.rekeyed").await?;
    keys.finish_rekey(key_file).map_err(failed)?;
    print_line(&format!(
        "{} sealed with a new key. Back up the key file and the store anew.",
        path.display()
    ));
    Ok(())
}

async fn restore(config: &Path, backup: &Path, force: bool) -> Result<(), Failure> {
    let (settings, keys) = read_config(config)?;
    let name = backup.display();
    let restored = SqliteStore::restore(backup, &settings.store.path, &keys.for_store(), force);
    restored.map_err(|error| unusable(backup, &error))?;
    let (_, store) = open_store(config)?;
    record_export(&store, "guest-gateway store restore", "store.restored").await?;
    print_line(&format!(
        "{} restored from {name}.",
        settings.store.path.display()
    ));
    Ok(())
}

fn check(config: &Path) -> Result<(), Failure> {
    let (config, keys) = read_config(config)?;
    let store = &config.store.path;
    require(store)?;
    let faults = SqliteStore::check(store, &keys.for_store()).map_err(|error| unusable(store, &error))?;
    for fault in &faults {
        print_line(fault);
    }
    let name = store.display();
    match faults.len() {
        0 => {
            print_line(&format!("{name} is sound."));
            Ok(())
        }
        count => Err(Failure::failed(format!(
            "{name}: {count} faults; restore a backup, and keep the damaged file for inquiry"
        ))),
    }
}

async fn vacuum(config: &Path) -> Result<(), Failure> {
    let (settings, keys) = read_config(config)?;
    let path = &settings.store.path;
    require(path)?;
    SqliteStore::vacuum(path, &keys.for_store()).map_err(|error| unusable(path, &error))?;
    let (_, store) = open_store(config)?;
    record_export(&store, "guest-gateway store vacuum", "store.vacuumed").await?;
    print_line(&format!("{} vacuumed.", path.display()));
    Ok(())
}

fn require(store: &Path) -> Result<(), Failure> {
    if store.exists() {
        return Ok(());
    }
    let name = store.display();
    Err(Failure::usage(format!(
        "no store {name}: run this command in the directory of the gateway"
    )))
}

fn unusable(path: &Path, error: &StoreError) -> Failure {
    Failure::usage(format!("{}: {}", path.display(), error_chain(error)))
}
