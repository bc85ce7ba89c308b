//! A sender of an application's own events: signed, retried by the schedule, with the health of the endpoint.
//!
//! `WEBHOOK_TARGET` is the URL of a receiver, `WEBHOOK_SECRET` its secret.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program reads the clock and prints"
)]

use std::{env, error::Error};

use genesys_http::{Client, Egress, Tls};
use time::OffsetDateTime;
use webhook::{Attempt, CustomHeaders, Dispatcher, EndpointHealth, MessageId, NextStep};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let allow = vec!["127.0.0.0/8".parse()?]; // beside public addresses
    let dispatcher = Dispatcher::new(Client::builder(Tls::system()?).egress(Egress::PublicOnly { allow }));
    let attempt = Attempt {
        id: &MessageId::generate(fastrand::u128(..).to_be_bytes()),
        target: &env::var("WEBHOOK_TARGET")?.parse()?,
        headers: &CustomHeaders::default(),
        secret: &env::var("WEBHOOK_SECRET")?.parse()?,
        old_secrets: &[],
        body: r#"{"type":"invoice.paid","timestamp":"2026-12-01T12:00:00Z","data":{"id":"in_1"}}"#.into(),
    };
    let (mut health, mut number) = (EndpointHealth::default(), 1);
    loop {
        let outcome = dispatcher.deliver(&attempt).await;
        let now = OffsetDateTime::now_utc();
        match health.handle_outcome(dispatcher.schedule(), number, &outcome, now, fastrand::u64(..)) {
            NextStep::RetryAt { at, .. } => tokio::time::sleep((at - now).try_into()?).await,
            step => {
                println!("{step:?}");
                return Ok(());
            }
        }
        number += 1;
    }
}
