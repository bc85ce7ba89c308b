//! Tickets: each opens one socket of a session from one origin.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesys_api::{Origin, SessionId, entropy};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret as _, SecretString};

/// Lifetime of a ticket. Our choice.
pub(super) const LIFETIME: Duration = Duration::from_secs(30);
/// Largest number of tickets. Our choice.
const MAX_TICKETS: usize = 65_536;

/// The tickets that were not used yet, by their hashes.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<Unused>);

#[derive(Debug, Default)]
struct Unused {
    tickets: HashMap<TicketHash, Bound>,
    /// The tickets in the order of their expiry, also used ones.
    expiries: VecDeque<(Instant, TicketHash)>,
}

type TicketHash = [u8; 32];

/// The use of a ticket.
#[derive(Debug)]
struct Bound {
    session: SessionId,
    origin: Origin,
    expires_at: Instant,
}

impl Tickets {
    /// Issues a ticket. `None` if there are too many.
    pub(super) fn issue(&self, session: SessionId, origin: Origin, now: Instant) -> Option<SecretString> {
        let mut unused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused.remove_expired(now);
        if unused.expiries.len() >= MAX_TICKETS {
            return None;
        }
        let ticket = URL_SAFE_NO_PAD.encode(entropy::bytes::<32>());
        let expires_at = now + LIFETIME;
        let bound = Bound {
            session,
            origin,
            expires_at,
        };
        unused.tickets.insert(hash(&ticket), bound);
        unused.expiries.push_back((expires_at, hash(&ticket)));
        Some(ticket.into())
    }

    /// Uses a ticket. Returns whether it opens a socket of this session from this origin. A ticket that was presented is
    /// used, also with another session or origin: it may be stolen.
    pub(super) fn redeem(
        &self,
        ticket: &SecretString,
        session: &SessionId,
        origin: &Origin,
        now: Instant,
    ) -> bool {
        let mut unused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused.remove_expired(now);
        let bound = unused.tickets.remove(&hash(ticket.expose_secret()));
        bound.is_some_and(|bound| {
            bound.session == *session && bound.origin == *origin && now < bound.expires_at
        })
    }
}

impl Unused {
    fn remove_expired(&mut self, now: Instant) {
        while let Some((expires_at, hash)) = self.expiries.front()
            && *expires_at <= now
        {
            self.tickets.remove(hash);
            self.expiries.pop_front();
        }
    }
}

/// The hash is compared in place of the ticket, so that the time of the comparison shows nothing of it.
fn hash(ticket: &str) -> TicketHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, ticket.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    //! One use, the binding, the lifetime and the bound.

    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else"
    )]
    fn start() -> (Tickets, SessionId, Origin, Instant) {
        let (session, origin) = ("s-1".parse().unwrap(), origin("https://shop.example"));
        (Tickets::default(), session, origin, Instant::now())
    }

    #[test]
    fn ticket_opens_one_socket_of_its_session_and_origin_in_its_lifetime() {
        let (tickets, session, page, now) = start();
        let other: SessionId = "s-2".parse().unwrap();
        let elsewhere = origin("https://shop.example:8443");
        let almost = now + LIFETIME - Duration::from_millis(1);
        for (session_of_use, origin_of_use, at, opens) in [
            (&session, &page, now, true),
            (&session, &page, almost, true),
            (&session, &page, now + LIFETIME, false),
            (&other, &page, now, false),
            (&session, &elsewhere, now, false),
        ] {
            let ticket = tickets.issue(session.clone(), page.clone(), now).unwrap();
            assert_eq!(ticket.expose_secret().len(), 43);
            assert_eq!(tickets.redeem(&ticket, session_of_use, origin_of_use, at), opens);
            assert!(!tickets.redeem(&ticket, &session, &page, at), "it was used");
        }
        assert!(!tickets.redeem(&"".into(), &session, &page, now));
    }

    #[test]
    fn number_of_tickets_is_bounded_until_they_expire() {
        let (tickets, session, page, now) = start();
        let issue = |at| tickets.issue(session.clone(), page.clone(), at);
        for _ in 0..MAX_TICKETS {
            let ticket = issue(now).unwrap();
            assert!(tickets.redeem(&ticket, &session, &page, now));
        }
        assert!(issue(now).is_none());
        assert!(issue(now + LIFETIME).is_some());
        assert_eq!(tickets.0.lock().unwrap().expiries.len(), 1);
    }
}
