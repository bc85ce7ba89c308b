//! `consent`: export of consent records, for the controller and for the guests.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use genesys_api::{Clock, SessionId};
use guest_payload::iso27560::Record;
use guest_sessions::ConsentRecords;
use guest_sessions::client::{RestClient, calls};
use guest_store::Store;
use guest_suite::SessionInfo;
use guest_suite::direct::stored_sessions;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::audit::{create_export, open_store, record_export};
use super::remote::{Opened, Source, call};
use super::{Failure, counted, print_line};
use crate::config::{AUDIT, Config};

/// Export consent records
///
/// The fields are those of ISO/IEC TS 27560, as a record for the controller or a receipt for the guest. Neither is legal
/// advice.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the consent records of all sessions to a file
    ///
    /// A running gateway needs the scope audit:read.
    ///
    /// One line with a JSON object per session, in the fields of ISO/IEC TS 27560 and with the [controller] of the
    /// configuration. An erased session has no record; its entries are in the audit log. The file holds personal data and
    /// is readable by its owner only.
    Export {
        #[command(flatten)]
        source: Source,
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
        source,
        out,
        receipts,
        session: only,
    } = command;
    let mut file = create_export(&out)?;
    let unknown = |id: &SessionId| Failure::failed(format!("cannot export: no session {id} in the store"));
    let records = match source.open(AUDIT)? {
        Opened::Stopped(config) => {
            let (config, store) = open_store(config)?;
            if let Some(id) = &only {
                let found = store.session(id).await.map_err(Failure::caused_by)?;
                found.ok_or_else(|| unknown(id))?;
            }
            record_export(&*store, "guest-gateway consent export", "consent.exported").await?;
            Records::Stopped(Box::new(config), store)
        }
        Opened::Running(client) => Records::Running(client),
    };
    let (mut after, mut written) = (None, 0_u64);
    loop {
        let page = records.page(after, receipts).await?;
        for record in page.records {
            if only.as_ref().is_none_or(|only| is_of(&record, only)) {
                file.write(record.get().as_bytes()).map_err(Failure::caused_by)?;
                file.write(b"\n").map_err(Failure::caused_by)?;
                written += 1;
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if let (Some(id), 0) = (&only, written) {
        return Err(unknown(id));
    }
    file.finish().map_err(Failure::caused_by)?;
    let written = match receipts {
        true => counted(written, "receipt", "receipts"),
        false => counted(written, "record", "records"),
    };
    print_line(&format!("{written} exported to {}.", out.display()));
    Ok(())
}

/// The consent records of a gateway.
enum Records {
    Stopped(Box<Config>, Arc<dyn Store>),
    Running(RestClient),
}

impl Records {
    /// Returns a page of records or receipts as JSON.
    async fn page(
        &self,
        after: Option<SessionId>,
        receipts: bool,
    ) -> Result<ConsentRecords<Box<RawValue>>, Failure> {
        let (config, store) = match self {
            Self::Stopped(config, store) => (config, store),
            Self::Running(client) => {
                return call(client, &calls::fetch_consent_records(after.as_ref(), receipts)).await;
            }
        };
        let now = Clock::system().now().utc;
        let sessions = stored_sessions(&**store, after, now)
            .await
            .map_err(Failure::caused_by)?;
        let record = |session: &SessionInfo| {
            let id = session.id.as_str();
            let (policy, controller) = (&config.sessions.policy, &config.controller);
            let record = Record::new(id, &session.guest_id, &session.consent, policy, controller);
            to_raw_value(&if receipts { record.into_receipt(id) } else { record })
        };
        let records = sessions.iter().map(record).collect::<Result<_, _>>();
        Ok(ConsentRecords {
            records: records.map_err(Failure::failed)?,
            next: sessions.last().map(|last| last.id.clone()),
        })
    }
}

fn is_of(record: &RawValue, session: &SessionId) -> bool {
    #[derive(Deserialize)]
    struct Named {
        record_id: String,
    }
    serde_json::from_str(record.get()).is_ok_and(|record: Named| record.record_id == session.as_str())
}
