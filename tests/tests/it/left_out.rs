//! Tests that are left out because the machine lacks a program that no registry of packages has.
//!
//! A note below `target/left-out` lives until the end of the run, where `xtask/tests/left_out.rs` prints it. With `CI`
//! set, a missing program fails the test.

use std::fs;
use std::path::{Path, PathBuf};

/// A program that a test needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    pub(crate) program: &'static str,
    /// The command that installs it.
    pub(crate) install: &'static str,
}

/// Notes that a test is left out.
pub(crate) fn leave_out(test: &str, missing: Missing) {
    let Missing { program, install } = missing;
    let line = format!("left out: {test} (needs {program}: `{install}`)");
    assert!(std::env::var_os("CI").is_none(), "{line}");
    let folder = target().join("left-out");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(test.replace(' ', "-")), line + "\n").unwrap();
}

/// The target folder that this test was built into.
pub(crate) fn target() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap_or(Path::new("target")).to_owned()
}
