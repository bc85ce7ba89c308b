//! The report of a test that is left out.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A program that a test needs.
#[derive(Clone, Copy, Debug)]
pub struct Missing {
    /// Its name, or the name of its package.
    pub program: &'static str,
    /// The command that installs it.
    pub install: &'static str,
}

/// Reports that a test is left out.
///
/// # Panics
///
/// With `CI` set, or if the report cannot be written.
pub fn leave_out(test: &str, missing: Missing) {
    let Missing { program, install } = missing;
    let line = format!("left out: {test} (needs {program}: `{install}`)");
    assert!(std::env::var_os("CI").is_none(), "{line}");
    let folder = target().join("left-out");
    fs::create_dir_all(&folder).expect("the target folder is writable");
    // not by a macro, whose output is not shown for a test that passes
    writeln!(io::stderr(), "{line}").expect("standard error is open");
    fs::write(folder.join(test.replace(' ', "-")), line + "\n").expect("the target folder is writable");
}

/// The target folder that this test was built into.
///
/// # Panics
///
/// If the operating system does not give the path of the running test.
#[must_use]
pub fn target() -> PathBuf {
    let test = std::env::current_exe().expect("the operating system knows the path of a test");
    test.ancestors().nth(3).unwrap_or(Path::new("target")).to_owned()
}
