//! The folder of a cluster.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::{Builder, TempDir};

const PREFIX: &str = "guest-suite-postgres-";
/// A test process holds a lock on this file of its folder for as long as it lives.
const LOCK: &str = "lock";
/// The path of a Unix socket has less than 108 bytes. This leaves room for the names below.
const LONGEST_PARENT: usize = 60;

/// A folder that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
    _lock: File,
}

impl Folder {
    /// Creates a folder, and removes the folders of processes that ended without removing theirs.
    pub(crate) fn create() -> Self {
        let usual = std::env::temp_dir();
        let parent = if usual.as_os_str().len() <= LONGEST_PARENT {
            usual
        } else {
            PathBuf::from("/tmp")
        };
        remove_leftovers(&parent);
        let folder = Builder::new()
            .prefix(PREFIX)
            .tempdir_in(parent)
            .expect("the folder of temporary files is writable");
        let unlocked = folder.path().join("unlocked");
        let lock = File::create(&unlocked).expect("an own folder is writable");
        lock.lock().expect("an own file can be locked");
        // under its name only when it is locked
        fs::rename(unlocked, folder.path().join(LOCK)).expect("an own folder is writable");
        Self { folder, _lock: lock }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the server's files.
    pub(crate) fn data(&self) -> PathBuf {
        data(self.path())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove_shared_memory(self.path());
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes())
        {
            continue;
        }
        let folder = entry.path();
        if File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            remove_shared_memory(&folder);
            // another process may remove it at the same time
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Removes the segment of System V shared memory that a killed server leaves until its next start.
fn remove_shared_memory(folder: &Path) {
    let segment = fs::read_to_string(data(folder).join("postmaster.pid"))
        .ok()
        .and_then(|lines| Some(lines.lines().nth(6)?.split_whitespace().nth(1)?.to_owned()));
    if let Some(segment) = segment {
        // without the program, the segment of 56 bytes remains
        let _ = Command::new("ipcrm")
            .args(["-m", &segment])
            .stderr(Stdio::null())
            .status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftover_is_removed_and_folder_in_use_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let create = |name: &str| {
            let folder = parent.path().join(format!("{PREFIX}{name}"));
            fs::create_dir(&folder).unwrap();
            (File::create(folder.join(LOCK)).unwrap(), folder)
        };
        let (_, leftover) = create("a");
        let (lock, in_use) = create("b");
        lock.lock().unwrap();
        remove_leftovers(parent.path());
        assert!(!leftover.exists());
        assert!(in_use.exists());
    }
}
