#![doc = include_str!("../README.md")]

mod cache;
mod credentials;
mod fetch;
mod scope;

#[cfg(feature = "client")]
mod authenticator;
#[cfg(feature = "client")]
mod error;
#[cfg(feature = "client")]
mod source;

#[cfg(feature = "client")]
pub use authenticator::Authenticator;
pub use cache::{AccessToken, FetchFailure, FetchPermit, Lookup, TokenCache, refresh_margin};
pub use credentials::{ClientId, Credentials, CredentialsError};
#[cfg(feature = "client")]
pub use error::{AuthError, AuthErrorKind, AuthorizedError};
pub use fetch::{TokenRequest, TokenResponse};
#[doc(no_inline)]
pub use genesys_api::Host;
#[cfg(feature = "client")]
#[doc(no_inline)]
pub use genesys_http::{Client, Tls};
pub use scope::{MissingScopes, ScopeError, Scopes};
#[cfg(feature = "client")]
pub use source::{LoginHost, TokenSource};
