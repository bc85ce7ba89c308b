//! The signed-in guests of a process, whose JWTs are kept fresh.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use genesys_api::{DeploymentId, SessionId};
use genesys_http::CallError;
use secrecy::{ExposeSecret, SecretString};
use token_window::{
    DriverLimits, Full, Jitter, RefreshDriver, RefreshError, RefreshRequest, Refresher, TokenManager, Tokens,
    TokensError, Window,
};

use super::{Handle, LiveSessions, RevokeError, SessionStorage, SignInService, supply_token};
use crate::GuestMachine as _;

/// Attempts to refresh a JWT in a minute. Users report this limit of Genesys Cloud for each organization.
const REFRESHES_PER_MINUTE: u32 = 300;

/// The guest of a session at the sign-in service of a deployment.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the caller")]
pub struct GuestAccount {
    /// The session.
    pub session: SessionId,
    /// The deployment.
    pub deployment: DeploymentId,
    /// Storage of the refresh token.
    pub storage: Arc<dyn SessionStorage>,
}

/// The signed-in guests of a process, one of each session. Clones share them.
///
/// A new JWT is passed to the open conversations of its session. JWTs are never stored.
#[derive(Clone, Debug)]
pub struct SignedInGuests {
    service: SignInService,
    live: LiveSessions,
    /// Refreshes the JWTs of all guests.
    driver: RefreshDriver,
    managers: Arc<Managers>,
}

type Managers = Mutex<HashMap<SessionId, TokenManager>>;

impl SignedInGuests {
    /// No guests yet. One task refreshes the JWTs of up to 1,000,000 guests.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(service: SignInService, live: LiveSessions) -> Self {
        let limits = DriverLimits {
            per_minute: REFRESHES_PER_MINUTE,
            ..DriverLimits::default()
        };
        Self {
            driver: RefreshDriver::spawn(limits, service.http.clock().clone()),
            service,
            live,
            managers: Arc::default(),
        }
    }

    /// The sign-in service.
    #[must_use]
    pub const fn service(&self) -> &SignInService {
        &self.service
    }

    /// Adds the guest of a session, in place of an earlier one. `sent` is the time at which the tokens were requested.
    ///
    /// # Errors
    /// If a token is invalid, or there are 1,000,000 guests.
    pub fn insert(
        &self,
        account: GuestAccount,
        jwt: SecretString,
        refresh_token: Option<SecretString>,
        sent: Instant,
    ) -> Result<(), GuestError> {
        let session = account.session.clone();
        let manager = self.manager(account, jwt, refresh_token, sent)?;
        lock(&self.managers).insert(session, manager);
        Ok(())
    }

    /// Signs a guest in by a stored refresh token and returns the JWT. A refused refresh token is deleted. A guest who
    /// signed in meanwhile is kept.
    ///
    /// # Errors
    /// If the service does not accept the refresh token, or cannot be reached.
    pub async fn restore(
        &self,
        account: GuestAccount,
        refresh_token: SecretString,
    ) -> Result<SecretString, CallError> {
        let sent = self.service.http.clock().now().instant;
        let jwt = self.refresh(&account, &refresh_token).await?;
        let session = account.session.clone();
        // one that the store cannot have is used for this conversation only
        let Ok(manager) = self.manager(account, jwt.clone(), Some(refresh_token), sent) else {
            return Ok(jwt);
        };
        let mut managers = lock(&self.managers);
        let manager = managers.entry(session).or_insert(manager);
        Ok(manager.tokens().access().clone())
    }

    /// Returns the JWT of a session's guest. The service requires another one if this one is too old.
    pub async fn jwt(&self, session: &SessionId) -> Option<SecretString> {
        let manager = self.manager_of(session)?;
        let token = manager.token().await.map(|token| token.secret);
        Some(token.unwrap_or_else(|_| manager.tokens().access().clone()))
    }

    /// Returns the last JWT of a session's guest, which may be too old.
    pub(super) fn latest_jwt(&self, session: &SessionId) -> Option<SecretString> {
        Some(self.manager_of(session)?.tokens().access().clone())
    }

    /// Returns the refresh token that is in use now.
    #[must_use]
    pub fn refresh_token(&self, session: &SessionId) -> Option<SecretString> {
        self.manager_of(session)?.tokens().refresh().cloned()
    }

    /// Revokes the tokens of a session's guest at the service. The guest remains in the registry. `None` if there is none.
    pub async fn revoke(&self, session: &SessionId) -> Option<Result<(), RevokeError>> {
        let manager = self.manager_of(session)?;
        Some(self.service.revoke(&manager).await)
    }

    /// Passes another JWT to a conversation whose JWT the service did not accept.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn supply(&self, session: &SessionId, conversation: Handle) {
        match self.manager_of(session) {
            Some(manager) => drop(tokio::spawn(supply_token(manager, conversation))),
            None => conversation.with(|machine, now| machine.decline_token(now)),
        }
    }

    /// Removes the guest of a session.
    pub fn remove(&self, session: &SessionId) {
        lock(&self.managers).remove(session);
    }

    /// Removes the guest of a session whose sign-in has this refresh token, and deletes that from the storage. A later
    /// sign-in is kept.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn forget(
        &self,
        session: &SessionId,
        storage: &Arc<dyn SessionStorage>,
        refresh_token: Option<SecretString>,
    ) {
        let mut managers = lock(&self.managers);
        if let Entry::Occupied(held) = managers.entry(session.clone())
            && expose(held.get().tokens().refresh()) == expose(refresh_token.as_ref())
        {
            held.remove();
        }
        drop(managers);
        if let Some(refresh_token) = refresh_token {
            let storage = Arc::clone(storage);
            tokio::spawn(async move { storage.delete_refresh_token(refresh_token).await });
        }
    }

    fn manager_of(&self, session: &SessionId) -> Option<TokenManager> {
        lock(&self.managers).get(session).cloned()
    }

    async fn refresh(
        &self,
        account: &GuestAccount,
        refresh_token: &SecretString,
    ) -> Result<SecretString, CallError> {
        let refreshed = self.service.refresh(&account.deployment, refresh_token).await;
        refreshed.inspect_err(|error| {
            if SignInService::refresh_error(error) == RefreshError::Refused {
                self.forget(&account.session, &account.storage, Some(refresh_token.clone()));
            }
        })
    }

    fn manager(
        &self,
        account: GuestAccount,
        jwt: SecretString,
        refresh_token: Option<SecretString>,
        sent: Instant,
    ) -> Result<TokenManager, GuestError> {
        let tokens = Tokens::new(jwt, refresh_token, SignInService::JWT_LIFETIME)?;
        let jitter = Jitter::of(account.session.as_str());
        let refresh = token_window::Refresh::new(tokens, Window::default(), jitter, sent);
        let refresher = JwtRefresher {
            service: self.service.clone(),
            live: self.live.clone(),
            driver: self.driver.clone(),
            managers: Arc::downgrade(&self.managers),
            account,
        };
        Ok(self.driver.manage(refresh, refresher)?)
    }
}

/// The error of a guest whose tokens cannot be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// There are too many guests.
    #[error(transparent)]
    Full(#[from] Full),
    /// A token is invalid.
    #[error(transparent)]
    Tokens(#[from] TokensError),
}

fn lock(managers: &Managers) -> MutexGuard<'_, HashMap<SessionId, TokenManager>> {
    managers.lock().unwrap_or_else(PoisonError::into_inner)
}

fn expose(token: Option<&SecretString>) -> Option<&str> {
    token.map(SecretString::expose_secret)
}

/// Refreshes the JWT of one guest.
#[derive(Debug)]
struct JwtRefresher {
    service: SignInService,
    live: LiveSessions,
    driver: RefreshDriver,
    // the registry owns the managers, whose tasks own their refreshers
    managers: Weak<Managers>,
    account: GuestAccount,
}

impl Refresher for JwtRefresher {
    async fn refresh(&self, request: &RefreshRequest) -> Result<Tokens, RefreshError> {
        let guests = SignedInGuests {
            service: self.service.clone(),
            live: self.live.clone(),
            driver: self.driver.clone(),
            managers: self.managers.upgrade().ok_or(RefreshError::Refused)?,
        };
        let GuestAccount { session, storage, .. } = &self.account;
        let is_live = storage.is_live().await?;
        let refresh_token = request.current.refresh().cloned();
        let Some(refresh_token) = refresh_token.clone().filter(|_| is_live) else {
            guests.forget(session, storage, refresh_token);
            return Err(RefreshError::Refused);
        };
        let jwt = guests.refresh(&self.account, &refresh_token).await;
        let jwt = jwt.map_err(|error| {
            tracing::warn!(%session, %error, "cannot refresh the JWT of a guest");
            SignInService::refresh_error(&error)
        })?;
        self.live.update_token(session, &jwt);
        Ok(Tokens::new(
            jwt,
            Some(refresh_token),
            SignInService::JWT_LIFETIME,
        )?)
    }
}

#[cfg(test)]
mod tests {
    //! Later sign-ins, and the deletion of tokens.

    use genesys_api::{Clock, SessionStage};
    use genesys_http::{Client, Tls};

    use super::*;
    use crate::client::{Activity, ReadMarker, StorageFuture};

    /// Records the deleted tokens.
    #[derive(Clone, Debug, Default)]
    struct Storage(Arc<Mutex<Vec<String>>>);

    impl SessionStorage for Storage {
        fn is_live(&self) -> StorageFuture<'_, Result<bool, RefreshError>> {
            Box::pin(async { Ok(true) })
        }

        fn delete_refresh_token(&self, refresh_token: SecretString) -> StorageFuture<'_, ()> {
            let mut deleted = self.0.lock().unwrap();
            deleted.push(refresh_token.expose_secret().to_owned());
            Box::pin(async {})
        }

        fn store_read_marker(&self, _: ReadMarker) -> StorageFuture<'_, ()> {
            unreachable!("no conversation is open")
        }

        fn store_activity(&self, _: Activity) -> StorageFuture<'_, ()> {
            unreachable!("no conversation is open")
        }

        fn store_stage(&self, _: SessionStage) -> StorageFuture<'_, Option<SessionStage>> {
            unreachable!("no conversation is open")
        }
    }

    fn storage() -> (Arc<dyn SessionStorage>, Storage) {
        let storage = Storage::default();
        (Arc::new(storage.clone()), storage)
    }

    fn guests(clock: &Clock) -> SignedInGuests {
        let http = Client::builder(Tls::system().unwrap()).clock(clock.clone());
        let service = SignInService {
            http: http.build(),
            host: "https://api.mypurecloud.de".parse().unwrap(),
        };
        SignedInGuests::new(service, LiveSessions::default())
    }

    #[tokio::test]
    async fn older_sign_in_does_not_remove_a_newer_one() {
        let clock = Clock::system();
        let (storage, deleted) = storage();
        let guests = guests(&clock);
        let session: SessionId = "s-1".parse().unwrap();
        let sign_in = |jwt: &str, refresh_token: &str| {
            let account = GuestAccount {
                session: session.clone(),
                deployment: "d-1".parse().unwrap(),
                storage: storage.clone(),
            };
            let sent = clock.now().instant;
            guests
                .insert(account, jwt.into(), Some(refresh_token.into()), sent)
                .unwrap();
        };
        sign_in("jwt-1", "refresh-1");
        sign_in("jwt-2", "refresh-2");
        guests.forget(&session, &storage, Some("refresh-1".into()));
        assert_eq!(guests.jwt(&session).await.unwrap().expose_secret(), "jwt-2");
        assert_eq!(expose(guests.refresh_token(&session).as_ref()), Some("refresh-2"));
        guests.forget(&session, &storage, Some("refresh-2".into()));
        assert!(guests.jwt(&session).await.is_none());
        assert!(guests.revoke(&session).await.is_none());
        tokio::task::yield_now().await;
        assert_eq!(*deleted.0.lock().unwrap(), ["refresh-1", "refresh-2"]);
    }

    #[tokio::test]
    async fn sign_in_without_refresh_token_deletes_nothing_from_the_storage() {
        let clock = Clock::system();
        let (storage, deleted) = storage();
        let guests = guests(&clock);
        let session: SessionId = "s-1".parse().unwrap();
        let account = GuestAccount {
            session: session.clone(),
            deployment: "d-1".parse().unwrap(),
            storage: storage.clone(),
        };
        let sent = clock.now().instant;
        guests.insert(account, "jwt-1".into(), None, sent).unwrap();
        guests.forget(&session, &storage, None);
        assert!(guests.jwt(&session).await.is_none());
        tokio::task::yield_now().await;
        assert!(deleted.0.lock().unwrap().is_empty());
    }
}
