//! Connections of one process that share a limiter.

use std::num::NonZeroU32;
use std::time::Duration;

use guest_conversation::client::ConnectLimiter;
use guest_conversation::{ConnectionEvent, Event, GuestMachine as _, State};
use tokio::task::yield_now;

use crate::connection::{Site, configured, next};
use crate::virtual_peer::web_messaging;

#[tokio::test]
async fn connect_timeout_begins_after_the_limiter() {
    let site = Site::new().await;
    let limiter = ConnectLimiter::per_minute(NonZeroU32::MIN);
    let contract = || web_messaging();
    let mut first = site.open_within(contract(), limiter.clone());
    let _guest = site.configure().await;
    configured(&mut first).await;
    let mut late = site.open_within(contract(), limiter);
    let wait = "the limit of new connections: waits";
    while !late
        .with(|guest, _| guest.engine().timeline.to_string())
        .contains(wait)
    {
        yield_now().await;
    }
    // longer than a connection may take
    for _ in 0..30 {
        site.clock.advance(Duration::from_secs(1));
        yield_now().await;
    }
    assert_eq!(late.state(), State::Connecting);
    site.clock.advance(Duration::from_secs(31));
    site.configure().await;
    assert!(matches!(
        next(&mut late).await,
        Some(Event::Connection(ConnectionEvent::Deferred { .. }))
    ));
    configured(&mut late).await;
}
