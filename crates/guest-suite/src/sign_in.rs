//! The part of a sign-in before its code is exchanged.

use genesys_api::entropy;
use secrecy::SecretString;
use url::Url;
use web_messaging::rest::sign_in::{AuthorizationRequest, OauthResult, Pkce};

use crate::Error;

/// A sign-in that has begun in this process. [`GuestSession::sign_in`](crate::GuestSession::sign_in) completes it.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a request and nothing else")]
pub struct SignIn {
    /// The request that the guest takes to the identity provider.
    pub request: AuthorizationRequest,
}

impl SignIn {
    /// Begins a sign-in with PKCE. The identity provider sends the guest back to `redirect_uri`.
    #[must_use]
    pub fn begin(redirect_uri: &Url) -> Self {
        let pkce = Pkce::new(entropy::bytes());
        let request = AuthorizationRequest::new(redirect_uri, pkce, entropy::bytes(), entropy::bytes());
        Self { request }
    }

    /// Returns the result of the sign-in, with the `state` and the `code` of the redirect.
    ///
    /// # Errors
    /// [`Error::SignInForged`] if the state is of another sign-in.
    pub fn result(self, state: &str, code: SecretString) -> Result<OauthResult, Error> {
        self.request.result(state, code).ok_or(Error::SignInForged)
    }
}
