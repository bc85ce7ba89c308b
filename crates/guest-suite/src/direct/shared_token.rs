//! The access token of an API client of Genesys Cloud, which the processes of a store share.

use std::sync::Arc;
use std::time::Duration;

use genesys_api::Now;
use genesys_auth::{AuthError, LoginHost, TokenResponse, TokenSource};
use guest_store::{Change, SharedToken, Store, StoreError, StoreErrorKind};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Longest time for which one process requests the token while the others wait. Our choice: twice the deadline of a call.
const LEASE: Duration = Duration::from_secs(60);
/// Time between two reads of a token that another process requests. Our choice.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A source of access tokens for an [`Authenticator`](genesys_auth::Authenticator): the login host, behind a store. One of
/// the processes that share the store requests a token, and a restarted process uses the stored one.
///
/// If the store fails, the login host is called, which issues a token of its own. The store seals the tokens.
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
        let token =
            token.filter(|token| rejected.is_none_or(|rejected| rejected.expose_secret() != token.token));
        if let Some(response) = token.and_then(|token| token.response(now.utc)) {
            return Ok(Step::Use(response));
        }
        if let Some(until) = row.leased_until.filter(|until| *until > now.utc) {
            return Ok(Step::Wait(now.until(until).min(POLL_INTERVAL)));
        }
        row.leased_until = Some(now.utc + LEASE);
        Ok(match self.put(row.clone()).await? {
            Some(version) => Step::Fetch(SharedToken { version, ..row }),
            None => Step::Wait(Duration::ZERO),
        })
    }

    /// Returns the new version, or `None` if another process was first.
    async fn put(&self, token: SharedToken) -> Result<Option<u64>, StoreError> {
        match self.store.commit(Change::PutToken(token).into()).await {
            Ok(committed) => Ok(committed.version),
            Err(error) if matches!(error.kind(), StoreErrorKind::Conflict(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Requests a token and stores it in place of the lease.
    async fn request(&self, lease: SharedToken, now: Now) -> Result<TokenResponse, AuthError> {
        let response = self.login.fetch(None).await;
        let content = response
            .as_ref()
            .ok()
            .map(|response| StoredToken::of(response, now.utc));
        let stored = self.put(SharedToken {
            content: content.or_else(|| lease.content.clone()),
            leased_until: None,
            ..lease
        });
        if let Err(error) = stored.await {
            tracing::warn!(%error, "cannot store an access token: another process requests its own");
        }
        response
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
                Ok(Step::Fetch(lease)) => return self.request(lease, now).await,
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

    /// The token, unless it is due for a refresh as [`TokenCache`](genesys_auth::TokenCache) refreshes it.
    fn response(self, now: OffsetDateTime) -> Option<TokenResponse> {
        let lifetime = self.expires_at - self.issued_at;
        let margin = (lifetime / 5_i32).min(time::Duration::minutes(5));
        let is_fresh = self.issued_at <= now && now < self.expires_at - margin;
        Some(TokenResponse {
            expires_in: Duration::try_from(self.expires_at - now)
                .ok()
                .filter(|_| is_fresh)?,
            scopes: self.scopes.and_then(|scopes| scopes.parse().ok()),
            access_token: self.token.into(),
        })
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
    use genesys_auth::{Authenticator, Credentials};
    use genesys_http::{Client, Tls};
    use guest_store::{Keys, Limits, SealKey, SqliteStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

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
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close",
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
        store.commit(Change::PutToken(lease).into()).await.unwrap();
    }

    #[tokio::test]
    async fn lease_of_a_process_without_an_answer_ends() {
        let (host, requests) = login_host().await;
        let (clock, store) = (Clock::system(), open(":memory:"));
        lease(&store, &host, &clock).await;
        let authenticator = authenticator(&store, &host, &clock);
        let mut waiting = tokio::spawn(async move { token(&authenticator).await });
        let start = clock.now().instant;
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
