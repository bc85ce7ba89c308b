//! The paths with parts that vary, and who answers there.

use bytes::Bytes;
use genesys_api::Now;
use http::{Method, Request, Response};

use super::{Problem, authorize, notification, platform, push, sign_in, transfer};
use crate::world::World;

/// What a path names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resource<'a> {
    Authorize,
    Channels,
    Configuration(&'a str, &'a str),
    Deployment(&'a str),
    Download,
    Exchange,
    MessageDetails(&'a str),
    PushDevice(&'a str, &'a str),
    Refresh,
    Revoke,
    Subscriptions(&'a str),
    Upload,
}

impl<'a> Resource<'a> {
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        let parts: Vec<_> = path.strip_prefix('/')?.split('/').collect();
        if parts.contains(&"") {
            return None;
        }
        Some(match *parts.as_slice() {
            ["oauth", "authorize"] => Self::Authorize,
            ["upload", _] => Self::Upload,
            ["download", _] => Self::Download,
            ["api", "v2", ref rest @ ..] => match *rest {
                ["conversations", "messages", id, "details"] => Self::MessageDetails(id),
                ["notifications", "channels"] => Self::Channels,
                ["notifications", "channels", id, "subscriptions"] => Self::Subscriptions(id),
                ["webdeployments", "configurations", id, "versions", version] => {
                    Self::Configuration(id, version)
                }
                ["webdeployments", "deployments", id] => Self::Deployment(id),
                ["webdeployments", "token", "oauthcodegrantjwtexchange"] => Self::Exchange,
                ["webdeployments", "token", "refresh"] => Self::Refresh,
                ["webdeployments", "token", "revoke"] => Self::Revoke,
                ["webmessaging", "deployments", id, "pushdevices", device] => Self::PushDevice(id, device),
                _ => return None,
            },
            _ => return None,
        })
    }

    pub(super) fn methods(self) -> &'static [Method] {
        match self {
            Self::Authorize
            | Self::Configuration(..)
            | Self::Deployment(_)
            | Self::Download
            | Self::MessageDetails(_) => &[Method::GET],
            Self::Channels | Self::Exchange | Self::Refresh => &[Method::POST],
            Self::PushDevice(..) => &[Method::DELETE, Method::PATCH, Method::POST],
            Self::Revoke => &[Method::DELETE],
            Self::Subscriptions(_) => &[Method::DELETE, Method::GET, Method::POST, Method::PUT],
            Self::Upload => &[Method::PUT],
        }
    }

    pub(super) fn answer(
        self,
        world: &mut World,
        request: &Request<Bytes>,
        now: Now,
    ) -> Result<Response<Bytes>, Problem> {
        match self {
            Self::Authorize => Ok(authorize::answer(world, request, now)),
            Self::Channels => notification::create(world, request, now),
            Self::Configuration(id, version) => platform::configuration(world, (id, version), request, now),
            Self::Deployment(id) => platform::deployment(world, id, request, now),
            Self::Download => Ok(transfer::download(world, request, now)),
            Self::Exchange => sign_in::exchange(world, request, now),
            Self::MessageDetails(id) => platform::message_details(world, id, request, now),
            Self::PushDevice(id, device) => push::answer(world, (id, device), request),
            Self::Refresh => sign_in::refresh(world, request, now),
            Self::Revoke => sign_in::revoke(world, request, now),
            Self::Subscriptions(id) => notification::subscriptions(world, id, request, now),
            Self::Upload => Ok(transfer::upload(world, request, now)),
        }
    }
}
