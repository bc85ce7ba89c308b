//! The last test program of `cargo test --workspace`: prints the tests that were left out, with the commands that
//! install what they need.
#![expect(
    clippy::print_stderr,
    reason = "the lines are for the person who runs the tests"
)]

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    if env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    let program = env::current_exe()?;
    let target = program.ancestors().nth(3).unwrap_or(Path::new("target"));
    let Ok(notes) = fs::read_dir(target.join("left-out")) else {
        return Ok(());
    };
    for note in notes {
        let path = note?.path();
        eprint!("{}", fs::read_to_string(&path)?);
        fs::remove_file(path)?;
    }
    Ok(())
}
