//! `guest`: requests of a data subject.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use audit::Actor;
use clap::Subcommand;
use genesys_api::{GuestId, Hosts, SessionId, rfc3339};
use genesys_auth::AuthorizedError;
use guest_sessions::client::{RestClient, calls};
use guest_sessions::{ErasedGuest, ErasureKey, ErrorCode, GuestReport, HeldSession};
use guest_store::StoreErrorKind;
use guest_suite::Error;
use guest_suite::direct::{Direct, DirectConfig, GuestRequest};

use super::audit::open_store;
use super::remote::{Opened, Source, call, refused};
use super::{Failure, counted, note, print_line};
use crate::config::GUESTS;
use crate::private_file;

/// Show, export or erase the data of a guest
///
/// A stopped gateway's store has the sessions of all API clients. A running gateway shows those of the API client whose
/// credentials are given, with the scope guests:manage. Each command is recorded in the audit log.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the sessions of a guest, the consent, and the recipients
    Show {
        /// The guest's id
        #[arg(long, value_name = "ID")]
        guest: GuestId,
        #[command(flatten)]
        source: Source,
    },
    /// Write the data of a guest to a JSON file
    ///
    /// The file holds personal data and is readable by its owner only.
    Export {
        /// The guest's id
        #[arg(long, value_name = "ID")]
        guest: GuestId,
        /// The file to create; it must not exist
        #[arg(long, value_name = "FILE", default_value = "guest.json")]
        out: PathBuf,
        #[command(flatten)]
        source: Source,
    },
    /// Erase every session of a guest, and print the proof
    ///
    /// Live sessions are ended, keys overwritten, and webhooks get an `erased` event. The audit log keeps its entries without
    /// a link to the guest. Backups that were made before still hold the guest: delete them after their
    /// retention, and erase the guest again after a backup was restored.
    ///
    /// Without --key a key is chosen, and printed on stderr before anything is erased. With the same guest, key and
    /// --config or --url the command erases what remains, and prints the proof again. Newer sessions of the guest stay.
    Erase {
        /// The guest's id
        #[arg(long, value_name = "ID")]
        guest: GuestId,
        /// The key of an erasure that failed or whose proof was lost
        #[arg(long)]
        key: Option<ErasureKey>,
        #[command(flatten)]
        source: Source,
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show { guest, source } => {
            let reports = Reports::open(&source, &guest, "guest-gateway guest show").await?;
            let mut after = None;
            loop {
                let page = reports.page(after).await?;
                let printed = page.sessions.iter().flat_map(lines);
                printed.for_each(|line| print_line(&line));
                after = page.next;
                if after.is_none() {
                    return Ok(());
                }
            }
        }
        Command::Export { guest, out, source } => export(&source, &guest, &out).await,
        Command::Erase { guest, key, source } => {
            let erased = erase(&source, &guest, key).await?;
            for record in &erased.sessions {
                let id = record
                    .id
                    .as_ref()
                    .map_or("of an earlier request", |id| id.as_str());
                let (seq, leaf) = (record.seq, &record.leaf);
                print_line(&format!("session {id} erased: audit entry {seq}, leaf {leaf}"));
            }
            print_line(&format!(
                "Erase the guest in backups too: delete them after their retention.\nKeep this checkpoint, which covers \
                 the entries:\n\n{}",
                erased.checkpoint.trim_end()
            ));
            Ok(())
        }
    }
}

/// The pages of what a gateway holds about a guest.
enum Reports<'a> {
    Stopped(Box<Direct>, GuestRequest),
    Running(RestClient, &'a GuestId),
}

impl<'a> Reports<'a> {
    async fn open(source: &Source, guest: &'a GuestId, command: &'static str) -> Result<Self, Failure> {
        match source.open(GUESTS)? {
            Opened::Stopped(config) => {
                let (direct, request) = stopped(config, guest, command).await?;
                Ok(Self::Stopped(Box::new(direct), request))
            }
            Opened::Running(client) => Ok(Self::Running(client, guest)),
        }
    }

    async fn page(&self, after: Option<SessionId>) -> Result<GuestReport, Failure> {
        match self {
            Self::Stopped(direct, request) => direct
                .guest_report(request, after)
                .await
                .map_err(|error| failed(&request.guest, error)),
            Self::Running(client, guest) => call(client, &calls::fetch_guest(guest, after.as_ref())).await,
        }
    }
}

async fn export(source: &Source, guest: &GuestId, out: &Path) -> Result<(), Failure> {
    let name = out.display();
    if out.exists() {
        return Err(Failure::usage(format!(
            "cannot create {name}: it exists; use another name with --out, or remove it"
        )));
    }
    let reports = Reports::open(source, guest, "guest-gateway guest export").await?;
    let mut report = reports.page(None).await?;
    while let Some(after) = report.next.take() {
        let page = reports.page(Some(after)).await?;
        report.sessions.extend(page.sessions);
        report.next = page.next;
    }
    let mut text = serde_json::to_string_pretty(&report).expect("a report is plain data with text keys");
    text.push('\n');
    let written = private_file::create(out).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| Failure::failed(format!("cannot write {name}: {error}")))?;
    let sessions = counted(report.sessions.len(), "session", "sessions");
    print_line(&format!("{sessions} exported to {name}."));
    Ok(())
}

async fn erase(source: &Source, guest: &GuestId, key: Option<ErasureKey>) -> Result<ErasedGuest, Failure> {
    let is_new = key.is_none();
    let key = key.unwrap_or_else(ErasureKey::random);
    let announce = || {
        if is_new {
            note(&format!("Key of this erasure: {}.", key.as_key().as_str()));
        }
    };
    let (failure, may_have_erased) = match source.open(GUESTS)? {
        Opened::Stopped(config) => {
            let (direct, request) = stopped(config, guest, "guest-gateway guest erase").await?;
            announce();
            match direct.erase_guest(&request, &key).await {
                Ok(erased) => return Ok(erased),
                Err(error) => {
                    // rows that cannot be read are found before anything is erased
                    let may_have_erased = match &error {
                        Error::Store(error) => !matches!(error.kind(), StoreErrorKind::Unreadable { .. }),
                        _ => false,
                    };
                    (failed(guest, error), may_have_erased)
                }
            }
        }
        Opened::Running(client) => {
            announce();
            match client.call(&calls::erase_guest(guest, &key)).await {
                Ok(erased) => return Ok(erased),
                Err(error) => {
                    let may_have_erased =
                        matches!(&error, AuthorizedError::Call(error) if error.is_outcome_unknown());
                    (refused(client.host(), error), may_have_erased)
                }
            }
        }
    };
    if !may_have_erased {
        return Err(failure);
    }
    let (message, key) = (&failure.message, key.as_key().as_str());
    Err(Failure::failed(format!(
        "{message}; sessions may be erased already, repeat the command with --key {key} to erase the rest and have the proof"
    )))
}

/// The sessions of a stopped gateway, and a request about those of all API clients.
async fn stopped(
    config: &Path,
    guest: &GuestId,
    command: &'static str,
) -> Result<(Direct, GuestRequest), Failure> {
    let (gateway, store) = open_store(config)?;
    // nothing is sent to Genesys
    let hosts = Hosts::of_domain("mypurecloud.com").map_err(Failure::failed)?;
    let mut config = DirectConfig::with_store(hosts, store).map_err(Failure::caused_by)?;
    config.rules.policy = gateway.sessions.policy;
    let request = GuestRequest {
        guest: guest.clone(),
        owner: None,
        actor: Actor::operator(command),
    };
    Ok((Direct::open(config).await.map_err(Failure::caused_by)?, request))
}

fn failed(guest: &GuestId, error: Error) -> Failure {
    match error {
        Error::Refused(ErrorCode::NotFound) => Failure::failed(format!(
            "cannot find the guest {guest}: no session in the store; an erased guest has none"
        )),
        error => Failure::caused_by(error),
    }
}

/// A session for a person.
fn lines(held: &HeldSession) -> Vec<String> {
    let session = &held.session;
    let state = serde_json::to_value(session.state).unwrap_or_default();
    let mut lines = vec![format!(
        "session {} {} created {} channel {}",
        session.id,
        state.as_str().unwrap_or_default(),
        rfc3339(session.created_at),
        held.channel_configuration_id,
    )];
    for (name, value) in held.guest_attributes.iter() {
        lines.push(format!("  attribute {name:?}: {value:?}"));
    }
    for entry in &held.consent_history {
        let mut line = format!("  {} {} (entry {})", rfc3339(entry.time), entry.action, entry.seq);
        for (name, value) in &entry.details {
            line.push_str(&format!(" {name}={value}"));
        }
        lines.push(line);
    }
    for recipient in &held.recipients {
        let names = |names: &BTreeSet<String>| {
            names
                .iter()
                .map(|name| format!("{name:?}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        lines.push(format!(
            "  received by {} {}, {} to {}: fields {}; attributes {}; purposes {}",
            recipient.recipient,
            counted(recipient.count, "time", "times"),
            rfc3339(recipient.first),
            rfc3339(recipient.last),
            names(&recipient.fields),
            names(&recipient.attributes),
            names(&recipient.purposes),
        ));
    }
    lines
}
