//! Python packages below `target/`.

use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::succeed;

/// Installs packages into a virtual environment, and returns its Python.
pub(super) fn install<S: AsRef<OsStr>>(
    root: &Path,
    environment: &str,
    packages: &[S],
) -> Result<PathBuf, Box<dyn Error>> {
    let folder = root.join("target/ci").join(environment);
    succeed(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let python = folder.join("bin/python");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    succeed(Command::new(&python).args(install).args(packages))?;
    Ok(python)
}
