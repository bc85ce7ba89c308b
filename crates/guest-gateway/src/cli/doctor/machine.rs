//! Limits of the process, permissions of files, and the store.

use std::io;
use std::path::{Path, PathBuf};

use genesys_api::error_chain;
use guest_store::{Limits, StoreErrorKind};
use tokio::task::spawn_blocking;

use super::Check;
use crate::cli::store::faults;
use crate::config::{Config, Place};
use crate::gateway::{check_pair, identity, open_store};
use crate::keys::Keys;
use crate::private_file;
use crate::resources::{self, needed_files};

/// Free bytes below which a disk counts as full: the write-ahead log may have 16 MiB and a transaction. Our choice.
const MIN_SPACE: u64 = 64 << 20;

pub(super) async fn check(config: &Config) -> Vec<Check> {
    let mut checks = limits(config);
    checks.extend(config.secret_files().map(|path| {
        let name = path.display();
        match private_file::check(path) {
            Ok(()) => Check::passed("secret file", name, "only its owner can access it"),
            Err(error) => {
                let fix = format!("run `chmod 600 {name}`");
                Check::failed("secret file", name, error, fix)
            }
        }
    }));
    if let Some(certificate) = &config.listen.certificate {
        let name = certificate.display();
        checks.push(match identity(config) {
            Ok(_) => Check::passed("certificate", name, "matches its key"),
            Err(error) => {
                let fix = "correct `certificate` and `key` of [listen]";
                Check::failed("certificate", name, error_chain(&error), fix)
            }
        });
    }
    checks.extend(config.store.file().map(disk));
    checks.extend(store(config).await);
    checks
}

/// The limits of this process, which a service manager may set differently for the gateway.
fn limits(config: &Config) -> Vec<Check> {
    vec![open_files(config.listen.connections), file_size()]
}

fn open_files(connections: u32) -> Check {
    let (limit, needed) = (resources::open_files(), needed_files(connections));
    match limit {
        Ok((_, largest)) if largest < needed => Check::failed(
            "limit",
            "open files",
            format!("{largest} at most, and {needed} are needed for {connections} connections"),
            format!(
                "set `LimitNOFILE={needed}` in the unit of systemd, raise the hard limit by `ulimit -H -n {needed}` as root, or \
                 lower `connections` of [listen]"
            ),
        ),
        Ok((present, largest)) if present < needed => {
            let detail = format!("{present}, which `serve` raises to {largest}");
            Check::passed("limit", "open files", detail)
        }
        Ok((present, _)) => Check::passed("limit", "open files", present),
        Err(error) => Check::failed("limit", "open files", error, "follow the message"),
    }
}

fn file_size() -> Check {
    match resources::file_size() {
        Ok(Some(limit)) => Check::failed(
            "limit",
            "file size",
            format!("{limit} bytes, above which the store cannot grow"),
            "set `LimitFSIZE=infinity` in the unit of systemd, or run `ulimit -f unlimited`",
        ),
        Ok(None) => Check::passed("limit", "file size", "unlimited"),
        Err(error) => Check::failed("limit", "file size", error, "follow the message"),
    }
}

/// The space for the store.
fn disk(path: &Path) -> Check {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    space(folder, resources::free_space(folder))
}

fn space(folder: &Path, free: io::Result<u64>) -> Check {
    let name = folder.display();
    match free {
        Ok(free) if free < MIN_SPACE => Check::failed(
            "disk",
            name,
            format!(
                "the disk is nearly full: {} MiB are free, and {} are needed",
                free >> 20,
                MIN_SPACE >> 20
            ),
            "free space, or move the store to another disk by `path` of [store]",
        ),
        Ok(free) => Check::passed("disk", name, format!("{} MiB are free", free >> 20)),
        Err(error) => {
            let fix = "create the folder, or correct `path` of [store]";
            Check::failed("disk", name, error, fix)
        }
    }
}

async fn store(config: &Config) -> Vec<Check> {
    let key_file = &config.store.keys;
    let (name, keys_name) = (config.store.name(), key_file.display());
    if let Err(error) = check_pair(config) {
        let fix = "restore the missing file from its backup, or see `guest-gateway store --help`";
        return vec![Check::failed("store", name, error_chain(&error), fix)];
    }
    if !key_file.exists() {
        let detail = "does not exist, the first start creates it";
        return vec![
            Check::passed("key file", keys_name, detail),
            Check::passed("store", name, detail),
        ];
    }
    let keys = match Keys::open(key_file) {
        Ok(keys) => keys,
        Err(error) => {
            let fix = "follow the message; the store is not checked without the keys";
            return vec![Check::failed("key file", keys_name, error, fix)];
        }
    };
    let mut checks = vec![Check::passed(
        "key file",
        keys_name,
        "only its owner can access it",
    )];
    checks.push(match config.place() {
        Ok(Place::File(path)) => file(path, keys).await,
        Ok(place) => database(place, keys).await,
        Err(error) => Check::failed("store", name, error, "follow the message"),
    });
    checks
}

async fn file(path: PathBuf, keys: Keys) -> Check {
    let name = path.display().to_string();
    let checked = spawn_blocking(move || faults(&path, &keys)).await;
    let fix = "run `guest-gateway store check`, then restore a backup and keep the damaged file for inquiry";
    match checked {
        Ok(Ok(faults)) if faults.is_empty() => Check::passed("store", name, "is sound"),
        Ok(Ok(faults)) => Check::failed("store", name, faults.join("; "), fix),
        Ok(Err(error)) if error.kind() == StoreErrorKind::Corrupt => {
            Check::failed("store", name, error_chain(&error), fix)
        }
        Ok(Err(error)) if error.kind() == StoreErrorKind::Full => {
            let fix = "free space on its disk, then start the gateway again";
            Check::failed("store", name, error_chain(&error), fix)
        }
        Ok(Err(error)) => Check::failed("store", name, error_chain(&error), "follow the message"),
        Err(panic) => Check::failed("store", name, panic, fix),
    }
}

async fn database(place: Place, keys: Keys) -> Check {
    let name = "in PostgreSQL";
    let open = move || open_store(&place, keys.for_store(), Limits::default());
    match spawn_blocking(open).await {
        Ok(Ok(_)) => Check::passed("store", name, "opens"),
        Ok(Err(error)) if error.kind() == StoreErrorKind::Locked => {
            Check::passed("store", name, "a gateway has it open")
        }
        Ok(Err(error)) => Check::failed("store", name, error_chain(&error), "follow the message"),
        Err(panic) => Check::failed("store", name, panic, "read the messages of the server"),
    }
}

#[cfg(test)]
mod tests {
    //! The space of a disk.

    use super::*;

    #[test]
    fn full_disk_fails_the_check() {
        let folder = Path::new("/data");
        for (free, expected) in [
            (
                0,
                "✗ disk: /data: the disk is nearly full: 0 MiB are free, and 64 are needed\n  fix: free space",
            ),
            ((64 << 20) - 1, "✗ disk: /data: the disk is nearly full: 63 MiB"),
            (64 << 20, "✓ disk: /data: 64 MiB are free"),
        ] {
            let shown = space(folder, Ok(free)).to_string();
            assert!(shown.starts_with(expected), "{shown}");
        }
        let missing = disk(Path::new("/missing/guest-gateway.db")).to_string();
        assert!(missing.starts_with("✗ disk: /missing: No such file"), "{missing}");
        assert!(disk(Path::new("guest-gateway.db")).subject == ".");
    }
}
