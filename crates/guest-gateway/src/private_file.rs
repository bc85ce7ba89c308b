//! Files with secrets, which only their owner may access.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::input_file;

/// Creates a file.
///
/// # Errors
/// If it exists. Those of the system.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Reads a file.
///
/// # Errors
/// As [`check`], before anything is read, and [`input_file::read_text`].
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let file = input_file::open(path)?;
    check_mode(path, &file.metadata()?)?;
    input_file::read_opened_text(file)
}

/// Checks the permissions of a file.
///
/// # Errors
/// If its group or others can access it, with the command that ends it. Those of the system.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    check_mode(path, &path.metadata()?)
}

fn check_mode(path: &Path, file: &Metadata) -> io::Result<()> {
    if file.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    let name = path.display();
    let message = format!("invalid permissions of {name}: others can access it; run `chmod 600 {name}`");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}
