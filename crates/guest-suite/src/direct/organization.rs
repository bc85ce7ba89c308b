//! The organizations of Genesys Cloud, each with its channels.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::PoisonError;

use genesys_api::{ChannelId, DeploymentId, Hosts, SessionId};
use genesys_http::Client;
use guest_conversation::client::{
    ConnectLimiter, DeploymentCache, LiveSessions, SignInService, SignedInGuests,
};
use guest_store::Session;
use ws_transport::AdmittedOrigin;

use super::{Direct, Shared};
use crate::Error;

/// An organization of Genesys Cloud.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the caller")]
pub struct Organization {
    /// Name in figures and in the memberships of owners. Default: `default`.
    pub name: String,
    /// HTTP client for calls and sockets to Genesys, with its proxy and the rate limit of its calls. Default:
    /// [`RateLimiter::of_organization`](genesys_http::RateLimiter::of_organization).
    pub http: Client,
    /// Hosts of Genesys Cloud, or of a simulator.
    pub hosts: Hosts,
    /// Origin of the sockets to Genesys in place of that of a page.
    pub origin: Option<AdmittedOrigin>,
    /// The messenger deployment of each channel.
    pub deployments: BTreeMap<ChannelId, DeploymentId>,
    /// Largest number of new sockets to each deployment in a minute, of the 1,000 that Genesys takes. The owners of sessions
    /// take turns. Default: [`ConnectLimiter::PER_MINUTE`].
    pub connections_per_minute: NonZeroU32,
}

impl Organization {
    /// The organization `default`, without a channel.
    #[must_use]
    pub fn new(http: Client, hosts: Hosts) -> Self {
        Self {
            name: "default".to_owned(),
            http,
            hosts,
            origin: None,
            deployments: BTreeMap::new(),
            connections_per_minute: ConnectLimiter::PER_MINUTE,
        }
    }
}

/// An organization, with the state that this process has of it.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) organization: Organization,
    pub(super) published: DeploymentCache,
    pub(super) limiters: BTreeMap<DeploymentId, ConnectLimiter>,
    pub(super) signed_in: SignedInGuests,
}

impl Services {
    pub(super) fn new(organization: Organization, live: LiveSessions) -> Self {
        let (http, hosts) = (&organization.http, &organization.hosts);
        let deployments = organization.deployments.values();
        let limiter = |deployment: &DeploymentId| {
            let limiter = ConnectLimiter::per_minute(organization.connections_per_minute);
            (deployment.clone(), limiter)
        };
        let sign_in = SignInService {
            http: http.clone(),
            host: hosts.api.clone(),
        };
        Self {
            published: DeploymentCache::new(http.clone(), hosts.cdn.clone(), deployments.clone()),
            limiters: deployments.map(limiter).collect(),
            signed_in: SignedInGuests::new(sign_in, live),
            organization,
        }
    }
}

impl Direct {
    /// Sets the names of the organizations whose channels each owner may use, also for sessions that exist: those of other
    /// organizations are unknown to their owner, and only their `erased` events are sent to its webhooks. They expire and are
    /// erased as before, and open conversations go on. With `None`, as at first, every owner may use all.
    pub fn set_memberships(&self, memberships: Option<BTreeMap<String, BTreeSet<String>>>) {
        let held = &self.shared.memberships;
        *held.write().unwrap_or_else(PoisonError::into_inner) = memberships;
    }

    /// The number of sockets to Genesys that wait for the limit of their deployment, with the name of its organization.
    pub fn waiting_connections(&self) -> impl Iterator<Item = (&str, &DeploymentId, usize)> {
        self.shared.organizations.iter().flat_map(|services| {
            let name = services.organization.name.as_str();
            let limiters = services.limiters.iter();
            limiters.map(move |(deployment, limiter)| (name, deployment, limiter.waiting()))
        })
    }

    /// The organization and the deployment of a channel.
    pub(super) fn channel(&self, channel: &ChannelId) -> Result<(&Services, &DeploymentId), Error> {
        let mut organizations = self.shared.organizations.iter();
        let found = organizations
            .find_map(|services| Some((services, services.organization.deployments.get(channel)?)));
        found.ok_or_else(|| unknown(channel))
    }

    /// As [`Self::channel`], for an owner, to whom the channels of other organizations are unknown.
    pub(super) fn channel_of(
        &self,
        owner: &str,
        channel: &ChannelId,
    ) -> Result<(&Services, &DeploymentId), Error> {
        let found = self.channel(channel)?;
        let memberships = self.shared.memberships.read();
        let memberships = memberships.unwrap_or_else(PoisonError::into_inner);
        let name = &found.0.organization.name;
        let is_member = |of: &BTreeMap<String, BTreeSet<String>>| {
            of.get(owner)
                .is_some_and(|organizations| organizations.contains(name))
        };
        match memberships.as_ref().is_none_or(is_member) {
            true => Ok(found),
            false => Err(unknown(channel)),
        }
    }

    /// Whether the owner of a session may use its organization. The session of a channel that was removed stays its owner's,
    /// who can still end it.
    pub(super) fn is_known(&self, session: &Session) -> bool {
        let Session { owner, channel, .. } = session;
        self.channel(channel).is_err() || self.channel_of(owner, channel).is_ok()
    }
}

impl Shared {
    /// Removes the signed-in guest of a session that has ended.
    pub(super) fn remove_signed_in(&self, id: &SessionId) {
        let organizations = self.organizations.iter();
        organizations.for_each(|services| services.signed_in.remove(id));
    }
}

fn unknown(channel: &ChannelId) -> Error {
    let reason = format!("{channel} is not configured, use the id of a configured one");
    Error::invalid("channelConfigurationId", reason)
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    //! Owners and their organizations.

    use guest_payload::NewGuest;
    use guest_sessions::ErrorCode;
    use ws_transport::OriginPolicy;

    use super::*;
    use crate::direct::DirectConfig;

    #[tokio::test]
    async fn session_of_an_owner_who_left_the_organization_opens_no_conversation() {
        let config = DirectConfig::new(Hosts::of_domain("mypurecloud.de").unwrap()).unwrap();
        let config = config.with_channel("shop-chat".parse().unwrap(), "d-1".parse().unwrap());
        let direct = Direct::open(config).await.unwrap();
        let set = |owner: &str| {
            let organizations = BTreeSet::from(["default".to_owned()]);
            direct.set_memberships(Some(BTreeMap::from([(owner.to_owned(), organizations)])));
        };
        set("shop");
        let body = br#"{"channelConfigurationId": "shop-chat", "guestAttributes": {"region": "EU"},
            "consent": {"marketing": true, "personalization": true, "analytics": false}}"#;
        let guest = NewGuest::parse(body, Default::default(), direct.clock().now().utc).unwrap();
        let id = direct.create("shop", guest, None).await.unwrap().session.id;
        set("another");
        let policy = OriginPolicy::new(["https://shop.example"]).unwrap();
        let origin = policy.admit_own(&policy.origins()[0]).unwrap();
        let refused = direct.connect("shop", &id, origin).await;
        assert!(matches!(refused, Err(Error::Refused(ErrorCode::NotFound))));
    }
}
