//! The authenticator under many schedules of its tasks, which shuttle chooses.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use genesys_api::Clock;
use genesys_http::Tls;

use super::*;

thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Whether shuttle runs the tasks.
pub(super) fn is_running() -> bool {
    RUNNING.get()
}

/// Lets shuttle switch to another task. The code under test holds no lock here.
pub(super) fn switch_task() {
    if is_running() {
        shuttle::thread::yield_now();
    }
}

/// Issues tokens of an hour, and fails the first fetch if asked to.
struct Source {
    fetches: Arc<AtomicU64>,
    failing: bool,
}

impl TokenSource for Source {
    async fn fetch(&self, _: Option<&secrecy::SecretString>) -> Result<TokenResponse, AuthError> {
        let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        shuttle::future::yield_now().await;
        match self.failing {
            true => Err(AuthError::new(AuthErrorKind::Unavailable, None)),
            false => Ok(TokenResponse {
                access_token: format!("token-{number}").into(),
                expires_in: Duration::from_secs(3_600),
                scopes: None,
            }),
        }
    }
}

fn check(client: Client, failing: bool, schedules: usize) {
    shuttle::check_random(
        move || {
            let fetches = Arc::new(AtomicU64::new(0));
            let source = Source {
                fetches: Arc::clone(&fetches),
                failing,
            };
            let authenticator = Authenticator::with_source(client.clone(), source);
            let tasks: Vec<_> = (0..16)
                .map(|_| {
                    let authenticator = authenticator.clone();
                    shuttle::future::spawn(async move { authenticator.token().await })
                })
                .collect();
            for task in tasks {
                let token = shuttle::future::block_on(task).unwrap();
                assert_eq!(token.is_err(), failing);
            }
            assert_eq!(fetches.load(Ordering::SeqCst), 1);
        },
        schedules,
    );
}

#[test]
fn sixteen_tasks_cause_one_fetch_under_all_schedules() {
    RUNNING.set(true);
    let client = Client::builder(Tls::system().unwrap())
        .clock(Clock::system())
        .build();
    check(client.clone(), false, 10_000);
    check(client, true, 1_000);
    RUNNING.set(false);
}
