//! Requests beside what a test does, over real connections.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use genesys_api::{Clock, error_chain};
use genesys_http::{Client, Tls};
use http::StatusCode;
use tokio::task::JoinSet;

use crate::api::{Api, Call};
use crate::guests::until;

/// Repetitions of a test, of which the environment may have more.
pub(crate) fn repetitions(variable: &str, default: u32) -> u32 {
    let set = std::env::var(variable).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Pause of a client before each request. Without it, four clients take the processors from 1,000 guests.
const PAUSE: Duration = Duration::from_millis(5);

/// Requests of several tasks until it is stopped. Each must succeed.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Sends this `GET`. With `refusable`, a connection may be refused.
    pub(crate) fn start(url: &str, token: &str, path: &str, refusable: bool) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        let http = Client::builder(Tls::system().unwrap()).build();
        for _ in 0..4 {
            let api = Api::without_token(http.clone(), url.to_owned());
            let call = Call::get(path).bearer(token);
            let (stop, sent, clock) = (stop.clone(), sent.clone(), Clock::system());
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    clock.sleep(PAUSE).await;
                    match api.try_send(call.clone()).await {
                        Ok(answer) => {
                            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => assert!(refusable && is_refused(&error), "{}", error_chain(&error)),
                    }
                }
            });
        }
        Self { stop, sent, tasks }
    }

    /// Waits until some more requests have succeeded.
    pub(crate) async fn progress(&self) {
        let before = self.sent.load(Ordering::Relaxed);
        until(async || self.sent.load(Ordering::Relaxed) > before + 4).await;
    }

    /// Returns the number of requests that succeeded.
    pub(crate) async fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.sent.load(Ordering::Relaxed)
    }
}

/// Whether nothing listens at the address.
fn is_refused(error: &genesys_http::Error) -> bool {
    let sources = std::iter::successors(error.source(), |&error| error.source());
    let mut refusals = sources.filter_map(|error| error.downcast_ref::<io::Error>());
    refusals.any(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
