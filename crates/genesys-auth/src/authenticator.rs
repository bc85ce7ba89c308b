//! The driver: fetches and caches the token with the workspace's HTTP client.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use genesys_api::{Call, Host, entropy};
use genesys_http::Client;
use tokio::sync::watch;

use crate::source::BoxedSource;
use crate::{
    AccessToken, AuthError, AuthErrorKind, AuthorizedError, Credentials, FetchPermit, LoginHost, Lookup,
    Scopes, TokenCache, TokenResponse, TokenSource,
};

/// Fetches and caches the access token of one API client. Clones share it.
///
/// Lifetimes and backoff are those of [`TokenCache`], on the clock of the HTTP client. A token is fetched on demand, never
/// in the background of an idle program.
#[derive(Clone)]
pub struct Authenticator {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    source: Box<dyn BoxedSource>,
    cache: Mutex<TokenCache>,
    /// Error of the last fetch, if it failed. Sent under the lock of the cache, so that the two agree.
    outcome: watch::Sender<Option<AuthError>>,
}

impl Authenticator {
    /// An authenticator at the login host `host`. `scopes` are for the contract `guest-sessions`. Genesys Cloud has none:
    /// give `None`.
    #[must_use]
    pub fn new(client: Client, host: Host, credentials: Credentials, scopes: Option<Scopes>) -> Self {
        let source = LoginHost {
            client: client.clone(),
            host,
            credentials,
            scopes,
        };
        Self::with_source(client, source)
    }

    /// An authenticator with tokens of another source, such as one that several processes share. `client` sends the calls.
    #[must_use]
    pub fn with_source(client: Client, source: impl TokenSource) -> Self {
        Self {
            shared: Arc::new(Shared {
                client,
                source: Box::new(source),
                cache: Mutex::default(),
                outcome: watch::Sender::new(None),
            }),
        }
    }

    /// Returns the token, from the cache or by a fetch. Callers that wait for the same fetch share its outcome, and
    /// canceling a caller does not cancel it.
    ///
    /// # Errors
    /// If there is no valid token, and the fetch failed or is backing off after a failure.
    ///
    /// # Panics
    /// Outside a tokio runtime, if the token must be fetched.
    pub async fn token(&self) -> Result<AccessToken, AuthError> {
        let mut outcome = self.shared.outcome.subscribe();
        loop {
            let (lookup, error) = {
                let mut cache = self.shared.cache();
                let error = outcome.borrow_and_update().clone();
                (cache.poll(self.shared.client.clock().now().instant), error)
            };
            match lookup {
                Lookup::Fresh(token) | Lookup::Stale { token, permit: None } => return Ok(token),
                Lookup::Stale {
                    token,
                    permit: Some(permit),
                } => {
                    self.spawn_fetch(permit);
                    return Ok(token);
                }
                Lookup::Fetch(permit) => self.spawn_fetch(permit),
                Lookup::InFlight => {}
                Lookup::BackingOff { until } => {
                    let clock = self.shared.client.clock();
                    if let Some(mut error) = error {
                        error.retry_in = until.saturating_duration_since(clock.now().instant);
                        return Err(error);
                    }
                    // the service issues tokens with a lifetime under a second
                    clock.sleep_until(until).await;
                    continue;
                }
            }
            // the sender lives as long as `self`, so this is always an outcome
            let _ = outcome.changed().await;
            if let Some(error) = outcome.borrow().clone() {
                return Err(error);
            }
        }
    }

    /// Sends `call` with the token. After a 401 the token is dropped and the call is repeated once with another one. This
    /// is safe for every call, because a service does not act on a call without a valid token.
    ///
    /// # Errors
    /// If there is no token, or the call failed. A token that expired early, as after 15 idle minutes in some
    /// organizations, causes no error.
    pub async fn call<C: Call + Sync>(&self, call: &C, host: &Host) -> Result<C::Reply, AuthorizedError> {
        let client = &self.shared.client;
        let token = self.token().await?;
        let error = match client.call(call, host, Some(&token.secret)).await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let is_rejected = error.problem().is_some_and(|problem| problem.status == 401);
        let now = client.clock().now().instant;
        if !is_rejected || !self.shared.cache().invalidate(token.generation, now) {
            return Err(error.into());
        }
        let token = self.token().await?;
        Ok(client.call(call, host, Some(&token.secret)).await?)
    }

    /// Number of fetches so far. Retries within a fetch are not counted.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.shared.cache().fetches()
    }

    fn spawn_fetch(&self, permit: FetchPermit) {
        let mut fetch = Fetch {
            shared: Arc::clone(&self.shared),
            permit: Some(permit),
        };
        spawn(async move {
            let rejected = fetch.permit.as_ref().and_then(FetchPermit::rejected).cloned();
            let outcome = fetch.shared.source.start(rejected.as_ref()).await;
            fetch.finish(outcome);
        });
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("client", &self.shared.client)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, TokenCache> {
        #[cfg(test)]
        schedules::switch_task();
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a fetch apart from its callers.
fn spawn(fetch: impl Future<Output = ()> + Send + 'static) {
    #[cfg(test)]
    if schedules::is_running() {
        shuttle::future::spawn(fetch);
        return;
    }
    tokio::spawn(fetch);
}

/// A fetch in flight. It reports an outcome even if it is dropped, because callers wait for one.
struct Fetch {
    shared: Arc<Shared>,
    permit: Option<FetchPermit>,
}

impl Fetch {
    fn finish(&mut self, outcome: Result<TokenResponse, AuthError>) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let mut cache = self.shared.cache();
        let error = match outcome {
            Ok(response) => {
                cache.handle_fetched(permit, response);
                None
            }
            Err(mut error) => {
                let now = self.shared.client.clock().now().instant;
                cache.handle_failed(permit, error.failure(), entropy::number(), now);
                let until = cache.not_before().unwrap_or(now);
                error.retry_in = until.saturating_duration_since(now);
                Some(error)
            }
        };
        self.shared.outcome.send_replace(error);
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if self.permit.is_some() {
            self.finish(Err(AuthError::new(AuthErrorKind::Canceled, None)));
        }
    }
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
