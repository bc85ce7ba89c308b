//! schemathesis over the document that a gateway serves: no 5xx, no answer outside the contract, and a request that fits the
//! schema is refused for a listed reason only.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use super::{python, shell, succeed};

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let python = python::install(root, "schemathesis", &[SCHEMATHESIS])?;
    shell(
        root,
        "cargo build --quiet --package guest-gateway --target-dir target",
    )?;
    let script = root.join("tests/schemathesis/run.py");
    succeed(
        Command::new(&python)
            .arg(script)
            .arg(root.join("target/debug/guest-gateway")),
    )
}
