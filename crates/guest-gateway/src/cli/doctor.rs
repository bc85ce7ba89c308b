//! `doctor`: checks of what a gateway needs, each with its correction.

mod machine;
mod network;

use std::fmt::Display;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{Failure, counted, print_line};
use crate::config::Config;

/// Check configuration, hosts of Genesys Cloud, deployments, clock, limits, files and store
///
/// Prints ✓ for each check, or ✗ with the reason and the correction. The gateway may run. A host that does not answer is
/// reported after 5 seconds. No request changes anything, and no secret is printed.
///
/// The gateway needs no API client of Genesys Cloud. With GENESYS_CLIENT_ID and GENESYS_CLIENT_SECRET in the environment,
/// that client and its roles are checked too.
///
/// Exit code 0 if all is well, 1 if a check fails, 2 if the configuration is invalid.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The gateway's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let name = options.config.display().to_string();
    let mut checks = Vec::new();
    let read = Config::read(&options.config);
    let is_invalid = read.is_err();
    match read {
        Err(error) => checks.push(Check::failed(
            "configuration",
            name,
            error,
            "correct the path or the file; gateway.example.toml shows every setting",
        )),
        Ok(config) => {
            checks.push(match config.check_files() {
                Ok(()) => Check::passed("configuration", name, "valid"),
                Err(error) => Check::failed("configuration", name, error, "correct the file that it names"),
            });
            checks.extend(config.client.iter().map(client));
            checks.extend(network::check(&config).await);
            checks.extend(machine::check(&config).await);
        }
    }
    let failed = checks.iter().filter(|check| !check.ok).count();
    match options.json {
        true => print_line(&json!({ "ok": failed == 0, "checks": checks }).to_string()),
        false => checks.iter().for_each(|check| print_line(&check.to_string())),
    }
    let message = format!("{failed} of {} failed", counted(checks.len(), "check", "checks"));
    match failed {
        0 => Ok(()),
        _ if is_invalid => Err(Failure::usage(message)),
        _ => Err(Failure::failed(message)),
    }
}

fn client(client: &crate::config::Client) -> Check {
    let id = client.id.as_str();
    match client.secret() {
        Ok(_) => Check::passed(
            "client",
            id,
            format!("has a secret and the scopes {}", client.scopes),
        ),
        Err(error) => Check::failed(
            "client",
            id,
            error,
            "give the secret where the configuration names it",
        ),
    }
}

/// The result of one check.
#[derive(Debug, Serialize)]
struct Check {
    /// The kind of the check.
    check: &'static str,
    /// The checked host, file or id.
    subject: String,
    ok: bool,
    detail: String,
    /// The correction, if the check failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Check {
    fn passed(check: &'static str, subject: impl Display, detail: impl Display) -> Self {
        Self {
            check,
            subject: subject.to_string(),
            ok: true,
            detail: detail.to_string(),
            fix: None,
        }
    }

    fn failed(check: &'static str, subject: impl Display, detail: impl Display, fix: impl Display) -> Self {
        Self {
            ok: false,
            fix: Some(fix.to_string()),
            ..Self::passed(check, subject, detail)
        }
    }
}

impl Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = if self.ok { '✓' } else { '✗' };
        write!(f, "{mark} {}: {}: {}", self.check, self.subject, self.detail)?;
        match &self.fix {
            Some(fix) => write!(f, "\n  fix: {fix}"),
            None => Ok(()),
        }
    }
}
