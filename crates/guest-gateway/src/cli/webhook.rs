//! `webhook`: the webhooks of an API client.

use clap::{Args, Subcommand};
use genesys_api::{GuestId, SessionId, WebhookId, parse_rfc3339, rfc3339};
use guest_sessions::client::{RestClient, calls};
use guest_sessions::{
    DeliveryInfo, DeliveryPageQuery, DeliveryState, PreviewBody, ReplayBody, Replayed, Webhook, WebhookStatus,
};
use time::OffsetDateTime;

use super::remote::{Gateway, call};
use super::{Failure, counted, note, print_line};
use crate::config::WEBHOOKS;

/// Show and operate the webhooks of an API client
///
/// Each command asks a running gateway, with the credentials of the API client and the scope webhooks:readwrite. A webhook is
/// given by its id or its name.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print id, state, queue, name and URL of each webhook
    List {
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Print the health of a webhook, what waits for it, and its last attempt
    Show {
        /// The webhook's id or name
        webhook: String,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Print the deliveries of a webhook, or one delivery with its attempts
    Deliveries {
        /// The webhook's id or name
        webhook: String,
        /// The id of one delivery: `webhook-id` at the receiver
        #[arg(long, value_name = "ID", conflicts_with = "state")]
        id: Option<String>,
        /// Only those in this state: waiting, delivered or dead
        #[arg(long)]
        state: Option<DeliveryState>,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Send dead deliveries again, or one delivery
    ///
    /// Each has the same id as before, so that a receiver drops what it has.
    Replay {
        /// The webhook's id or name
        webhook: String,
        /// The id of one delivery, dead or delivered
        #[arg(long, value_name = "ID", conflicts_with = "since")]
        id: Option<String>,
        /// Only dead deliveries of events at this RFC 3339 time or later
        #[arg(long, value_name = "TIME", value_parser = time_of)]
        since: Option<OffsetDateTime>,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Send a test event to a webhook, and print the answer
    Test {
        /// The webhook's id or name
        webhook: String,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Print what a webhook would be sent of a session now; nothing is sent
    ///
    /// It is the body of an `updated` event. To try conditions and fields before anything is sent, register the webhook with
    /// `enabled` false, and resume it then.
    Preview {
        /// The webhook's id or name
        webhook: String,
        #[command(flatten)]
        subject: Subject,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Give a webhook a new secret, and print it, or the new public key
    ///
    /// Deliveries are signed with the replaced secret too for 24 hours. Give the new one to the receiver meanwhile.
    Rotate {
        /// The webhook's id or name
        webhook: String,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Send nothing more to a webhook; its events wait for up to 7 days
    Pause {
        /// The webhook's id or name
        webhook: String,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Send to a paused or disabled webhook again, at first what waits
    Resume {
        /// The webhook's id or name
        webhook: String,
        #[command(flatten)]
        gateway: Gateway,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Subject {
    /// The id of a session of the API client
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// The id of a guest, for the latest session
    #[arg(long, value_name = "ID")]
    guest: Option<GuestId>,
}

fn time_of(text: &str) -> Result<OffsetDateTime, &'static str> {
    parse_rfc3339(text).ok_or("give an RFC 3339 time with an offset, as in 2026-11-22T12:30:00Z")
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { gateway } => {
            let client = gateway.connect(WEBHOOKS)?;
            for webhook in call(&client, &calls::list_webhooks()).await? {
                print_line(&line(&webhook));
            }
        }
        Command::Show { webhook, gateway } => {
            let (_, webhook) = found(&gateway, &webhook).await?;
            print_line(&line(&webhook));
            if let Some(key) = webhook.public_key {
                print_line(&format!("  public key: {key}"));
            }
            if webhook.subscription.ordered {
                print_line("  ordered: the events of a session are sent one after another");
            }
            webhook
                .status
                .iter()
                .flat_map(lines)
                .for_each(|line| print_line(&line));
        }
        Command::Deliveries {
            webhook,
            id,
            state,
            gateway,
        } => {
            let (client, webhook) = found(&gateway, &webhook).await?;
            match id {
                Some(id) => {
                    let delivery = call(&client, &calls::fetch_delivery(&webhook.id, &id)).await?;
                    print_delivery(&delivery);
                }
                None => print_deliveries(&client, &webhook.id, state).await?,
            }
        }
        Command::Replay {
            webhook,
            id,
            since,
            gateway,
        } => {
            let (client, webhook) = found(&gateway, &webhook).await?;
            let Replayed { replayed, remaining } = match id {
                Some(id) => call(&client, &calls::replay_delivery(&webhook.id, &id)).await?,
                None => {
                    call(
                        &client,
                        &calls::replay_deliveries(&webhook.id, ReplayBody { since }),
                    )
                    .await?
                }
            };
            print_line(&format!(
                "{} sent again.",
                counted(replayed, "delivery is", "deliveries are")
            ));
            if remaining > 0 {
                note(&format!(
                    "{remaining} remain dead, as the queue is full: repeat the command when it is shorter"
                ));
            }
        }
        Command::Test { webhook, gateway } => {
            let (client, webhook) = found(&gateway, &webhook).await?;
            let attempt = call(&client, &calls::test_webhook(&webhook.id)).await?;
            print_line(&attempt.to_string());
            attempt.response.iter().for_each(|response| print_line(response));
            if !attempt.status.is_some_and(|status| (200..300).contains(&status)) {
                return Err(Failure::failed(
                    "the receiver did not accept the test event: it must answer with 2xx",
                ));
            }
        }
        Command::Preview {
            webhook,
            subject,
            gateway,
        } => preview(&gateway, &webhook, subject).await?,
        Command::Rotate { webhook, gateway } => rotate(&gateway, &webhook).await?,
        Command::Pause { webhook, gateway } => {
            let (client, webhook) = found(&gateway, &webhook).await?;
            call(&client, &calls::pause_webhook(&webhook.id)).await?;
            print_line("Paused. Its events wait for up to 7 days.");
        }
        Command::Resume { webhook, gateway } => {
            let (client, webhook) = found(&gateway, &webhook).await?;
            call(&client, &calls::resume_webhook(&webhook.id)).await?;
            print_line("Resumed. What waits for it is sent first.");
        }
    }
    Ok(())
}

async fn preview(gateway: &Gateway, webhook: &str, subject: Subject) -> Result<(), Failure> {
    let session = subject.session.map(PreviewBody::Session);
    let of = session.or(subject.guest.map(PreviewBody::Guest));
    let of = of.expect("the arguments have one of them");
    let (client, webhook) = found(gateway, webhook).await?;
    let preview = call(&client, &calls::preview_webhook(&webhook.id, &of)).await?;
    match preview.body {
        Some(body) => print_line(&format!("{body:#}")),
        None => print_line("Nothing: the session does not meet the conditions of the webhook."),
    }
    Ok(())
}

async fn rotate(gateway: &Gateway, webhook: &str) -> Result<(), Failure> {
    let (client, webhook) = found(gateway, webhook).await?;
    let rotated = call(&client, &calls::rotate_webhook_secret(&webhook.id)).await?;
    match (rotated.secret, rotated.public_key) {
        (Some(secret), _) => {
            note("The replaced secret signs too for 24 hours. The new one is shown only now:");
            print_line(secret.expose());
        }
        (None, key) => {
            note("The replaced key signs too for 24 hours. The new public key:");
            key.iter().for_each(|key| print_line(&key.to_string()));
        }
    }
    Ok(())
}

/// A client of the gateway, and the webhook of an id or a name.
async fn found(gateway: &Gateway, wanted: &str) -> Result<(RestClient, Webhook), Failure> {
    let client = gateway.connect(WEBHOOKS)?;
    let mut webhooks = call(&client, &calls::list_webhooks()).await?;
    let id = wanted.parse::<WebhookId>().ok();
    let by_id = webhooks
        .iter()
        .position(|webhook| Some(&webhook.id) == id.as_ref());
    let by_name = || {
        webhooks
            .iter()
            .position(|webhook| webhook.subscription.name.as_str() == wanted)
    };
    match by_id.or_else(by_name) {
        Some(found) => Ok((client, webhooks.swap_remove(found))),
        None => Err(Failure::usage(format!(
            "cannot find the webhook {wanted:?}: the API client has none of this id or name, `webhook list` prints them"
        ))),
    }
}

fn line(webhook: &Webhook) -> String {
    let subscription = &webhook.subscription;
    let status = webhook.status.as_ref();
    let status =
        status.map(|status| format!("{} waiting {}", status.state, status.waiting + status.snapshots));
    format!(
        "{} {} {:?} {}",
        webhook.id,
        status.unwrap_or_default(),
        subscription.name.as_str(),
        subscription.target.as_str()
    )
}

/// The health of a webhook for a person.
fn lines(status: &WebhookStatus) -> Vec<String> {
    let events = counted(status.waiting, "event", "events");
    let snapshots = counted(status.snapshots, "snapshot or erasure", "snapshots and erasures");
    let mut lines = match status.waiting + status.snapshots {
        0 => vec!["  waiting: none".to_owned()],
        _ => vec![format!(
            "  waiting: {events}, {snapshots}, the oldest for {} s",
            status.lag_seconds
        )],
    };
    if let Some(since) = status.failing_since {
        let failures = counted(status.failures, "failure", "failures");
        lines.push(format!("  failing since {}, {failures}", rfc3339(since)));
    }
    if let Some(until) = status.resting_until {
        lines.push(format!(
            "  resting until {}, as the receiver asked",
            rfc3339(until)
        ));
    }
    if let Some(attempt) = &status.last_attempt {
        lines.push(format!("  last attempt: {attempt}"));
    }
    if let Some(at) = status.last_success_at {
        lines.push(format!("  last success: {}", rfc3339(at)));
    }
    lines
}

async fn print_deliveries(
    client: &RestClient,
    webhook: &WebhookId,
    state: Option<DeliveryState>,
) -> Result<(), Failure> {
    for state in DeliveryState::ALL
        .into_iter()
        .filter(|one| state.is_none_or(|state| state == *one))
    {
        let mut query = DeliveryPageQuery { state, after: None };
        loop {
            let page = call(client, &calls::list_deliveries(webhook, query)).await?;
            page.deliveries
                .iter()
                .for_each(|delivery| print_line(&delivery_line(delivery)));
            query.after = page.next.as_deref().and_then(DeliveryPageQuery::parse_place);
            if query.after.is_none() || super::is_output_closed() {
                break;
            }
        }
    }
    Ok(())
}

fn delivery_line(delivery: &DeliveryInfo) -> String {
    let session = delivery
        .session_id
        .as_ref()
        .map_or("-", |session| session.as_str());
    let range = match (delivery.first, delivery.last) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first} to {last}"),
    };
    let last = match (delivery.attempts.last(), &delivery.waits_for) {
        (Some(attempt), _) => format!(": {attempt}"),
        (None, Some(earlier)) => format!(", waits for {earlier}"),
        (None, None) => String::new(),
    };
    format!(
        "{} {} {} {} session {session}, sequence {range}, {}{}",
        delivery.id,
        delivery.state,
        rfc3339(delivery.timestamp),
        delivery.event,
        counted(delivery.attempts.len(), "attempt", "attempts"),
        last
    )
}

fn print_delivery(delivery: &DeliveryInfo) {
    print_line(&delivery_line(delivery));
    for attempt in &delivery.attempts {
        print_line(&format!("  {attempt}"));
        let response = attempt.response.as_deref().unwrap_or_default();
        response
            .lines()
            .for_each(|line| print_line(&format!("    {line}")));
    }
    if let Some(at) = delivery.next_attempt_at {
        print_line(&format!("  next attempt: {}", rfc3339(at)));
    }
}
