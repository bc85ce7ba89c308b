//! `webhook`: the webhooks of an API client.

use clap::Subcommand;
use genesys_api::WebhookId;
use guest_sessions::Webhook;
use guest_sessions::client::{RestClient, calls};

use super::remote::{Gateway, call};
use super::{Failure, note, print_line};
use crate::config::WEBHOOKS;

/// Show and operate the webhooks of an API client
///
/// Each command asks a running gateway, with the credentials of the API client and the scope webhooks:readwrite. A webhook is
/// given by its id or its name.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print id, state, name and URL of each webhook
    List {
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Give a webhook a new secret, and print it
    ///
    /// Deliveries are signed with the replaced secret too for 24 hours. Give the new one to the receiver meanwhile.
    Rotate {
        /// The webhook's id or name
        webhook: String,
        #[command(flatten)]
        gateway: Gateway,
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { gateway } => {
            let client = gateway.connect(WEBHOOKS)?;
            for webhook in call(&client, &calls::list_webhooks()).await? {
                let subscription = &webhook.subscription;
                let state = if subscription.enabled {
                    "enabled"
                } else {
                    "disabled"
                };
                print_line(&format!(
                    "{} {state} {:?} {}",
                    webhook.id,
                    subscription.name.as_str(),
                    subscription.target.as_str()
                ));
            }
        }
        Command::Rotate { webhook, gateway } => {
            let client = gateway.connect(WEBHOOKS)?;
            let id = find(&client, &webhook).await?.id;
            let secret = call(&client, &calls::rotate_webhook_secret(&id)).await?;
            note("The replaced secret signs too for 24 hours. The new one is shown only now:");
            print_line(secret.expose());
        }
    }
    Ok(())
}

/// The webhook of an id or a name.
async fn find(client: &RestClient, wanted: &str) -> Result<Webhook, Failure> {
    let mut webhooks = call(client, &calls::list_webhooks()).await?;
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
        Some(found) => Ok(webhooks.swap_remove(found)),
        None => Err(Failure::usage(format!(
            "cannot find the webhook {wanted:?}: the API client has none of this id or name, `webhook list` prints them"
        ))),
    }
}
