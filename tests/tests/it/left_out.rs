//! Tests that are left out because the machine lacks a program that no registry of packages has.
//!
//! A line on standard error names the test and the command that installs the program. It is repeated at the end of a run
//! of the whole workspace, by `xtask/tests/left_out.rs`. With `CI` set, a missing program fails the test.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A program that a test needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    pub(crate) program: &'static str,
    /// The command that installs it.
    pub(crate) install: &'static str,
}

/// Reports that a test is left out.
pub(crate) fn leave_out(test: &str, missing: Missing) {
    let Missing { program, install } = missing;
    let line = format!("left out: {test} (needs {program}: `{install}`)");
    assert!(std::env::var_os("CI").is_none(), "{line}");
    let folder = target().join("left-out");
    fs::create_dir_all(&folder).unwrap();
    // not by a macro, whose output is not shown for a test that passes
    writeln!(io::stderr(), "{line}").unwrap();
    fs::write(folder.join(test.replace(' ', "-")), line + "\n").unwrap();
}

/// The target folder that this test was built into.
pub(crate) fn target() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap_or(Path::new("target")).to_owned()
}
