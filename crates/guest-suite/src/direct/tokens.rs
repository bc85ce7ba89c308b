//! The tokens of a session: issue, rotation, first use, and the reaction to a reuse.

use audit::{Actor, Draft, Outcome};
use genesys_api::{IdempotencyKey, Now, SessionId, entropy, rfc3339};
use guest_sessions::{ErrorCode, RefreshedTokens};
use guest_store::TokenHash;
use secrecy::{ExposeSecret as _, SecretString};
use session_metrics::{EndReason, RefreshOutcome};
use token_window::{AccessUse, PairKey, Presented, RefreshTokenFamily, Rotation};

use super::session_row::SessionRow;
use super::update::Mutation;
use super::{Created, Direct, DirectConfig};
use crate::Error;

impl Direct {
    /// Exchanges a refresh token for a new pair, by the rule of [`RefreshTokenFamily`]. The old pair is no longer valid;
    /// open sockets stay open. The key is the same in each repetition of one rotation.
    ///
    /// # Errors
    /// [`ErrorCode::RefreshTokenUsed`] for a repeated rotation whose pair was used, [`ErrorCode::RefreshTokenReused`] for
    /// another token that is no longer valid: the session is then ended. [`Error::InvalidValue`] for a text that is no token
    /// of the session; [`ErrorCode::SessionEnded`], [`ErrorCode::NotFound`], or the store's.
    pub async fn rotate(
        &self,
        owner: &str,
        id: &SessionId,
        refresh: &SecretString,
        key: Option<&IdempotencyKey>,
    ) -> Result<RefreshedTokens, Error> {
        let asked_at = self.clock().now().instant;
        let salt = entropy::bytes();
        let rotated = self.update(owner, id, |record, now| {
            record.ensure_live(now)?;
            let mut family = record.family();
            let presented = record.classify(refresh, &family);
            let rotation = family.handle_refresh(presented, key, salt);
            let generation = number(&family);
            let entry = |action| {
                let entry = record.draft(now, Actor::client(owner), action);
                entry.detail("generation", generation)
            };
            let refused = |reason, error| {
                let entry = entry("token.refused").outcome(Outcome::Denied);
                let entry = entry.detail("reason", reason);
                let refused = (RefreshOutcome::Refused, Err(error));
                Ok((Mutation::repeated(entry), refused))
            };
            let action = match rotation {
                Rotation::Rotated => "token.rotated",
                Rotation::Replaced => "token.replaced",
                Rotation::Replayed => {
                    let entry = entry("token.replayed");
                    let (mutation, issued) = record.reissue(family, self, entry, now);
                    return Ok((mutation, (RefreshOutcome::Replayed, Ok(issued.tokens))));
                }
                Rotation::AlreadyUsed => return refused("used", ErrorCode::RefreshTokenUsed.into()),
                Rotation::Reused => {
                    let reuse = record.reuse(now, Actor::client(owner), refresh);
                    let end = record.end(
                        EndReason::TokenReuse,
                        Actor::system("guest-suite"),
                        now,
                        Some(reuse),
                    );
                    let reused = ErrorCode::RefreshTokenReused.into();
                    return Ok((end, (RefreshOutcome::Reused, Err(reused))));
                }
                // without the token's fingerprint, since an attacker can send any number of tokens
                _ => {
                    let reason = "it is not this session's, use this session's newest one";
                    return refused("unknown", Error::invalid("refreshToken", reason));
                }
            };
            let mut next = record.clone();
            let tokens = next.issue(family, &self.shared.config, now);
            if rotation == Rotation::Rotated {
                next.row.previous_refresh = Some(record.row.refresh);
            }
            let fingerprint = |token| record.row.fingerprint(token).to_string();
            let entry = entry(action)
                .detail("before.token", fingerprint(&record.row.refresh))
                .detail("token", fingerprint(&next.row.refresh))
                .detail("expiresAt", rfc3339(tokens.expires_at));
            let mutation = Mutation {
                entries: vec![entry],
                ..next.store().into()
            };
            Ok((mutation, (RefreshOutcome::Refreshed, Ok(tokens))))
        });
        let (outcome, rotated) = match rotated.await {
            Ok(rotated) => rotated,
            Err(error @ Error::Store(_)) => (RefreshOutcome::Failed, Err(error)),
            Err(error) => (RefreshOutcome::Refused, Err(error)),
        };
        let now = self.clock().now().instant;
        self.counters().record_refresh(outcome, now - asked_at, now);
        rotated
    }

    /// Accepts an access token that is valid at this time. Its first use is stored before.
    pub(super) async fn use_access(
        &self,
        record: SessionRow,
        access: &SecretString,
    ) -> Result<SessionRow, Error> {
        let used = self.update_record(record, |record, now| {
            let mut family = record.family();
            let is_valid = record.row.access.matches(access.expose_secret());
            let pair = match is_valid {
                true => Some(family.current()),
                false => record.pair_key().pair_of_access(access),
            };
            let access_use = family.handle_access(pair);
            if access_use == AccessUse::Reused && record.ensure_live(now).is_ok() {
                let reuse = record.reuse(now, Actor::system("guest-suite"), access);
                let end = record.end(
                    EndReason::TokenReuse,
                    Actor::system("guest-suite"),
                    now,
                    Some(reuse),
                );
                return Ok((end, Err(ErrorCode::BadCredentials.into())));
            }
            if !is_valid {
                return Err(ErrorCode::BadCredentials.into());
            }
            record.ensure_live(now)?;
            if record.row.expires_at <= now.utc {
                return Err(ErrorCode::CredentialsExpired.into());
            }
            let mut marked = record.clone();
            if access_use != AccessUse::First {
                return Ok((Mutation::default(), Ok(marked)));
            }
            marked.document.tokens = Some(family);
            Ok((marked.store().into(), Ok(marked)))
        });
        used.await?
    }
}

impl SessionRow {
    /// The family of its tokens. A session of an earlier version has tokens that are not derived.
    fn family(&self) -> RefreshTokenFamily {
        let family = self.document.tokens.clone();
        family.unwrap_or_else(|| RefreshTokenFamily::adopt(self.row.generation))
    }

    /// The entry of the use of a token that was replaced.
    fn reuse(&self, now: Now, actor: Actor, token: &SecretString) -> Draft {
        let token = self.row.fingerprint(&TokenHash::of(token.expose_secret()));
        self.draft(now, actor, "token.reuse_detected")
            .outcome(Outcome::Denied)
            .detail("generation", number(&self.family()))
            .detail("token", token.to_string())
    }

    fn pair_key(&self) -> PairKey {
        PairKey::new(&self.row.secrets.token_key())
    }

    /// The relation of a refresh token to the family. The hashes recognize tokens that are not derived, too.
    fn classify(&self, refresh: &SecretString, family: &RefreshTokenFamily) -> Presented {
        let text = refresh.expose_secret();
        match self.row.previous_refresh {
            _ if self.row.refresh.matches(text) => Presented::Current,
            Some(previous) if previous.matches(text) => Presented::Previous,
            _ => family.classify(self.pair_key().pair_of_refresh(refresh)),
        }
    }

    /// The family of its tokens, if the valid pair is the first one and unused.
    pub(super) fn unused_family(&self) -> Option<RefreshTokenFamily> {
        let is_first = |family: &RefreshTokenFamily| family.current().generation() == 1 && !family.is_used();
        self.document.tokens.clone().filter(is_first)
    }

    /// Issues the unused pair of `family` again. A pair whose reply was lost for longer than the lifetime of its access token
    /// gets new deadlines.
    pub(super) fn reissue(
        &self,
        family: RefreshTokenFamily,
        direct: &Direct,
        entry: Draft,
        now: Now,
    ) -> (Mutation, Created) {
        let warnings = direct.policy().warnings(self.document.data.as_attributes());
        if now.until(self.row.expires_at).as_secs() > 0 {
            let created = Created {
                session: self.info(now.utc),
                tokens: self.tokens_of(&family, now),
                warnings,
            };
            return (Mutation::repeated(entry), created);
        }
        let mut next = self.clone();
        let tokens = next.issue(family, &direct.shared.config, now);
        let session = next.info(now.utc);
        let entry = entry
            .detail("token", self.row.fingerprint(&next.row.refresh).to_string())
            .detail("expiresAt", rfc3339(tokens.expires_at));
        let mutation = Mutation {
            entries: vec![entry],
            ..next.store().into()
        };
        let created = Created {
            session,
            tokens,
            warnings,
        };
        (mutation, created)
    }

    /// The tokens of the valid pair, with the deadlines of the row.
    fn tokens_of(&self, family: &RefreshTokenFamily, now: Now) -> RefreshedTokens {
        let (key, pair) = (self.pair_key(), family.current());
        RefreshedTokens {
            id: self.row.id.clone(),
            access_token: key.access_token(pair),
            refresh_token: key.refresh_token(pair),
            expires_at: self.row.expires_at,
            expires_in: now.until(self.row.expires_at).as_secs(),
            refresh_expires_in: now.until(self.row.idle_deadline).as_secs(),
        }
    }

    /// Issues the valid pair of `family`: stores the family, the hashes and the deadlines in the row.
    pub(super) fn issue(
        &mut self,
        family: RefreshTokenFamily,
        config: &DirectConfig,
        now: Now,
    ) -> RefreshedTokens {
        self.row.expires_at = now.utc + config.access_token_lifetime;
        self.row.idle_deadline = now.utc + config.idle_timeout;
        let tokens = self.tokens_of(&family, now);
        self.row.access = TokenHash::of(tokens.access_token.expose_secret());
        self.row.refresh = TokenHash::of(tokens.refresh_token.expose_secret());
        self.row.generation = family.current().generation();
        self.document.tokens = Some(family);
        tokens
    }
}

/// Number of the valid pair, for the audit log.
fn number(family: &RefreshTokenFamily) -> i64 {
    i64::try_from(family.current().generation()).unwrap_or(i64::MAX)
}
