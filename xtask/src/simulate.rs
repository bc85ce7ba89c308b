//! `simulate`: random journeys of a guest through a failing network to the simulated cloud, on virtual time.

use std::error::Error;
use std::path::Path;

use crate::workspace;

/// Hands over to the program that plays them.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let status = workspace::tool(root, "cargo")
        .args([
            "run",
            "--quiet",
            "--profile",
            "simulate",
            "--package",
            "journeys",
            "--bin",
            "simulate",
            "--",
        ])
        .args(arguments)
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err("not every journey kept its promise, or none was played: see above".into())
}
