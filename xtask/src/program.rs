//! Programs of the end-to-end package: `simulate` runs random scenarios of a guest on a failing network to the simulated
//! cloud, on virtual time; `crash` kills the store and the file log under load.

use std::error::Error;
use std::path::Path;

use crate::workspace;

/// Builds and runs a program with the given arguments.
pub(crate) fn run(root: &Path, name: &str, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let status = workspace::tool(root, "cargo")
        .args(["run", "--quiet", "--profile", "simulate"])
        .args(["--package", "end-to-end", "--bin", name, "--"])
        .args(arguments)
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{name}` found a fault, or did not run: see above").into())
}
