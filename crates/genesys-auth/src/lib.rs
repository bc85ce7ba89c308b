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
pub use authenticator::Authenticator;
pub use cache::{Failure, Lookup, Ticket, Token, TokenCache};
pub use credentials::{ClientId, Credentials, CredentialsError};
#[cfg(feature = "client")]
pub use error::{AuthError, AuthErrorKind, AuthorizedError};
pub use fetch::{Grant, TokenFetch};
pub use scope::{MissingScopes, ScopeError, Scopes};
