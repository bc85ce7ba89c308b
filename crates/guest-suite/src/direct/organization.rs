//! The organizations of Genesys Cloud, each with its channels.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use genesys_api::{ChannelId, DeploymentId, Hosts, SessionId};
use genesys_http::Client;
use guest_conversation::client::{
    ConnectLimiter, DeploymentCache, LiveSessions, SignInService, SignedInGuests,
};
use guest_store::Session;
use ws_transport::AdmittedOrigin;

use super::session_row::SessionRow;
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
        match self.is_member(owner, Some(&found.0.organization.name)) {
            true => Ok(found),
            false => Err(unknown(channel)),
        }
    }

    /// Whether the owner of a session may use its organization. The session of a channel that was removed stays its owner's,
    /// who can still end it, unless its organization was removed too.
    pub(super) fn is_known(&self, session: &Session) -> bool {
        if let Ok((services, _)) = self.channel(&session.channel) {
            return self.is_member(&session.owner, Some(&services.organization.name));
        }
        let Ok(record) = SessionRow::load(session.clone()) else {
            return false;
        };
        let organization = record.document.organization.as_deref();
        let mut organizations = self.shared.organizations.iter();
        organization.is_none_or(|name| organizations.any(|services| services.organization.name == name))
            && self.is_member(&session.owner, organization)
    }

    /// Whether an owner may use this organization, or one that is not known.
    fn is_member(&self, owner: &str, organization: Option<&str>) -> bool {
        self.rules().memberships.as_ref().is_none_or(|memberships| {
            let of_owner = memberships.get(owner).zip(organization);
            of_owner.is_some_and(|(organizations, name)| organizations.contains(name))
        })
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

    use std::collections::BTreeSet;

    use guest_payload::NewGuest;
    use guest_sessions::ErrorCode;
    use ws_transport::OriginPolicy;

    use super::*;
    use crate::direct::{DirectConfig, Rules};

    /// The rules with an owner and its only organization, if any.
    fn of_member(member: Option<(&str, &str)>) -> Rules {
        let of_owner = |(owner, name): (&str, &str)| {
            BTreeMap::from([(owner.to_owned(), BTreeSet::from([name.to_owned()]))])
        };
        Rules {
            memberships: member.map(of_owner),
            ..Rules::default()
        }
    }

    #[tokio::test]
    async fn session_of_an_owner_who_left_the_organization_opens_no_conversation() {
        let config = DirectConfig::new(Hosts::of_domain("mypurecloud.de").unwrap()).unwrap();
        let config = config.with_channel("shop-chat".parse().unwrap(), "d-1".parse().unwrap());
        let direct = Direct::open(config).await.unwrap();
        let set = |owner: &str| {
            direct.set_rules(of_member(Some((owner, "default"))));
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

    #[tokio::test]
    async fn session_of_a_removed_organization_is_hidden_and_of_a_removed_channel_is_not() {
        let config = || DirectConfig::new(Hosts::of_domain("mypurecloud.de").unwrap()).unwrap();
        let (store, http) = (config().store, config().organization.http);
        // the organizations, each with its channel, and those of the owner
        let open = async |organizations: &[(&str, &str)], of_owner: Option<&str>| {
            let mut organizations = organizations.iter().map(|(name, channel)| Organization {
                name: (*name).to_owned(),
                deployments: BTreeMap::from([(channel.parse().unwrap(), "d-1".parse().unwrap())]),
                ..Organization::new(http.clone(), Hosts::of_domain("mypurecloud.de").unwrap())
            });
            let config = DirectConfig {
                rules: of_member(of_owner.map(|name| ("shop", name))),
                store: store.clone(),
                organization: organizations.next().unwrap(),
                further: organizations.collect(),
                ..config()
            };
            Direct::open(config).await.unwrap()
        };
        let both = [("emea", "paris"), ("americas", "austin")];
        let direct = open(&both, Some("americas")).await;
        let body =
            br#"{"channelConfigurationId": "austin", "guestAttributes": {"region": "US"}, "consent": {}}"#;
        let guest = NewGuest::parse(body, Default::default(), direct.clock().now().utc).unwrap();
        let id = direct.create("shop", guest, None).await.unwrap().session.id;
        for (organizations, of_owner, is_known) in [
            (&both[..], Some("americas"), true),
            (&both[..], Some("emea"), false),
            // the channel is replaced
            (&[both[0], ("americas", "boston")][..], Some("americas"), true),
            (&[both[0], ("americas", "boston")][..], Some("emea"), false),
            // the organization is removed
            (&both[..1], Some("emea"), false),
            (&[("default", "paris")][..], None, false),
            (&[("default", "austin")][..], None, true),
        ] {
            let direct = open(organizations, of_owner).await;
            let found = direct.session("shop", &id).await;
            assert_eq!(found.is_ok(), is_known, "{organizations:?} {of_owner:?}");
        }
    }
}
