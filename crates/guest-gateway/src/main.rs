//! The command line of the Guest Suite.

use std::process::ExitCode;

fn main() -> ExitCode {
    guest_gateway::cli::main()
}
