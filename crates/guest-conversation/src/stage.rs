//! Stages of a session that events report.

use genesys_api::SessionStage;

use crate::{ConnectionEvent, DeliveryStatus, Event};

impl Event {
    /// The stage that the session has reached with this event.
    #[must_use]
    pub fn stage(&self) -> Option<SessionStage> {
        match self {
            Self::Connection(ConnectionEvent::Ready(_) | ConnectionEvent::Restored(_)) => {
                Some(SessionStage::Configured)
            }
            Self::Delivery {
                status: DeliveryStatus::Delivered { .. },
                ..
            } => Some(SessionStage::FirstGuestMessage),
            Self::Message(_) => Some(SessionStage::FirstReply),
            _ => None,
        }
    }
}
