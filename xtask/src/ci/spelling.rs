//! Spelling, American, by codespell. `.codespellrc` holds its dictionaries and exceptions.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

use crate::workspace;

/// Names the interpreter beside which codespell is installed. `.ci/run` sets it.
const PYTHON: &str = "GUEST_SUITE_PYTHON";

pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let program = program(root);
    let status = workspace::tool(root, &program.to_string_lossy())
        .arg(".")
        .status()
        .map_err(|error| {
            format!(
                "cannot run {}: {error}: `.ci/run spelling` installs it, as does `apt-get install codespell`",
                program.display()
            )
        })?;
    if status.success() {
        return Ok(());
    }
    Err("misspelled words: correct them, or add a reasoned exception to .codespellrc".into())
}

/// The program beside the interpreter of the gate, or the one of the system.
fn program(root: &Path) -> PathBuf {
    let python = env::var_os(PYTHON).map_or_else(|| root.join("target/ci/python/bin/python"), PathBuf::from);
    let beside = python.with_file_name("codespell");
    if beside.exists() {
        beside
    } else {
        PathBuf::from("codespell")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_codespell() {
        assert_eq!(program(Path::new("/nowhere")).file_name().unwrap(), "codespell");
    }
}
