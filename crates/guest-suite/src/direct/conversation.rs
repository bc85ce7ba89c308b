//! Opening the conversation of a session with Genesys Cloud, and its stages in the funnel.

use std::sync::Arc;

use audit::Actor;
use genesys_api::SessionId;
use guest_conversation::WebMessaging;
pub use guest_conversation::client::SessionConnection as Conversation;
use guest_conversation::client::{LiveGuard, Settings};
use session_metrics::SessionStage;
use webhook::EventName;
use ws_transport::{AdmittedOrigin, SocketUrl};

use super::session_row::{SessionRow, custom_attributes};
use super::storage::Storage;
use super::update::Mutation;
use super::{Admitted, Direct};
use crate::Error;

impl Direct {
    /// Opens the session's socket to Genesys Cloud from `origin`, or that of the organization, which the deployment must
    /// allow.
    ///
    /// [`ConnectionEvent::Ready`](guest_conversation::ConnectionEvent::Ready) reports success. The messages since the last delivered one, or else since the creation
    /// of the session, follow from the history. The first connection of a session is recorded before it is opened.
    ///
    /// # Errors
    /// `ErrorCode::NotFound`, `ErrorCode::SessionEnded`, [`Error::InvalidValue`] if the configuration no longer has the
    /// session's channel, [`Error::NotAdmitted`] if Genesys Cloud would refuse the socket, or the store's.
    pub async fn connect(
        &self,
        owner: &str,
        id: &SessionId,
        origin: AdmittedOrigin,
    ) -> Result<Conversation, Error> {
        // before the session is read, so that no end is missed
        let guard = self.shared.live.guard(id);
        let record = self.load(owner, id).await?;
        self.open_conversation(record, guard, origin, false).await
    }

    /// As [`Direct::connect`], for an admitted guest. If Genesys Cloud refuses the deployment or the origin, the
    /// conversation stays open and tries again, as with [`WebMessaging::retry_refusals`].
    ///
    /// # Errors
    /// As [`Direct::connect`], but for [`Error::NotAdmitted`].
    pub async fn connect_admitted(
        &self,
        admitted: Admitted,
        origin: AdmittedOrigin,
    ) -> Result<Conversation, Error> {
        let Admitted { record, guard, .. } = admitted;
        self.open_conversation(*record, guard, origin, true).await
    }

    async fn open_conversation(
        &self,
        record: SessionRow,
        guard: LiveGuard,
        origin: AdmittedOrigin,
        retry_refusals: bool,
    ) -> Result<Conversation, Error> {
        record.ensure_live(self.clock().now())?;
        let record = self.reevaluated(record).await?;
        let config = &self.shared.config;
        let (services, deployment) = self.channel_of(&record.row.owner, &record.row.channel)?;
        let organization = &services.organization;
        let origin = organization.origin.clone().unwrap_or(origin);
        let url = SocketUrl::of_host(&organization.hosts.messaging, web_messaging::PATH)
            .expect("a host and a plain path are a socket URL");
        let published = services.published.published(deployment).await;
        let rules = match published.admit(origin.origin()) {
            Err(_) if retry_refusals => published.rules(),
            admitted => admitted?,
        };
        let jwt = self.jwt(&record).await?;
        // the conversation sends attributes, so that it is opened only once their disclosure is recorded
        let record = self.reach(record, SessionStage::Connected).await?;
        record.ensure_live(self.clock().now())?;
        let stored = &record.document;
        let (read_marker, resume_message) = match guard.read_marker() {
            Some(live) if stored.read_marker <= Some(live.at) => (Some(live.at), Some(live.message)),
            _ => (stored.read_marker, stored.read_message.clone()),
        };
        let session = WebMessaging {
            rules,
            api: Some(organization.hosts.api.clone()),
            resume_after: Some(read_marker.unwrap_or(record.row.created_at)),
            resume_message,
            attributes: custom_attributes(&record.document.data)?,
            jwt,
            queue_timeout: config.queue_timeout,
            retry_refusals,
            ..WebMessaging::new(deployment.clone(), record.row.secrets.genesys_token.clone())
        };
        let settings = Settings {
            http: organization.http.clone(),
            url,
            origin,
            limiter: services.limiters[deployment].of_owner(&record.row.owner),
        };
        let reached = record.document.journey.stage();
        let storage = Arc::new(Storage::of_conversation(self, record));
        Ok(Conversation::open(
            guest_conversation::Conversation::new(session),
            settings,
            guard,
            services.signed_in.clone(),
            storage,
            reached,
        ))
    }

    /// Stores that the session reached `stage`, and returns its row. A reply to a guest who has sent nothing changes
    /// nothing.
    pub(super) async fn reach(&self, record: SessionRow, stage: SessionStage) -> Result<SessionRow, Error> {
        self.update_record(record, |record, now| {
            let mut changed = record.clone();
            let is_live = record.row.ended_at.is_none();
            let journey = &mut changed.document.journey;
            let Some(metric) = is_live.then(|| journey.reach(stage, now.utc)).flatten() else {
                return Ok((Mutation::default(), changed));
            };
            let is_configured = |row: &SessionRow| row.document.journey.stage() >= SessionStage::Configured;
            let configured = !is_configured(record) && is_configured(&changed);
            let configured = configured.then(|| changed.event(EventName::Configured, now.utc));
            let mut mutation = Mutation {
                events: configured.into_iter().collect(),
                metric: Some((record.labels(), metric)),
                ..changed.store().into()
            };
            if record.document.journey.stage() < SessionStage::Connected {
                // what a conversation sends to Genesys, now or later: attributes are never added
                let entry = record.draft(now, Actor::system("guest-suite"), "ws.connected");
                let entry = entry.details(record.document.data.disclosure_details());
                mutation.entries.push(entry);
            }
            Ok((mutation, changed))
        })
        .await
    }
}
