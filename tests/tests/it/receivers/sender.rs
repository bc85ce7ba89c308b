//! A sender of one delivery, and its outcome.

use std::net::SocketAddr;

use bytes::Bytes;
use genesys_api::Clock;
use genesys_http::{Client, Egress, Tls};
use guest_suite::webhook::{
    Attempt, CustomHeaders, DisableReason, Dispatcher, EndpointHealth, Failure, MessageId, NextStep, Outcome,
    Secret,
};

use Expected::{Delivered, Disabled, Failed, Paused, Retried};

use crate::page::soon;

const BODY: &[u8] = br#"{"type":"webmessaging.guestsession.created"}"#;

/// The next step after an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expected {
    Delivered(u16),
    Disabled,
    Failed(Failure),
    /// Retried at the next step of the schedule.
    Retried(u16),
    /// Retried after this pause of the endpoint, in seconds.
    Paused(u16, u64),
}

pub(crate) struct Sender {
    pub(crate) clock: Clock,
    dispatcher: Dispatcher,
}

impl Sender {
    pub(crate) fn new(tls: Tls) -> Self {
        let clock = Clock::system();
        let loopback = Egress::PublicOnly {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
        };
        Self {
            dispatcher: Dispatcher::new(Client::builder(tls).egress(loopback).clock(clock.clone())),
            clock,
        }
    }

    pub(crate) async fn deliver(&self, scheme: &str, address: SocketAddr) -> Expected {
        let attempt = Attempt {
            id: &MessageId::generate([1; 16]),
            target: &format!("{scheme}://{address}/hook").parse().unwrap(),
            headers: &CustomHeaders::parse([("x-source", "test")]).unwrap(),
            secret: &Secret::generate([2; 32]),
            old_secrets: &[],
            body: Bytes::from_static(BODY),
        };
        let outcome = soon(self.dispatcher.deliver(&attempt)).await;
        let now = self.clock.now().utc;
        let next = EndpointHealth::default().handle_outcome(self.dispatcher.schedule(), 1, &outcome, now, 0);
        match (outcome, next) {
            (Outcome::Answered { status, .. }, NextStep::Delivered) => Delivered(status.as_u16()),
            (Outcome::Answered { .. }, NextStep::DisableEndpoint(DisableReason::Gone)) => Disabled,
            (Outcome::Answered { status, .. }, NextStep::RetryAt { pause_until, .. }) => match pause_until {
                Some(until) => Paused(status.as_u16(), (until - now).whole_seconds().unsigned_abs()),
                None => Retried(status.as_u16()),
            },
            (Outcome::Failed(failure), NextStep::RetryAt { .. }) => Failed(failure),
            other => panic!("{other:?}"),
        }
    }
}
