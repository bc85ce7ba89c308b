//! The account that a server runs under.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::unistd::{User, chown, geteuid};

/// Accounts for tests that run as root: the one of Debian's package, and the one of every system.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// An account other than the own one. `None` if the tests do not run as root.
#[derive(Debug)]
pub(crate) struct Account(Option<User>);

impl Account {
    pub(crate) fn unprivileged() -> Self {
        if !geteuid().is_root() {
            return Self(None);
        }
        let user = UNPRIVILEGED
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten());
        assert!(
            user.is_some(),
            "PostgreSQL does not run as root, and there is no account {UNPRIVILEGED:?}: create one, or run the tests \
             under another account"
        );
        Self(user)
    }

    /// Makes the account the owner of a file or folder.
    pub(crate) fn own(&self, path: &Path) {
        if let Some(user) = &self.0 {
            chown(path, Some(user.uid), Some(user.gid)).expect("root may change the owner of a file");
        }
    }

    /// A command that runs under the account in `folder`, without settings of PostgreSQL in its environment.
    pub(crate) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if let Some(user) = &self.0 {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}
