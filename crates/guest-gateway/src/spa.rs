//! `/spa`: sessions of pages without a backend of their own.
//!
//! The browser holds one credential of its session: a cookie that no script can read, or, for pages of another site, a
//! resume handle that is bound to their origin and exchanged for short access tokens. It is derived from a key of the
//! session, so that nothing is stored for it. Refresh tokens and Genesys' tokens never reach the browser.

mod access_token;
mod admission;
mod assertion;
mod assertion_key;
mod credential;
mod limits;
mod session;
mod stream;
mod ticket;

use std::sync::OnceLock;
use std::time::Duration;

use genesys_api::{ChannelId, Host, Origin};
use guest_sessions::Route;

pub(crate) use self::admission::{admit_visitor, audited, check_csrf, is_fetched_by, is_of_browser};
pub(crate) use self::assertion_key::AssertionKey;
pub(crate) use self::credential::cookies;
pub(crate) use self::session::{
    admit_by_ticket, change_consent, create, create_ticket, end, extend, fetch, fetch_settings, resume,
};
pub(crate) use self::stream::{event_stream, frame_event, open_stream, send_frame};

use self::access_token::AccessTokens;
use self::assertion::Assertions;
use self::limits::PageLimits;
use self::stream::Streams;
use self::ticket::Tickets;
use crate::config::{self, ConfigError, Embedding};
use crate::keys::Keys;

/// Whether a route is one of pages without a backend.
pub(crate) fn has(route: &Route) -> bool {
    route.path.starts_with("/spa/")
}

/// Sessions of pages without a backend.
#[derive(Debug)]
pub(crate) struct Spa {
    /// The API client that owns the sessions.
    owner: String,
    channel: ChannelId,
    embedding: Embedding,
    access_tokens: AccessTokens,
    tickets: Tickets,
    streams: Streams,
    /// Whether the log names a refused page of another site.
    other_site: OnceLock<()>,
}

/// The rules of such sessions that a reload changes.
#[derive(Debug)]
pub(crate) struct PageRules {
    /// Whether guests without an assertion are admitted.
    anonymous: bool,
    /// Longest lifetime of a session, however often it is used.
    lifetime: Duration,
    assertions: Assertions,
    limits: PageLimits,
}

impl PageRules {
    /// # Errors
    /// If a key of assertions cannot be read.
    pub(crate) fn new(config: &config::Spa, public: &Host) -> Result<Self, ConfigError> {
        Ok(Self {
            anonymous: config.anonymous,
            lifetime: config.lifetime,
            assertions: Assertions::new(config.assertion_keys()?, public.to_string()),
            limits: PageLimits::new(config.sessions_per_minute, config.requests_per_minute),
        })
    }

    /// Continues the counts of the rules before a reload.
    pub(crate) fn continue_from(&mut self, before: &Self) {
        self.limits.continue_from(&before.limits);
    }
}

impl Spa {
    pub(crate) fn new(config: &config::Spa, channel: ChannelId, keys: &Keys) -> Self {
        Self {
            embedding: config.embedding,
            access_tokens: AccessTokens::new(&keys.for_pages()),
            owner: config.client.as_str().to_owned(),
            channel,
            tickets: Tickets::default(),
            streams: Streams::default(),
            other_site: OnceLock::new(),
        }
    }

    /// Whether the pages are of the gateway's site.
    pub(crate) fn is_same_site(&self) -> bool {
        self.embedding == Embedding::SameSite
    }

    /// Logs once that a page of another site was refused, if its origin is an allowed one.
    fn log_other_site(&self, origin: Option<&Origin>) {
        let Some(origin) = origin else { return };
        self.other_site.get_or_init(|| {
            tracing::warn!(
                %origin,
                "a page of an allowed origin was refused, because it is of another site than this gateway: set `embedding = \
                 \"cross-site\"` of [spa], or serve both from one site"
            );
        });
    }
}
