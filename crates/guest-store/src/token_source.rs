//! The access token of an API client of Genesys Cloud, which the processes of a store share.

use std::sync::Arc;
use std::time::Duration;

use genesys_api::Now;
use genesys_auth::{AuthError, LoginHost, TokenResponse, TokenSource, refresh_margin};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{SharedToken, Store, StoreError, StoreErrorKind};

/// Longest time for which one process requests the token while the others wait. Our choice: twice the deadline of a call.
const LEASE: Duration = Duration::from_secs(60);
/// Time between two reads of a token that another process requests. Our choice.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A source of access tokens for an [`Authenticator`](genesys_auth::Authenticator): the login host, behind a store. One of
/// the processes that share the store requests a token, and a restarted process uses the stored one. One process at a time
/// opens a SQLite store: there it spares the request after a restart.
///
/// If the store fails, the login host is called, which issues a token of its own. If the login host fails, the stored token
/// is used until it expires. The store seals the tokens.
#[derive(Clone, Debug)]
pub struct SharedTokenSource {
    store: Arc<dyn Store>,
    login: LoginHost,
    name: String,
}

impl SharedTokenSource {
    /// A source for the credentials of `login`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, login: LoginHost) -> Self {
        let scopes = login.scopes.as_ref().map(|scopes| format!(" {scopes}"));
        let name = format!(
            "{} {}{}",
            login.host,
            login.credentials.id(),
            scopes.unwrap_or_default()
        );
        Self { store, login, name }
    }

    async fn next_step(&self, rejected: Option<&SecretString>, now: Now) -> Result<Step, StoreError> {
        let stored = self.store.shared_token(&self.name).await?;
        let mut row = stored.unwrap_or_else(|| SharedToken {
            name: self.name.clone(),
            version: 0,
            content: None,
            leased_until: None,
        });
        let token = row.content.as_ref().and_then(StoredToken::parse);
        let token = token.filter(|token| token.is_valid(rejected, now.utc));
        // a clock that was ahead wrote a lease that is longer
        let is_leased = |until: &OffsetDateTime| *until > now.utc && *until <= now.utc + LEASE;
        let leased_until = row.leased_until.filter(is_leased);
        match (token, leased_until) {
            (Some(token), leased) if leased.is_some() || token.is_fresh(now.utc) => {
                return Ok(Step::Use(token.into_response(now.utc)));
            }
            (None, Some(until)) => return Ok(Step::Wait(now.until(until).min(POLL_INTERVAL))),
            _ => {}
        }
        row.leased_until = Some(now.utc + LEASE);
        Ok(match self.put(row.clone()).await? {
            Some(version) => Step::Fetch(SharedToken { version, ..row }),
            None => Step::Wait(Duration::ZERO),
        })
    }

    /// Returns the new version, or `None` if another process was first.
    async fn put(&self, token: SharedToken) -> Result<Option<u64>, StoreError> {
        let version = token.version + 1;
        match self.store.commit(token.into()).await {
            Ok(_) => Ok(Some(version)),
            Err(error) if matches!(error.kind(), StoreErrorKind::Conflict(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Requests a token and stores it in place of the lease. If there is none, the stored one is used while it is valid.
    async fn request(
        &self,
        lease: SharedToken,
        rejected: Option<&SecretString>,
        now: Now,
    ) -> Result<TokenResponse, AuthError> {
        let response = self.login.fetch(None).await;
        let content = response
            .as_ref()
            .ok()
            .map(|response| StoredToken::of(response, now.utc));
        let stored = self.put(SharedToken {
            content: content.or_else(|| lease.content.clone()),
            leased_until: None,
            ..lease.clone()
        });
        if let Err(error) = stored.await {
            tracing::warn!(%error, "cannot store an access token: another process requests its own");
        }
        let now = self.login.client.clock().now().utc;
        let stored = lease.content.as_ref().and_then(StoredToken::parse);
        match (response, stored.filter(|token| token.is_valid(rejected, now))) {
            (Err(error), Some(stored)) => {
                tracing::warn!(%error, "cannot refresh a shared access token, using it until it expires");
                Ok(stored.into_response(now))
            }
            (response, _) => response,
        }
    }
}

impl TokenSource for SharedTokenSource {
    async fn fetch(&self, rejected: Option<&SecretString>) -> Result<TokenResponse, AuthError> {
        let clock = self.login.client.clock();
        loop {
            let now = clock.now();
            match self.next_step(rejected, now).await {
                Ok(Step::Use(response)) => return Ok(response),
                Ok(Step::Wait(wait)) => {
                    tracing::debug!("waiting for the access token that another process requests");
                    clock.sleep(wait).await;
                }
                Ok(Step::Fetch(lease)) => return self.request(lease, rejected, now).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot read a shared access token, requesting another one");
                    return self.login.fetch(None).await;
                }
            }
        }
    }
}

enum Step {
    Use(TokenResponse),
    Wait(Duration),
    Fetch(SharedToken),
}

#[derive(Deserialize, Serialize)]
struct StoredToken {
    token: String,
    scopes: Option<String>,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    issued_at: OffsetDateTime,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    expires_at: OffsetDateTime,
}

impl StoredToken {
    fn of(response: &TokenResponse, sent_at: OffsetDateTime) -> SecretString {
        let token = Self {
            token: response.access_token.expose_secret().to_owned(),
            scopes: response.scopes.as_ref().map(ToString::to_string),
            issued_at: sent_at,
            expires_at: sent_at + response.expires_in,
        };
        serde_json::to_string(&token).expect("texts and numbers").into()
    }

    fn parse(content: &SecretString) -> Option<Self> {
        serde_json::from_str(content.expose_secret()).ok()
    }

    /// Whether a service can accept the token.
    fn is_valid(&self, rejected: Option<&SecretString>, now: OffsetDateTime) -> bool {
        let is_rejected = rejected.is_some_and(|rejected| rejected.expose_secret() == self.token);
        !is_rejected && self.issued_at <= now && now < self.expires_at
    }

    /// Whether the token is not due for a refresh, as in a [`TokenCache`](genesys_auth::TokenCache).
    fn is_fresh(&self, now: OffsetDateTime) -> bool {
        let lifetime = Duration::try_from(self.expires_at - self.issued_at).unwrap_or_default();
        now < self.expires_at - refresh_margin(lifetime)
    }

    fn into_response(self, now: OffsetDateTime) -> TokenResponse {
        TokenResponse {
            expires_in: Duration::try_from(self.expires_at - now).unwrap_or_default(),
            scopes: self.scopes.and_then(|scopes| scopes.parse().ok()),
            access_token: self.token.into(),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    //! Processes that share a store, and a login host that counts its requests.

    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use audit::Signer;
    use genesys_api::{Clock, Host};
    use genesys_auth::{Authenticator, Client, Credentials, Tls};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;
    use crate::{Keys, Limits, SealKey, SqliteStore};

    /// The number of requests after which the login host answers 503.
    const DOWN: usize = 1_000;

    /// Issues `canary-1`, `canary-2` and so on, each for an hour.
    async fn login_host() -> (Host, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"grant_type=client_credentials") {
                    request.push(socket.read_u8().await.unwrap());
                }
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                let body = format!("{{\"access_token\":\"canary-{number}\",\"expires_in\":3600}}");
                let status = match number > DOWN {
                    true => "503 Service Unavailable",
                    false => "200 OK",
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close",
                    body.len()
                );
                let answer = format!("{head}\r\n\r\n{body}");
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (host, requests)
    }

    fn open(path: impl AsRef<Path>) -> Arc<dyn Store> {
        let keys = Keys {
            seal: SealKey::new(&[1; 32]),
            signer: Signer::from_seed("log", &[2; 32]).unwrap(),
        };
        Arc::new(SqliteStore::open(path, keys, Limits::default()).unwrap())
    }

    fn authenticator(store: &Arc<dyn Store>, host: &Host, clock: &Clock) -> Authenticator {
        let client = Client::builder(Tls::system().unwrap())
            .clock(clock.clone())
            .build();
        let login = LoginHost {
            client: client.clone(),
            host: host.clone(),
            credentials: Credentials::new("client".parse().unwrap(), "secret".into()).unwrap(),
            scopes: None,
        };
        Authenticator::with_source(client, SharedTokenSource::new(Arc::clone(store), login))
    }

    async fn token(authenticator: &Authenticator) -> String {
        let token = authenticator.token().await.unwrap();
        token.secret.expose_secret().to_owned()
    }

    #[tokio::test]
    async fn processes_request_one_token_together() {
        let (host, requests) = login_host().await;
        let (clock, store) = (Clock::system(), open(":memory:"));
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let authenticator = authenticator(&store, &host, &clock);
            tasks.spawn(async move { token(&authenticator).await });
        }
        while !tasks.is_empty() {
            tokio::select! {
                joined = tasks.join_next() => assert_eq!(joined.unwrap().unwrap(), "canary-1"),
                () = tokio::task::yield_now() => clock.advance(Duration::from_millis(1)),
            }
        }
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn restarted_process_uses_the_stored_token_which_is_sealed() {
        let (host, requests) = login_host().await;
        let (clock, folder) = (Clock::system(), tempfile::tempdir().unwrap());
        let path = folder.path().join("guest.db");
        for _ in 0..2 {
            let authenticator = authenticator(&open(&path), &host, &clock);
            assert_eq!(token(&authenticator).await, "canary-1");
            clock.advance(Duration::from_secs(600));
        }
        assert_eq!(requests.load(Ordering::SeqCst), 1);
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(6).any(|text| text == b"canary"));
        }
    }

    #[tokio::test]
    async fn token_is_replaced_when_it_is_due_for_a_refresh() {
        let (host, requests) = login_host().await;
        let (clock, store) = (Clock::system(), open(":memory:"));
        let fresh = async || token(&authenticator(&store, &host, &clock)).await;
        assert_eq!(fresh().await, "canary-1");
        clock.advance(Duration::from_secs(3_600 - 301));
        assert_eq!(fresh().await, "canary-1");
        clock.advance(Duration::from_secs(2));
        assert_eq!(
            (fresh().await, fresh().await),
            ("canary-2".into(), "canary-2".into())
        );
        assert_eq!(requests.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn token_is_used_until_it_expires_while_the_login_host_fails() {
        let (host, requests) = login_host().await;
        let (clock, store) = (Clock::system(), open(":memory:"));
        let request = async || authenticator(&store, &host, &clock).token().await;
        assert!(request().await.is_ok());
        requests.store(DOWN, Ordering::SeqCst);
        // a process that starts while the token is due for a refresh
        clock.advance(Duration::from_secs(3_600 - 60));
        assert_eq!(request().await.unwrap().secret.expose_secret(), "canary-1");
        assert!(requests.load(Ordering::SeqCst) > DOWN);
        clock.advance(Duration::from_secs(60));
        assert!(request().await.is_err());
    }

    #[tokio::test]
    async fn rejected_token_is_not_used_again() {
        let (host, _) = login_host().await;
        let (clock, store) = (Clock::system(), open(":memory:"));
        let client = Client::builder(Tls::system().unwrap()).clock(clock).build();
        let login = LoginHost {
            client,
            host,
            credentials: Credentials::new("client".parse().unwrap(), "secret".into()).unwrap(),
            scopes: None,
        };
        let source = SharedTokenSource::new(store, login);
        let fetch = async |rejected: Option<SecretString>| {
            let response = source.fetch(rejected.as_ref()).await.unwrap();
            response.access_token.expose_secret().to_owned()
        };
        assert_eq!(
            (fetch(None).await, fetch(None).await),
            ("canary-1".into(), "canary-1".into())
        );
        assert_eq!(fetch(Some("canary-1".into())).await, "canary-2");
        assert_eq!(fetch(Some("canary-1".into())).await, "canary-2");
    }

    #[tokio::test]
    async fn lease_of_a_process_that_stopped_delays_no_successor() {
        let (host, requests) = login_host().await;
        let (clock, folder) = (Clock::system(), tempfile::tempdir().unwrap());
        let path = folder.path().join("guest.db");
        lease(&open(&path), &host, &clock).await;
        let start = clock.now().instant;
        assert_eq!(
            token(&authenticator(&open(&path), &host, &clock)).await,
            "canary-1"
        );
        assert!(clock.now().instant - start < POLL_INTERVAL);
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }

    /// Leases the token, as a process that requests it does.
    async fn lease(store: &Arc<dyn Store>, host: &Host, clock: &Clock) {
        let lease = SharedToken {
            name: format!("{host} client"),
            version: 0,
            content: None,
            leased_until: Some(clock.now().utc + LEASE),
        };
        store.commit(lease.into()).await.unwrap();
    }

    #[tokio::test]
    async fn lease_of_a_process_without_an_answer_ends() {
        let (host, requests) = login_host().await;
        let (clock, store) = (Clock::system(), open(":memory:"));
        let start = clock.now().instant;
        lease(&store, &host, &clock).await;
        let authenticator = authenticator(&store, &host, &clock);
        let mut waiting = tokio::spawn(async move { token(&authenticator).await });
        let issued = loop {
            tokio::select! {
                issued = &mut waiting => break issued.unwrap(),
                () = tokio::task::yield_now() => clock.advance(Duration::from_millis(10)),
            }
        };
        assert!(clock.now().instant - start >= LEASE);
        assert_eq!(
            (issued.as_str(), requests.load(Ordering::SeqCst)),
            ("canary-1", 1)
        );
    }
}
