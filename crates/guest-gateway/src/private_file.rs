//! Files with secrets, which only their owner may access.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Reads a file.
///
/// # Errors
/// As [`check`], before anything is read.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    check_mode(path, &file.metadata()?)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
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
