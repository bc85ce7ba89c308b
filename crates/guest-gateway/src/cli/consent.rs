//! `consent`: export of consent records, for the controller and for the guests.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use clap::Subcommand;
use genesys_api::{Clock, SessionId};
use guest_payload::iso27560::Record;
use guest_suite::SessionInfo;
use guest_suite::direct::stored_sessions;

use super::audit::{open_store, record_export};
use super::{Failure, print_line};
use crate::config::Config;

/// Export consent records
///
/// The fields are those of ISO/IEC TS 27560, as a record for the controller or a receipt for the guest. Neither is legal
/// advice.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the consent records of a stopped gateway's store to a file
    ///
    /// One line with a JSON object per session, in the fields of ISO/IEC TS 27560 and with the [controller] of the
    /// configuration. An erased session has no record; its entries are in the audit log. The file holds personal data and
    /// is readable by its owner only.
    Export {
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
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Export {
        config,
        out,
        receipts,
        session: only,
    } = command;
    let (config, store) = open_store(&config)?;
    let name = out.display();
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&out);
    let file = file.map_err(|error| {
        Failure::usage(format!(
            "cannot create {name}: {error}; use another name with --out"
        ))
    })?;
    record_export(&store, "guest-gateway consent export", "consent.exported").await?;
    let unwritten = |error: std::io::Error| Failure::failed(format!("cannot write {name}: {error}"));
    let mut file = BufWriter::new(file);
    let now = Clock::system().now().utc;
    let (mut after, mut written) = (None, 0_u64);
    loop {
        let sessions = stored_sessions(&store, after, now)
            .await
            .map_err(Failure::caused_by)?;
        let Some(last) = sessions.last() else { break };
        after = Some(last.id.clone());
        for session in &sessions {
            if only.as_ref().is_none_or(|only| *only == session.id) {
                write(&mut file, session, &config, receipts).map_err(unwritten)?;
                written += 1;
            }
        }
    }
    let file = file.into_inner().map_err(|error| unwritten(error.into_error()))?;
    file.sync_all().map_err(unwritten)?;
    if let (Some(id), 0) = (&only, written) {
        return Err(Failure::failed(format!(
            "cannot export: no session {id} in the store"
        )));
    }
    let what = if receipts { "receipts" } else { "records" };
    print_line(&format!("{written} {what} exported to {name}."));
    Ok(())
}

fn write(
    file: &mut BufWriter<File>,
    session: &SessionInfo,
    config: &Config,
    receipt: bool,
) -> std::io::Result<()> {
    let id = session.id.as_str();
    let (policy, controller) = (config.sessions.policy, &config.controller);
    let record = Record::new(id, &session.guest_id, &session.consent, policy, controller);
    match receipt {
        true => serde_json::to_writer(&mut *file, &record.into_receipt(id))?,
        false => serde_json::to_writer(&mut *file, &record)?,
    }
    file.write_all(b"\n")
}
