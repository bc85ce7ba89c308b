//! Counters of a cloud.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counters since the start.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Counters {
    /// Handshakes accepted.
    pub connections: u64,
    /// Handshakes refused, for their origin or a limit.
    pub refused: u64,
    /// Sockets open now.
    pub open: u64,
    /// Conversations started.
    pub sessions: u64,
    /// Sessions alive now.
    pub alive: u64,
    /// Sessions expired.
    pub expired: u64,
    /// Sockets closed because their session had too many, or by a fault.
    pub evicted: u64,
    /// Messages of guests, without events.
    pub guest_messages: u64,
    /// Messages and departures of agents.
    pub agent_messages: u64,
    /// Agent messages for which the session had no open socket.
    pub undelivered: u64,
    /// Frames and requests over a rate limit.
    pub rate_limited: u64,
    /// Access tokens issued to the API client.
    pub tokens: u64,
    /// Pages of history read.
    pub histories: u64,
    /// Files uploaded by guests.
    pub uploads: u64,
    /// Events pushed to notification channels.
    pub notifications: u64,
    /// Number of times that each kind of fault happened, by its name.
    pub faults: BTreeMap<&'static str, u64>,
}
