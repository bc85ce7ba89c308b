//! Samples for the scenarios.

use audit::{Actor, Draft, Pseudonym};
use genesys_api::parse_rfc3339;
use secrecy::ExposeSecret;
use time::OffsetDateTime;

use crate::{
    Change, DeliveryAttempt, Event, Leased, Pace, Session, SessionSecrets, Settled, Settlement, Store,
    StoreErrorKind, TokenHash, Unit, Webhook,
};

/// The moment at which all samples are made, so many seconds later.
pub(crate) fn at(seconds: i64) -> OffsetDateTime {
    parse_rfc3339("2026-11-22T12:30:00.123Z").expect("a valid time") + time::Duration::seconds(seconds)
}

pub(crate) fn session(id: &str, owner: &str, guest: &str) -> Session {
    Session {
        id: id.parse().expect("a valid id"),
        owner: owner.to_owned(),
        guest: guest.parse().expect("a valid id"),
        channel: "channel-1".parse().expect("a valid id"),
        created_at: at(0),
        expires_at: at(900),
        idle_deadline: at(86_400),
        ended_at: None,
        access: TokenHash::of("access"),
        refresh: TokenHash::of("refresh"),
        previous_refresh: None,
        generation: 0,
        version: 0,
        secrets: SessionSecrets {
            genesys_token: format!("canary-secret-{id}").into(),
            ..SessionSecrets::random()
        },
        document: format!("canary-document-{id}").into(),
    }
}

pub(crate) fn webhook(id: &str, owner: &str, name: &str, events: &[&str]) -> Webhook {
    Webhook {
        id: id.parse().expect("a valid id"),
        name: name.to_owned(),
        owner: owner.to_owned(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        enabled: true,
        ordered: false,
        failing_since: None,
        failures: 0,
        rest_until: None,
        version: 0,
        secrets: format!("canary-key-{id}").into(),
        document: format!("canary-header-{id}").into(),
    }
}

pub(crate) fn attempt(seconds: i64) -> DeliveryAttempt {
    DeliveryAttempt {
        at: at(seconds),
        latency: std::time::Duration::from_millis(7),
        status: Some(500),
        error: None,
        response: "canary-response".into(),
    }
}

pub(crate) fn settlement(leased: &Leased, settled: Settled) -> Settlement {
    Settlement {
        delivery: leased.id.clone(),
        fence: leased.fence,
        at: at(30),
        settled,
        pace: Pace::Same,
        rest_until: None,
        disable_webhook: false,
        attempt: None,
    }
}

pub(crate) fn event(id: &str, owner: &str, name: &str) -> Event {
    Event {
        id: id.to_owned(),
        owner: owner.to_owned(),
        session: "s-1".parse().expect("a valid id"),
        sequence: 1,
        name: name.to_owned(),
        at: at(0),
    }
}

pub(crate) fn draft(subject: &str) -> Draft {
    Draft::new(at(0), Actor::client("spa"), "session.created")
        .subject(Pseudonym::of(&[5; 32], subject))
        .detail("sample", true)
}

/// A draft that has no canonical form.
pub(super) fn bad_draft() -> Draft {
    draft("x").detail("too large", u64::MAX)
}

pub(super) fn unit(change: Change) -> Unit {
    Unit {
        change: Some(change),
        ..Unit::default()
    }
}

pub(crate) fn removal(session: &str) -> Unit {
    unit(Change::RemoveSession {
        id: session.parse().expect("a valid id"),
        at: at(0),
    })
}

pub(super) fn events(events: Vec<Event>) -> Unit {
    Unit {
        events,
        ..Unit::default()
    }
}

/// Stores sessions that have ended, in which version 1 is the creation.
pub(super) async fn store_sessions(store: &dyn Store, ids: &[&str]) {
    for id in ids {
        let mut ended = session(id, "o", id);
        ended.ended_at = Some(at(0));
        stored(store, unit(Change::CreateSession(ended))).await;
    }
}

/// Stores a unit that must be stored.
pub(crate) async fn stored(store: &dyn Store, unit: Unit) {
    store.commit(unit).await.expect("the unit is stored");
}

/// Commits a unit that must be refused, and returns the kind of its error.
pub(super) async fn refused(store: &dyn Store, unit: Unit) -> StoreErrorKind {
    store.commit(unit).await.expect_err("the unit is refused").kind()
}

/// All fields of a session, for comparisons.
pub(crate) fn whole(session: &Session) -> impl PartialEq + std::fmt::Debug {
    (
        (
            session.id.clone(),
            session.owner.clone(),
            session.guest.clone(),
            session.channel.clone(),
        ),
        (
            session.created_at,
            session.expires_at,
            session.idle_deadline,
            session.ended_at,
        ),
        (
            *session.access.as_bytes(),
            *session.refresh.as_bytes(),
            session.previous_refresh.map(|hash| *hash.as_bytes()),
        ),
        (session.generation, session.version),
        (
            session.secrets.genesys_token.expose_secret().to_owned(),
            session.secrets.subject_key,
            session
                .secrets
                .refresh_token
                .as_ref()
                .map(|token| token.expose_secret().to_owned()),
            session.document.clone(),
        ),
    )
}
