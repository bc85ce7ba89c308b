//! Gateways that share a session: a refresh token that was read under a lease is presented after the lease has lapsed.
//!
//! Nothing prevents the late presentation, because the lease can lapse while the request is on its way. The key makes it
//! harmless: it is stored with the token before it is sent, so that both gateways present the same token with the same key.

use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use super::*;

/// The row of a session in the store of the gateways.
struct Row {
    refresh_token: SecretString,
    key: IdempotencyKey,
    /// Fencing token: number of the last lease.
    fence: u64,
}

/// Takes the lease of the session, refreshes its tokens once, and stores them if the lease has not lapsed.
fn refresh_once(row: &Mutex<Row>, server: &Mutex<Server>, has_stored_key: bool) {
    let (fence, refresh_token, key) = {
        let mut row = row.lock().expect("no panic");
        row.fence += 1;
        (row.fence, row.refresh_token.clone(), row.key.clone())
    };
    let key = if has_stored_key { key } else { random_key() };
    // the other gateways run here: a lock is where shuttle switches
    let reply = server
        .lock()
        .expect("no panic")
        .refresh(&refresh_token, Some(&key));
    let Reply::Issued { access, refresh } = reply else {
        return;
    };
    {
        let mut row = row.lock().expect("no panic");
        if row.fence != fence {
            return;
        }
        row.refresh_token = refresh;
        row.key = random_key();
    }
    server.lock().expect("no panic").open(&access);
}

fn random_key() -> IdempotencyKey {
    Random(thread_rng().r#gen()).key()
}

/// Returns whether the service revoked the session.
fn run_gateways(has_stored_key: bool) -> bool {
    let mut random = Random(1);
    let server = Server::new(&mut random);
    let Reply::Issued { refresh, .. } = server.issue() else {
        unreachable!("a new session has tokens");
    };
    let row = Arc::new(Mutex::new(Row {
        refresh_token: refresh,
        key: random_key(),
        fence: 0,
    }));
    let server = Arc::new(Mutex::new(server));
    let gateways: Vec<_> = (0..3)
        .map(|_| {
            let (row, server) = (Arc::clone(&row), Arc::clone(&server));
            thread::spawn(move || {
                for _ in 0..2 {
                    refresh_once(&row, &server, has_stored_key);
                }
            })
        })
        .collect();
    for gateway in gateways {
        gateway.join().expect("no panic");
    }
    server.lock().expect("no panic").revoked
}

#[test]
fn token_presented_after_its_lease_revokes_nothing_under_all_schedules() {
    shuttle::check_random(|| assert!(!run_gateways(true)), 10_000);
}

#[test]
fn key_that_is_not_stored_lets_the_race_revoke_the_session() {
    let revocations = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&revocations);
    shuttle::check_random(
        move || {
            counter.fetch_add(usize::from(run_gateways(false)), Ordering::Relaxed);
        },
        1_000,
    );
    assert!(revocations.load(Ordering::Relaxed) > 0);
}
