//! `simulate`: random scenarios of a guest on a failing network to the simulated cloud, on virtual time.

use std::error::Error;
use std::path::Path;

use crate::workspace;

/// Runs the program with the given arguments.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let status = workspace::tool(root, "cargo")
        .args([
            "run",
            "--quiet",
            "--profile",
            "simulate",
            "--package",
            "end-to-end",
            "--bin",
            "simulate",
            "--",
        ])
        .args(arguments)
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err("a scenario failed, or none was run: see above".into())
}
