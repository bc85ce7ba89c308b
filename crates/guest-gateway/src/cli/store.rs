//! `store`: creation, backup, new key, restore, check and vacuum of the store's file, and its move to PostgreSQL.

use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use genesys_api::error_chain;
use guest_store::{Limits, PostgresStore, Rekey, SqliteStore, StoreError, StoreErrorKind};
use secrecy::SecretString;

use super::audit::{missing, open_store, read_config, read_config_to_repair, record_export};
use super::{Failure, counted, print_line};
use crate::config::Config;
use crate::gateway::is_empty;
use crate::keys::Keys;

/// Create, back up, rekey, restore, check, vacuum or move the store
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
    /// Move a stopped gateway's store from its file to PostgreSQL
    ///
    /// The file is verified first. It is renamed to end in `.moved` when all of it is in the database, whose audit log goes on
    /// with the same keys: checkpoints and proofs remain valid. An interrupted move leaves the file and an empty database.
    Move {
        /// The gateway's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The connection string of an empty database, as in `postgres` of [store], or `-` to read it from stdin: other
        /// users of this machine can read a password here
        #[arg(long, value_name = "URL")]
        to: String,
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
        Command::Move { config, to } => move_to(&config, to).await,
        Command::Vacuum { config } => vacuum(&config).await,
    }
}

fn backup(config: &Path, to: &Path) -> Result<(), Failure> {
    let config = Config::read(config).map_err(Failure::usage)?;
    let (name, store) = (to.display(), file(&config)?);
    if to.exists() {
        return Err(Failure::usage(format!(
            "cannot create {name}: it exists; use another name, or remove it"
        )));
    }
    require(store)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let folder = folder.display();
        return Err(Failure::usage(format!(
            "cannot create {name}: no such directory {folder}"
        )));
    }
    SqliteStore::backup(store, to).map_err(Failure::caused_by)?;
    print_line(&format!(
        "{} backed up to {name}. Keep the key file apart from it.",
        store.display()
    ));
    let key_file = &config.store.keys;
    let keys = Keys::open_to_rekey(key_file).map_err(|error| {
        let key_file = key_file.display();
        Failure::failed(format!(
            "cannot verify the backup: the key file {key_file} cannot be read: {error}"
        ))
    })?;
    verify(store, &keys)
}

/// Returns the faults of a store that may be in use.
pub(super) fn faults(store: &Path, keys: &Keys) -> Result<Vec<String>, StoreError> {
    match SqliteStore::check(store, &keys.for_store()) {
        Err(error) if error.kind() == StoreErrorKind::WrongKey && keys.next_seal().is_some() => {
            SqliteStore::check(store, &keys.for_rekeyed_store())
        }
        checked => checked,
    }
}

/// Fails with the faults of a store that may be in use.
fn verify(store: &Path, keys: &Keys) -> Result<(), Failure> {
    let faults = faults(store, keys).map_err(|error| unusable(store, &error))?;
    for fault in &faults {
        print_line(fault);
    }
    if faults.is_empty() {
        return Ok(());
    }
    let (name, count) = (store.display(), counted(faults.len(), "fault", "faults"));
    Err(Failure::failed(format!(
        "{name}: {count}; restore a backup, and keep the damaged file for inquiry"
    )))
}

async fn create(config: &Path) -> Result<(), Failure> {
    let (settings, keys) = read_config(config)?;
    let path = file(&settings)?;
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
    let (path, key_file) = (file(&settings)?, &settings.store.keys);
    require(path)?;
    let failed = |error| Failure::usage(format!("cannot use the key file {}: {error}", key_file.display()));
    // held to the end, so that another run does not replace the keys
    let rekey = Rekey::lock(path).map_err(|error| unusable(path, &error))?;
    let mut keys = Keys::open_to_rekey(key_file).map_err(failed)?;
    if let Err(error) = replace_seal(&rekey, &mut keys, key_file) {
        if rekey.is_sealed_by(&keys.for_store().seal).unwrap_or(false) {
            keys.cancel_rekey(key_file).map_err(failed)?;
        }
        return Err(match error {
            RekeyError::Keys(error) => failed(error),
            RekeyError::Store(error) => unusable(path, &error),
        });
    }
    let store = rekey.open(keys.for_rekeyed_store(), Limits::default());
    let store = store.map_err(|error| unusable(path, &error))?;
    record_export(&store, "guest-gateway store rekey", "store.rekeyed").await?;
    keys.finish_rekey(key_file).map_err(failed)?;
    print_line(&format!(
        "{} sealed with a new key. Back up the key file and the store anew.",
        path.display()
    ));
    Ok(())
}

#[derive(Debug)]
enum RekeyError {
    Keys(io::Error),
    Store(StoreError),
}

/// Verifies the store before the key file changes, then replaces the seal key.
fn replace_seal(rekey: &Rekey, keys: &mut Keys, key_file: &Path) -> Result<(), RekeyError> {
    let is_done = match keys.next_seal() {
        Some(next) => rekey.is_sealed_by(&next).map_err(RekeyError::Store)?,
        None => false,
    };
    if !is_done {
        rekey.verify(&keys.for_store()).map_err(RekeyError::Store)?;
    }
    let next = keys.begin_rekey(key_file).map_err(RekeyError::Keys)?;
    rekey.run(&keys.for_store(), &next).map_err(RekeyError::Store)
}

async fn restore(config: &Path, backup: &Path, force: bool) -> Result<(), Failure> {
    let (settings, keys) = read_config_to_repair(config)?;
    let (name, path) = (backup.display(), file(&settings)?);
    if !backup.exists() {
        return Err(missing("read the backup", backup));
    }
    let restored = SqliteStore::restore(backup, path, &keys.for_store(), force);
    restored.map_err(|error| match error.kind() {
        StoreErrorKind::Corrupt | StoreErrorKind::SchemaDiffers => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {}", error_chain(cause)));
            let cause = cause.unwrap_or_default();
            Failure::usage(format!(
                "cannot restore {name}: it is no backup of a store, or is damaged{cause}; use another backup"
            ))
        }
        StoreErrorKind::Locked | StoreErrorKind::NotEmpty => unusable(path, &error),
        _ => unusable(backup, &error),
    })?;
    let store = SqliteStore::open(path, keys.for_store(), Limits::default());
    let store = store.map_err(|error| unusable(path, &error))?;
    record_export(&store, "guest-gateway store restore", "store.restored").await?;
    print_line(&format!("{} restored from {name}.", path.display()));
    Ok(())
}

fn check(config: &Path) -> Result<(), Failure> {
    let (config, keys) = read_config_to_repair(config)?;
    let store = file(&config)?;
    require(store)?;
    let leftovers = [
        store.with_added_extension("restore"),
        config.store.keys.with_added_extension("partial"),
    ];
    for leftover in leftovers.iter().filter(|path| path.exists()) {
        let leftover = leftover.display();
        print_line(&format!(
            "{leftover} is of a command that runs or was interrupted: remove it if none runs"
        ));
    }
    verify(store, &keys)?;
    print_line(&format!("{} is sound.", store.display()));
    Ok(())
}

async fn move_to(config: &Path, to: String) -> Result<(), Failure> {
    let (settings, keys) = read_config(config)?;
    let path = file(&settings)?;
    require(path)?;
    let to = match to.as_str() {
        "-" => io::read_to_string(io::stdin().lock()).map_err(Failure::caused_by)?,
        _ => to,
    };
    let to: SecretString = to.trim().into();
    let trust = settings.postgres_trust().map_err(Failure::usage)?;
    let moved = PostgresStore::move_from(path, &to, &trust, &keys.for_store());
    let moved = moved.map_err(|error| match error.kind() {
        StoreErrorKind::NotEmpty => Failure::usage(
            "the database has a store with an audit log: use it by `postgres` of [store], or give another database",
        ),
        _ => unusable(path, &error),
    })?;
    let store = PostgresStore::open(&to, &trust, keys.for_store(), settings.limits());
    let store = store.map_err(Failure::caused_by)?;
    record_export(&store, "guest-gateway store move", "store.moved").await?;
    print_line(&format!(
        "{} is in PostgreSQL. Give the connection string in place of `path` in [store]. The file is {}: remove it when the \
         gateway has started.",
        path.display(),
        moved.display()
    ));
    Ok(())
}

async fn vacuum(config: &Path) -> Result<(), Failure> {
    let (settings, keys) = read_config(config)?;
    let path = file(&settings)?;
    require(path)?;
    SqliteStore::vacuum(path, &keys.for_store()).map_err(|error| unusable(path, &error))?;
    let (_, store) = open_store(config)?;
    record_export(&*store, "guest-gateway store vacuum", "store.vacuumed").await?;
    print_line(&format!("{} vacuumed.", path.display()));
    verify(path, &keys)
}

/// The file of the store, which the commands work on.
fn file(config: &Config) -> Result<&Path, Failure> {
    config.store.file().ok_or_else(|| {
        Failure::usage(
            "the store is in PostgreSQL: this command is for a file; back up and restore the schema `guest_store` by \
             `pg_dump --schema=guest_store` and `pg_restore`, apart from the key file",
        )
    })
}

fn require(store: &Path) -> Result<(), Failure> {
    match store.exists() {
        true => Ok(()),
        false => Err(missing("open the store", store)),
    }
}

fn unusable(path: &Path, error: &StoreError) -> Failure {
    Failure::usage(format!("{}: {}", path.display(), error_chain(error)))
}
