//! `consent`: export of consent records, for the controller and for the guests.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use audit::Actor;
use clap::{Args, Subcommand};
use genesys_api::{Clock, SessionId, error_chain};
use guest_payload::iso27560::Record;
use guest_suite::SessionInfo;
use guest_suite::direct::stored_sessions;

use super::audit::{open_store, read_config};
use super::{Failure, print_line};
use crate::audit_log::record;
use crate::config::Config;

/// Export consent records
///
/// The fields are those of ISO/IEC TS 27560, as a record for the controller or a receipt for the guest. Neither is legal
/// advice.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Export(ExportOptions),
}

/// Write the consent records of a stopped gateway's store to a file
///
/// One line with a JSON object per session, in the fields of ISO/IEC TS 27560 and with the [controller] of the
/// configuration. An erased session has no record; its entries are in the audit log. The file holds personal data and is
/// readable by its owner only.
#[derive(Args, Debug)]
pub(super) struct ExportOptions {
    /// The gateway's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The file to create; it must not exist
    #[arg(long, value_name = "FILE", default_value = "consent.jsonl")]
    out: PathBuf,
    /// Export receipts for the guests instead of records for the controller
    #[arg(long)]
    receipts: bool,
    /// Only this session
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Export(options) => export(options).await,
    }
}

async fn export(options: ExportOptions) -> Result<(), Failure> {
    let (config, keys) = read_config(&options.config)?;
    let store = open_store(&config, &keys)?;
    let out = options.out.display();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&options.out)
        .map_err(|error| {
            Failure::usage(format!(
                "cannot create {out}: {error}; use another name with --out"
            ))
        })?;
    record(
        &store,
        Actor::operator("guest-gateway consent export"),
        "consent.exported",
        Clock::system().now().utc,
    )
    .await
    .map_err(|error| Failure::failed(error_chain(&error)))?;
    let mut file = BufWriter::new(file);
    let (mut after, mut written) = (None, 0_u64);
    loop {
        let sessions = stored_sessions(&store, after)
            .await
            .map_err(|error| Failure::failed(error_chain(&error)))?;
        let Some(last) = sessions.last() else { break };
        after = Some(last.id.clone());
        for session in &sessions {
            if options.session.as_ref().is_none_or(|only| *only == session.id) {
                write(&mut file, session, &config, options.receipts)
                    .map_err(|error| Failure::failed(format!("{out}: {error}")))?;
                written += 1;
            }
        }
    }
    file.into_inner()
        .map_err(|error| error.into_error())
        .and_then(|file| file.sync_all())
        .map_err(|error| Failure::failed(format!("{out}: {error}")))?;
    if let (Some(id), 0) = (&options.session, written) {
        return Err(Failure::failed(format!("no session {id} in the store")));
    }
    let what = if options.receipts { "receipts" } else { "records" };
    print_line(&format!("{written} {what} exported to {out}."));
    Ok(())
}

fn write(
    file: &mut BufWriter<File>,
    session: &SessionInfo,
    config: &Config,
    receipt: bool,
) -> std::io::Result<()> {
    let id = session.id.as_str();
    let policy = config.sessions.policy;
    let record = Record::new(
        id,
        &session.guest_id,
        &session.consent,
        policy,
        &config.controller,
    );
    match receipt {
        true => serde_json::to_writer(&mut *file, &record.receipt(id))?,
        false => serde_json::to_writer(&mut *file, &record)?,
    }
    file.write_all(b"\n")
}
