//! Rotating a session's tokens.

use audit::{Actor, Draft, Outcome};
use genesys_api::SessionId;
use guest_store::{Change, TokenHash, Unit};
use secrecy::{ExposeSecret as _, SecretString};
use token_window::{Presented, RefreshTokenFamily};

use super::{Direct, DirectError, Tokens};

impl Direct {
    /// Exchanges a refresh token for two new tokens. The old pair is worth nothing from then on; open sockets stay.
    ///
    /// # Errors
    /// [`DirectError::RefreshUsed`] for the token before the present one, which is written to the audit log as a
    /// sign of theft or of a lost reply; [`DirectError::RefreshUnknown`] for any other.
    pub async fn rotate(
        &self,
        owner: &str,
        id: &SessionId,
        refresh: &SecretString,
    ) -> Result<Tokens, DirectError> {
        let presented = refresh.expose_secret();
        self.update(owner, id, |record, now| {
            record.ensure_live(now)?;
            let config = &self.shared.config;
            let entry = |action| Draft::new(now.utc, Actor::client(owner), action).subject(record.subject());
            let tokens = Tokens::issue(now.utc, config.access_token_lifetime);
            let mut family = RefreshTokenFamily {
                current: record.row.refresh,
                previous: record.row.previous_refresh,
                generation: record.row.generation,
            };
            let next = TokenHash::of(tokens.refresh.expose_secret());
            let presented = family.handle_presented(|stored| stored.matches(presented), next);
            let generation = i64::try_from(family.generation).unwrap_or(i64::MAX);
            match presented {
                Presented::Current => {}
                Presented::Reused => {
                    let reuse = entry("token.reuse_detected")
                        .outcome(Outcome::Denied)
                        .detail("generation", generation);
                    let unit = Unit {
                        entries: vec![reuse],
                        ..Unit::default()
                    };
                    return Ok((unit.into(), Err(DirectError::RefreshUsed)));
                }
                _ => return Err(DirectError::RefreshUnknown),
            }
            let rotated = entry("token.rotated")
                .detail("generation", generation)
                .detail("expiresAt", genesys_api::rfc3339(tokens.expires_at));
            let mut row = record.row.clone();
            row.access = TokenHash::of(tokens.access.expose_secret());
            row.refresh = family.current;
            row.previous_refresh = family.previous;
            row.generation = family.generation;
            row.expires_at = tokens.expires_at;
            row.idle_deadline = now.utc + config.idle_timeout;
            let unit = Unit {
                change: Some(Change::UpdateSession(row)),
                entries: vec![rotated],
                events: Vec::new(),
            };
            Ok((unit.into(), Ok(tokens)))
        })
        .await?
    }
}
