//! Rules for signed-in guests.

use std::fmt;
use std::time::Duration;

use genesys_api::limits;
use serde_json::{Value, json};

/// Rules for signed-in guests. The simulator is also their identity provider.
#[derive(Clone, Debug)]
pub struct SignInRules {
    /// Whether guests may sign in. Default: yes.
    pub enabled: bool,
    /// Whether a guest may sign in during a conversation. Default: yes.
    pub allow_session_upgrade: bool,
    /// Allowed redirect URIs, compared exactly. `None`, the default, allows all.
    pub redirect_uris: Option<Vec<String>>,
    /// The user who signs in, unless `login_hint` of the authorization request names another id.
    pub user: User,
    /// Lifetime of a JWT. Default 15 minutes, as at Genesys, which is also the maximum.
    pub jwt_lifetime: Duration,
    /// Lifetime of a refresh token. Default 24 hours, as at Genesys.
    pub refresh_lifetime: Duration,
}

/// A simulated user, whose sign-in the provider always approves.
#[derive(Clone, Eq, PartialEq)]
pub struct User {
    /// The subject of OpenID Connect.
    pub id: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
}

impl User {
    /// The name in the form of Genesys' messages.
    pub(crate) fn name(&self) -> Value {
        json!({"firstName": self.first_name, "lastName": self.last_name})
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Default for SignInRules {
    fn default() -> Self {
        Self {
            enabled: true,
            allow_session_upgrade: true,
            redirect_uris: None,
            user: User {
                id: "jo".to_owned(),
                first_name: "Jo".to_owned(),
                last_name: "Doe".to_owned(),
            },
            jwt_lifetime: MAX_JWT_LIFETIME,
            refresh_lifetime: limits::REFRESH_TOKEN,
        }
    }
}

/// Genesys' lifetime of the JWT of a signed-in guest.
pub(crate) const MAX_JWT_LIFETIME: Duration = limits::SIGNED_IN_JWT;
