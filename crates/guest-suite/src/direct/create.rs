//! Creating a session, under the consent rules of the guest's jurisdiction.

use audit::{Actor, Draft, Outcome};
use genesys_api::{GuestId, Now, entropy};
use guest_payload::{NewGuest, NewSession, Refused};
use guest_store::{Change, Session, TokenHash, Unit};
use secrecy::ExposeSecret as _;
use session_metrics::{Journey, SessionStage};
use webhook::EventName;

use super::session_row::{Document, SessionRow, with_details};
use super::update::Mutation;
use super::{Direct, DirectError, Tokens};
use crate::SessionInfo;

/// A session that was created, with the only copy of its tokens.
#[derive(Clone, Debug)]
pub struct Created {
    /// The session.
    pub session: SessionInfo,
    /// Its tokens.
    pub tokens: Tokens,
}

impl Direct {
    /// Creates a session for `owner`, if the policy allows it.
    ///
    /// # Errors
    /// [`DirectError::ConsentRequired`] if the policy does not, which is written to the audit log;
    /// [`DirectError::GuestInUse`], [`DirectError::UnknownChannel`], [`DirectError::Full`], or the store's.
    pub async fn create(&self, owner: &str, mut guest: NewGuest) -> Result<Created, DirectError> {
        let config = &self.shared.config;
        if !config.deployments.contains_key(&guest.channel) {
            return Err(DirectError::UnknownChannel {
                channel: guest.channel,
            });
        }
        if usize::try_from(self.shared.metrics.open()).map_or(true, |open| open >= config.limit) {
            return Err(DirectError::Full { limit: config.limit });
        }
        let now = self.clock().now();
        let id = guest.guest.get_or_insert_with(|| entropy::uuid().into()).clone();
        let new = match guest.decide(config.policy, now.utc) {
            Ok(new) => new,
            Err(refused) => {
                self.commit(Unit {
                    entries: vec![denial(owner, &refused, now)],
                    ..Unit::default()
                })
                .await?;
                return Err(DirectError::ConsentRequired(Box::new(refused)));
            }
        };
        let tokens = Tokens::issue(now.utc, config.access_token_lifetime);
        let record = self.record(owner, id, &new, &tokens, now);
        let session = record.info();
        let entry = Draft::new(now.utc, Actor::client(owner), "session.created").subject(record.subject());
        let entry = with_details(entry, session.consent.audit_details());
        let event = record.event(EventName::Created, now.utc);
        let unit = Unit {
            change: Some(Change::CreateSession(record.into_row())),
            entries: vec![entry],
            events: vec![event],
        };
        let (_, created) = Journey::begin(now.instant);
        self.commit(Mutation {
            unit,
            metric: Some(created),
            update: None,
        })
        .await?;
        Ok(Created { session, tokens })
    }

    fn record(&self, owner: &str, guest: GuestId, new: &NewSession, tokens: &Tokens, now: Now) -> SessionRow {
        let document = Document {
            data: new.data().clone(),
            stage: SessionStage::Created,
            asked_at: None,
            waited_ms: None,
            read_marker: None,
            end_reason: None,
        };
        let row = Session {
            expires_at: tokens.expires_at,
            idle_deadline: now.utc + self.shared.config.idle_timeout,
            access: TokenHash::of(tokens.access.expose_secret()),
            refresh: TokenHash::of(tokens.refresh.expose_secret()),
            ..Session::new(owner, guest, new.channel().clone(), now.utc)
        };
        SessionRow { row, document }
    }
}

fn denial(owner: &str, refused: &Refused<'_>, now: Now) -> Draft {
    let entry = Draft::new(now.utc, Actor::client(owner), "session.denied").outcome(Outcome::Denied);
    with_details(entry, refused.audit_details())
}
