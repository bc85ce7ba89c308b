//! Sources of access tokens.

use std::future::Future;
use std::pin::Pin;

use genesys_api::Host;
use genesys_http::Client;
use secrecy::SecretString;

use crate::{AuthError, Credentials, Scopes, TokenRequest, TokenResponse};

/// A source of access tokens: a login host, or a store that several processes share.
///
/// A source for several processes holds a lock of the store while it looks for a token there. If it finds none with enough
/// remaining lifetime, or only the rejected one, it calls [`LoginHost`] and stores the response with the time of the
/// request. An [`Authenticator`](crate::Authenticator) calls a source once at a time.
pub trait TokenSource: Send + Sync + 'static {
    /// Returns a token. Its lifetime counts from the call, and it is not `rejected`, the last token that a service did not
    /// accept.
    ///
    /// # Errors
    /// If there is no token. The error decides when the next attempt follows.
    fn fetch(
        &self,
        rejected: Option<&SecretString>,
    ) -> impl Future<Output = Result<TokenResponse, AuthError>> + Send;
}

/// The login host of an API client: `POST /oauth/token` with its credentials.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the caller")]
pub struct LoginHost {
    /// HTTP client.
    pub client: Client,
    /// Host, such as `https://login.mypurecloud.ie`.
    pub host: Host,
    /// Credentials of the API client.
    pub credentials: Credentials,
    /// Scopes of the contract `guest-sessions`. Genesys Cloud has none.
    pub scopes: Option<Scopes>,
}

impl TokenSource for LoginHost {
    async fn fetch(&self, _: Option<&SecretString>) -> Result<TokenResponse, AuthError> {
        let Self {
            client,
            host,
            credentials,
            scopes,
        } = self;
        let scopes = scopes.as_ref();
        let request = TokenRequest { credentials, scopes };
        let response = client
            .call(&request, host, None)
            .await
            .map_err(|error| AuthError::of_call(error, host, credentials.id()))?;
        request
            .check(&response)
            .map_err(|error| AuthError::of_scopes(error, host, credentials.id()))?;
        Ok(response)
    }
}

type Fetching<'a> = Pin<Box<dyn Future<Output = Result<TokenResponse, AuthError>> + Send + 'a>>;

/// A [`TokenSource`] of any type.
pub(crate) trait BoxedSource: Send + Sync {
    fn start<'a>(&'a self, rejected: Option<&'a SecretString>) -> Fetching<'a>;
}

impl<S: TokenSource> BoxedSource for S {
    fn start<'a>(&'a self, rejected: Option<&'a SecretString>) -> Fetching<'a> {
        Box::pin(self.fetch(rejected))
    }
}
