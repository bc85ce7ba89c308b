//! Conditions of a start that can be checked without one.

use std::io;
use std::path::Path;

use genesys_api::{Host, error_chain};
use nix::unistd::{AccessFlags, access};
use time::OffsetDateTime;

use super::http_clients::{genesys_tls, other_tls};
use super::listener::{admin_host, admin_identity, identity, public_host};
use super::{StartError, read_action};
use crate::config::{Config, ConfigError};
use crate::keys::Keys;
use crate::resources::{needed_files, open_files};

/// Checks all that a start needs of this machine, except that the address is free and the store is sound. It changes nothing.
///
/// # Errors
/// The first condition that is not met, with the place of its value in the configuration.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    config.check_environment()?;
    let at = |path: &str| {
        let path = path.to_owned();
        move |error: StartError| config.error(&path, error_chain(&error))
    };
    identity(config).map_err(at("listen.certificate"))?;
    if let Some(admin) = &config.admin {
        admin_identity(admin).map_err(at("admin.certificate"))?;
        admin_host(admin, admin.address).map_err(at("admin.public_url"))?;
    }
    other_tls(config).map_err(at("genesys.extra_ca"))?;
    for organization in config.organizations() {
        let tls = genesys_tls(&organization);
        tls.map_err(at(&organization.path("client_certificate")))?;
    }
    public_host(config, config.listen.address).map_err(at("listen.public_url"))?;
    if let Some(file) = config.store.file() {
        check_folder(config, "path", file)?;
    }
    check_folder(config, "keys", &config.store.keys)?;
    check_pair(config).map_err(at("store.path"))?;
    if config.store.keys.exists() {
        let keys = Keys::open(&config.store.keys);
        let start_error = StartError::to(read_action("the key file", &config.store.keys));
        keys.map_err(start_error).map_err(at("store.keys"))?;
    }
    check_open_files(config)
}

/// Returns what works, but is probably not meant: secrets that others can read, old secrets whose time has ended, pages of
/// another site than the gateway at `public`, and trust in every address.
pub(crate) fn warnings(config: &Config, public: &Host, now: OffsetDateTime) -> Vec<String> {
    let exposed = config.exposed_secrets();
    let warnings = exposed
        .chain(config.ended_secrets(now))
        .chain(config.pages_of_other_sites(public))
        .chain(config.unlimited_trust());
    warnings.collect()
}

/// As [`warnings`], of a configuration that is valid and does not run.
pub(crate) fn check_warnings(config: &Config, now: OffsetDateTime) -> Vec<String> {
    // checked before
    let public = public_host(config, config.listen.address);
    public.map_or_else(|_| Vec::new(), |public| warnings(config, &public, now))
}

/// Checks that a file can be created in its folder, as SQLite does beside an existing store too.
fn check_folder(config: &Config, key: &str, file: &Path) -> Result<(), ConfigError> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let name = folder.display();
    let what = match folder.metadata() {
        Err(error) => format!("cannot find the folder {name}: {error}; create it, or correct the path"),
        Ok(found) if !found.is_dir() => format!("{name} is not a folder, correct the path"),
        Ok(_) if file.is_dir() => "it is a folder, name a file in it".to_owned(),
        Ok(_) => match access(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
            Ok(()) => return Ok(()),
            Err(error) => {
                format!("cannot write to the folder {name}: {error}; permit it to the user of the gateway")
            }
        },
    };
    let what = format!("invalid [store] `{key}` {}: {what}", file.display());
    Err(config.error(&format!("store.{key}"), what))
}

/// Checks that the connections fit into the limit of open files, to which `serve` raises the soft limit.
fn check_open_files(config: &Config) -> Result<(), ConfigError> {
    let connections = config.listen.connections;
    let needed = needed_files(connections);
    match open_files() {
        Ok((_, largest)) if largest < needed => {
            let what = format!(
                "invalid [listen] `connections` {connections}: needs {needed} open files, and this process may open \
                 {largest}: set `LimitNOFILE={needed}` in the unit of systemd, raise the hard limit by `ulimit -H -n \
                 {needed}` as root, or lower `connections`"
            );
            Err(config.error("listen.connections", what))
        }
        _ => Ok(()),
    }
}

/// Checks that neither the file of the store nor its key file is without the other.
pub(crate) fn check_pair(config: &Config) -> Result<(), StartError> {
    let keys = &config.store.keys;
    let Some(store) = config.store.file() else {
        return Ok(());
    };
    if store.exists() && !keys.exists() {
        let start_error = StartError::to(read_action("the key file", keys));
        let store = store.display();
        return Err(start_error(io::Error::other(format!(
            "it is missing, but the store {store} was written with it: restore it"
        ))));
    }
    if keys.exists() && is_empty(store) {
        let start_error = StartError::to(format!("open the store {}", store.display()));
        let keys = keys.display();
        return Err(start_error(io::Error::other(format!(
            "it is missing or empty, but its key file {keys} exists: restore it with `guest-gateway store restore`, or \
             begin with an empty one and a new audit log by `guest-gateway store create`"
        ))));
    }
    Ok(())
}

/// Whether the file of a store is missing or has no contents.
pub(crate) fn is_empty(store: &Path) -> bool {
    !store.metadata().is_ok_and(|file| file.len() > 0)
}
