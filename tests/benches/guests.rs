//! Guests of the measured process, and the simulated agent that they talk to.

use std::time::Duration;

use genesys_sim::{Config, Limits, Pki, Simulator, Tls};
use guest_conversation::{DeliveryStatus, Event, SessionEvent};
use guest_suite::{GuestSession, GuestSessions};
use tokio::task::JoinSet;
use ws_transport::{AdmittedOrigin, OriginPolicy};

use crate::gateway::{ORIGIN, guest};
use crate::process::Outcome;

/// Sessions that are opened at once.
const AT_ONCE: usize = 8;
/// Longest wait for one guest's conversation.
const DEADLINE: Duration = Duration::from_secs(20);

/// Starts a simulator without Genesys' limits, which would delay the load.
pub(crate) async fn unlimited_simulator(pki: &Pki) -> Outcome<Simulator> {
    let mut config = Config {
        tls: Tls::Given(pki.clone()),
        ..Config::default()
    };
    config.rules.limits = Limits::none();
    Ok(Simulator::start(config).await?)
}

/// Opens sessions until there are `count`.
pub(crate) async fn open_sessions(
    suite: &GuestSessions,
    guests: &mut Vec<GuestSession>,
    count: usize,
) -> Outcome<()> {
    let page = OriginPolicy::new([ORIGIN])?.admit_own(&ORIGIN.parse()?)?;
    let mut opening = JoinSet::new();
    while guests.len() < count {
        while opening.len() < AT_ONCE.min(count - guests.len()) {
            let session = open_session(suite.clone(), page.clone());
            opening.spawn(tokio::time::timeout(DEADLINE, session));
        }
        if let Some(opened) = opening.join_next().await {
            guests.push(opened???);
        }
    }
    Ok(())
}

/// One guest, who sends a message and reads the reply.
async fn open_session(suite: GuestSessions, page: AdmittedOrigin) -> Outcome<GuestSession> {
    let mut session = suite.create(guest()?).await?;
    session.connect(page).await?;
    exchange(&mut session).await?;
    Ok(session)
}

/// Sends a message, and reads its delivery and the reply.
pub(crate) async fn exchange(session: &mut GuestSession) -> Outcome<()> {
    session.send("Is the blue one back in stock?")?;
    let (mut accepted, mut answered) = (false, false);
    while !(accepted && answered) {
        match session.next_event().await {
            Some(Event::Delivery {
                status: DeliveryStatus::Delivered { .. },
                ..
            }) => accepted = true,
            Some(Event::Message(_)) => answered = true,
            Some(Event::Delivery {
                status: DeliveryStatus::Queued | DeliveryStatus::Sending,
                ..
            }) => {}
            Some(Event::Session(SessionEvent::Typing { .. })) => {}
            other => return Err(format!("expected an answer, got {other:?}").into()),
        }
    }
    Ok(())
}
