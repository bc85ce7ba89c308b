//! Guests and their sessions, whichever mode keeps them.

use genesys_api::{ChannelId, GuestId, SessionId};
use guest_payload::SessionState;
use guest_payload::{Age, Attributes, Consent, ConsentRecord, Jurisdictions, Signals};
use time::OffsetDateTime;

/// A guest who may get a session, if the policy allows it.
#[derive(Clone, Debug)]
pub struct NewGuest {
    /// The channel to talk on.
    pub channel: ChannelId,
    /// Who it is; made up when absent.
    pub guest: Option<GuestId>,
    /// Where the guest is, as far as anyone knows. The most protective place wins, and none at all is the strictest.
    pub jurisdictions: Jurisdictions,
    /// How old the guest may be.
    pub age: Age,
    /// What the guest chose, with the evidence.
    pub consent: Consent,
    /// What the guest's browser signals.
    pub signals: Signals,
    /// What is known of the guest, each piece with its use.
    pub attributes: Attributes,
}

impl NewGuest {
    /// A guest of whom nothing else is known. Every field can be set.
    #[must_use]
    pub fn new(channel: ChannelId, jurisdictions: Jurisdictions, consent: Consent) -> Self {
        Self {
            channel,
            guest: None,
            jurisdictions,
            age: Age::UNKNOWN,
            consent,
            signals: Signals::default(),
            attributes: Attributes::new(),
        }
    }
}

/// A session as its owner may see it. It holds no token.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// The guest.
    pub guest: GuestId,
    /// How far it has come.
    pub state: SessionState,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// End of the access token.
    pub expires_at: OffsetDateTime,
    /// When it ended, and why.
    pub ended: Option<(OffsetDateTime, String)>,
    /// What the guest consented to, and what follows.
    pub consent: ConsentRecord,
}
