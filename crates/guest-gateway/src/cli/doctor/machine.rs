//! Limits of the process, permissions of files, and the store.

use genesys_api::error_chain;
use guest_store::StoreErrorKind;
use tokio::task::spawn_blocking;

use super::Check;
use crate::cli::store::faults;
use crate::config::Config;
use crate::gateway::{check_pair, identity};
use crate::keys::Keys;
use crate::private_file;

/// Files that are open beside those of the connections. Our choice.
const OTHER_FILES: u64 = 256;

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
    checks.extend(store(config).await);
    checks
}

/// The limits of this process, which a service manager may set differently for the gateway.
fn limits(config: &Config) -> Vec<Check> {
    let Ok(limits) = std::fs::read_to_string("/proc/self/limits") else {
        return Vec::new();
    };
    // a guest has a socket here and one at Genesys
    let needed = u64::from(config.listen.connections) * 2 + OTHER_FILES;
    let open = match soft_limit(&limits, "Max open files") {
        Some(limit) if limit < needed => Check::failed(
            "limit",
            "open files",
            format!("{limit}, and {needed} are needed"),
            format!(
                "set `LimitNOFILE={needed}` in the unit of systemd or run `ulimit -n {needed}`, or lower `connections` of [listen]"
            ),
        ),
        Some(limit) => Check::passed("limit", "open files", limit),
        None => Check::passed("limit", "open files", "unlimited"),
    };
    let size = match soft_limit(&limits, "Max file size") {
        Some(limit) => Check::failed(
            "limit",
            "file size",
            format!("{limit} bytes, above which the store cannot grow"),
            "set `LimitFSIZE=infinity` in the unit of systemd, or run `ulimit -f unlimited`",
        ),
        None => Check::passed("limit", "file size", "unlimited"),
    };
    vec![open, size]
}

/// The soft limit of this name in `/proc/self/limits`, or `None` if there is none.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

async fn store(config: &Config) -> Vec<Check> {
    let (path, key_file) = (&config.store.path, &config.store.keys);
    let (name, keys_name) = (path.display(), key_file.display());
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
    let checked_path = path.clone();
    let checked = spawn_blocking(move || faults(&checked_path, &keys)).await;
    let fix = "run `guest-gateway store check`, then restore a backup and keep the damaged file for inquiry";
    checks.push(match checked {
        Ok(Ok(faults)) if faults.is_empty() => Check::passed("store", name, "is sound"),
        Ok(Ok(faults)) => Check::failed("store", name, faults.join("; "), fix),
        Ok(Err(error)) if error.kind() == StoreErrorKind::Corrupt => {
            Check::failed("store", name, error_chain(&error), fix)
        }
        Ok(Err(error)) => Check::failed("store", name, error_chain(&error), "follow the message"),
        Err(panic) => Check::failed("store", name, panic, fix),
    });
    checks
}

#[cfg(test)]
mod tests {
    //! The limits of the system.

    use super::*;

    #[test]
    fn soft_limit_is_read_by_its_name() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max file size             unlimited            unlimited            bytes     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits, "Max open files"), Some(1_024));
        assert_eq!(soft_limit(limits, "Max file size"), None);
    }
}
