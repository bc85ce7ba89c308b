//! `config`: the configuration of a gateway.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use genesys_api::Clock;

use super::{Failure, print_line};
use crate::config::Config;
use crate::gateway;

/// The configuration that ships.
const EXAMPLE: &str = include_str!("../generated/gateway.example.toml");

/// Check or show the configuration of a gateway, or print one to begin with
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the configuration, and the files and variables that it names
    ///
    /// `serve` checks the same before it listens. Exit code 2 with the reason if the gateway would not start. Whether the
    /// address is free and Genesys answers is not checked: see `doctor`.
    Check(Sources),
    /// Print the effective configuration, with the place of each value; secrets are redacted
    Show(Sources),
    /// Print a configuration with all settings, which runs as it is
    Example,
}

/// The layers of the configuration: the file, variables such as GUEST_GATEWAY__LISTEN__ADDRESS over it, flags over both.
#[derive(Args, Debug)]
pub(super) struct Sources {
    /// The configuration file. Variables such as GUEST_GATEWAY__LISTEN__ADDRESS replace its values
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// The address of the listener, in place of `listen.address`
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Set a value, as in `--set sessions.retention=7d`; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

impl Sources {
    /// Reads the configuration. The files that it names are not read.
    pub(super) fn read(&self) -> Result<Config, Failure> {
        let listen = self
            .listen
            .iter()
            .map(|address| ("--listen", format!("listen.address={address}").into()));
        let set = self.set.iter().map(|setting| ("--set", setting.clone().into()));
        // the special flag after the general one, so that it has precedence
        let flags = set.chain(listen).collect();
        Config::read_with(&self.config, flags).map_err(Failure::usage)
    }
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check(sources) => check(sources),
        Command::Show(sources) => {
            let config = sources.read()?;
            print_line(&format!("# lines of {}", sources.config.display()));
            print_line(config.show().trim());
            Ok(())
        }
        Command::Example => {
            print_line(EXAMPLE.trim_end());
            Ok(())
        }
    }
}

fn check(sources: &Sources) -> Result<(), Failure> {
    let config = sources.read()?;
    gateway::check(&config).map_err(Failure::usage)?;
    print_line(&format!("{} is valid", sources.config.display()));
    for warning in gateway::check_warnings(&config, Clock::system().now().utc) {
        print_line(&format!("warning: {warning}"));
    }
    Ok(())
}
