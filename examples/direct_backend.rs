//! A backend in direct mode: one guest session per question, without a gateway.
//!
//! `GENESYS_DOMAIN` and `DEPLOYMENT` name the deployment. Without them a simulated Genesys Cloud starts here.
#![expect(clippy::disallowed_methods, reason = "a program reads the clock")]
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::env;
use std::error::Error;

use genesys_sim::{Config, Simulator};
use guest_suite::api::Hosts;
use guest_suite::direct::DirectConfig;
use guest_suite::payload::{Choice, Consent, Evidence};
use guest_suite::{GuestSessions, NewGuest};
use time::OffsetDateTime;

const PAGE: &str = "https://shop.example";

/// Creates a session, asks one question in it, and returns the first answer.
async fn ask(sessions: &GuestSessions, question: &str) -> Result<String, Box<dyn Error>> {
    let chosen = Evidence::at(OffsetDateTime::now_utc());
    // marketing, personalization, analytics
    let consent = Consent::together([Choice::Granted, Choice::Granted, Choice::Denied], chosen);
    let guest = NewGuest::new("web".parse()?, "DE".parse()?, consent);
    let mut session = sessions.create(guest).await?;
    session.connect_from(PAGE).await?;
    session.send(question)?;
    let answer = session.next_message().await;
    session.end().await?;
    Ok(answer.ok_or("the conversation ended without an answer")?.text)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (hosts, deployment, _local) = match env::var("GENESYS_DOMAIN") {
        Ok(domain) => (Hosts::of_domain(&domain)?, env::var("DEPLOYMENT")?.parse()?, None),
        Err(_) => {
            println!("SIMULATED: no GENESYS_DOMAIN is set");
            let local = Simulator::start(Config::plain()).await?;
            (
                Hosts::single(local.host()),
                local.deployment_id().clone(),
                Some(local),
            )
        }
    };
    let config = DirectConfig::new(hosts)?.with_channel("web".parse()?, deployment);
    let sessions = GuestSessions::direct(config, "shop").await?;
    println!("{}", ask(&sessions, "Is the blue one in stock?").await?);
    println!("drop-off: {:?}", sessions.metrics().await?.drop_off);
    Ok(())
}
