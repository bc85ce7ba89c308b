//! Public files of a deployment, read before the socket is opened.

use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Call, DeploymentId, Host, ReplyError, json};
use http::{Request, Response};
use serde::Deserialize;
use serde_json::Value;

use crate::DeploymentRules;
use genesys_api::{Origin, SocketUrl};

/// Reads the configuration of a deployment, from the host of the public configurations.
///
/// The service answers 403 for a deployment that does not exist or is inactive.
#[derive(Clone, Debug)]
pub struct ReadConfiguration<'a> {
    /// The deployment.
    pub deployment: &'a DeploymentId,
}

impl Call for ReadConfiguration<'_> {
    type Reply = DeploymentConfiguration;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::get(host, &path(self.deployment, "config.json"))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<DeploymentConfiguration, ReplyError> {
        const EXPECTED: &str = "a deployment's configuration";
        let status = response.status().as_u16();
        let value: Value = json::reply(response, EXPECTED)?;
        DeploymentConfiguration::read(&value).ok_or(ReplyError::Malformed {
            status,
            expected: EXPECTED,
        })
    }
}

/// Reads the origins that a deployment admits, from the host of the public configurations.
#[derive(Clone, Debug)]
pub struct ReadDomains<'a> {
    /// The deployment.
    pub deployment: &'a DeploymentId,
}

impl Call for ReadDomains<'_> {
    type Reply = Domains;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::get(host, &path(self.deployment, "domains.json"))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Domains, ReplyError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            #[serde(default)]
            allow_all_domains: bool,
            #[serde(default)]
            allowed_domains: Vec<String>,
        }
        let body: Body = json::reply(response, "a deployment's domains")?;
        Ok(if body.allow_all_domains {
            Domains::All
        } else {
            Domains::Listed(body.allowed_domains.iter().map(|entry| normal(entry)).collect())
        })
    }
}

/// The public files of a deployment. A file that could not be read forbids nothing: the service decides, and answers
/// the upgrade with 403.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the two public files, put together by the caller"
)]
pub struct Published {
    /// Reply to [`ReadConfiguration`].
    pub configuration: Option<DeploymentConfiguration>,
    /// Reply to [`ReadDomains`].
    pub domains: Option<Domains>,
}

impl Published {
    /// Checks the origin of a guest and returns the rules of the deployment: the defaults if its configuration could not
    /// be read.
    ///
    /// # Errors
    /// If the service would refuse the socket.
    pub fn admit(&self, origin: &Origin) -> Result<DeploymentRules, NotAdmitted> {
        let configuration = self.configuration.as_ref();
        if configuration.is_some_and(|known| known.status == DeploymentStatus::Inactive) {
            return Err(NotAdmitted::Inactive);
        }
        if self
            .domains
            .as_ref()
            .is_some_and(|domains| !domains.admits(origin))
        {
            return Err(NotAdmitted::Origin {
                origin: origin.clone(),
            });
        }
        Ok(configuration.map(DeploymentRules::from).unwrap_or_default())
    }
}

/// A refusal of a guest by the public files of a deployment.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAdmitted {
    /// The deployment is inactive.
    #[error("the messenger deployment is not active: an administrator can activate it")]
    Inactive,
    /// The deployment's domains do not include the origin.
    #[error(
        "the messenger deployment does not allow the origin {origin}: add its domain to those of the deployment, or \
         come from another page"
    )]
    Origin {
        /// The origin.
        origin: Origin,
    },
}

/// The part of a deployment's configuration that a client applies.
///
/// Only the id is required. A switch that is missing, or of an unexpected type, counts as off.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DeploymentConfiguration {
    /// The deployment.
    pub id: DeploymentId,
    /// Its version, which increases.
    pub version: Option<String>,
    /// Its status.
    pub status: DeploymentStatus,
    /// Default language, such as `en-us`.
    pub default_language: Option<String>,
    /// Host of the platform API, for the history and for signing in.
    pub api: Option<Host>,
    /// URL of the socket.
    pub messaging: Option<SocketUrl>,
    /// The guest joins as soon as a new session is configured.
    pub autostart: bool,
    /// Notice when the agent ends the conversation. `None`: no notice, which is the default.
    pub disconnect: Option<DisconnectNotice>,
    /// The guest may clear the conversation.
    pub conversation_clear: bool,
    /// Files that a guest may send.
    pub attachments: Attachments,
    /// Typing of the agent is shown.
    pub agent_typing: bool,
    /// Typing of the guest is sent.
    pub guest_typing: bool,
    /// Lifetime of a session after its last message.
    pub session_duration: Option<Duration>,
    /// Data that Genesys' tracking may receive.
    pub journey_events: bool,
    /// Guests sign in.
    pub sign_in: bool,
    /// A guest may sign in during the conversation.
    pub step_up: bool,
}

impl DeploymentConfiguration {
    fn read(value: &Value) -> Option<Self> {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str);
        let flag = |path: &str| value.pointer(path).and_then(Value::as_bool);
        let is_on = |path: &str| flag(path).unwrap_or(false);
        let conversations = |name: &str| format!("/messenger/apps/conversations/{name}");
        Some(Self {
            id: text("/id")?.parse().ok()?,
            version: text("/version").map(str::to_owned),
            status: match text("/status") {
                Some("Active") => DeploymentStatus::Active,
                Some("Inactive") => DeploymentStatus::Inactive,
                other => DeploymentStatus::Other(other.unwrap_or_default().to_owned()),
            },
            default_language: text("/defaultLanguage").map(str::to_owned),
            api: text("/apiEndpoint").and_then(|url| url.parse().ok()),
            messaging: text(&conversations("messagingEndpoint")).and_then(|url| url.parse().ok()),
            autostart: is_on(&conversations("autoStart/enabled")),
            disconnect: is_on(&conversations("conversationDisconnect/enabled")).then(|| {
                match text(&conversations("conversationDisconnect/type")) {
                    Some("ReadOnly") => DisconnectNotice::ReadOnly,
                    _ => DisconnectNotice::Send,
                }
            }),
            conversation_clear: is_on(&conversations("conversationClear/enabled")),
            attachments: match flag("/messenger/fileUpload/enableAttachments") {
                Some(true) => Attachments::AsTheSessionSays,
                Some(false) => Attachments::Off,
                None => Attachments::read(value.pointer("/messenger/fileUpload/modes")),
            },
            agent_typing: is_on(&conversations("showAgentTypingIndicator")),
            guest_typing: is_on(&conversations("showUserTypingIndicator")),
            session_duration: value
                .pointer(&conversations("sessionDurationSeconds"))
                .and_then(Value::as_u64)
                .map(Duration::from_secs),
            journey_events: is_on("/journeyEvents/enabled"),
            sign_in: is_on("/auth/enabled"),
            step_up: is_on("/auth/allowSessionUpgrade"),
        })
    }
}

impl From<&DeploymentConfiguration> for DeploymentRules {
    fn from(configuration: &DeploymentConfiguration) -> Self {
        Self {
            attachments: configuration.attachments != Attachments::Off,
            autostart: configuration.autostart,
            clear: configuration.conversation_clear,
            session_duration: configuration.session_duration,
            typing: configuration.guest_typing,
        }
    }
}

/// The status of a deployment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DeploymentStatus {
    /// Guests are admitted.
    Active,
    /// Guests are not admitted.
    Inactive,
    /// Another status, or none.
    Other(String),
}

/// The notice when the agent ends the conversation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DisconnectNotice {
    /// The conversation becomes read-only.
    ReadOnly,
    /// The guest may continue.
    Send,
}

/// Files that a guest may send.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Attachments {
    /// The rules of the `SessionResponse` (`allowedMedia`); the modes beside it are ignored.
    AsTheSessionSays,
    /// These types only: the older form.
    Modes(Vec<FileMode>),
    /// No files.
    Off,
}

impl Attachments {
    fn read(modes: Option<&Value>) -> Self {
        let modes: Vec<_> = modes
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(FileMode::read)
            .collect();
        if modes.is_empty() {
            Self::Off
        } else {
            Self::Modes(modes)
        }
    }
}

/// Files of some types, up to a size.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FileMode {
    /// Media types.
    pub file_types: Vec<String>,
    /// Largest file, in KiB.
    pub max_file_size_kb: Option<u64>,
}

impl FileMode {
    fn read(value: &Value) -> Self {
        let types = value["fileTypes"].as_array().into_iter().flatten();
        Self {
            file_types: types.filter_map(Value::as_str).map(str::to_owned).collect(),
            max_file_size_kb: value["maxFileSizeKB"].as_u64(),
        }
    }
}

/// The origins that a deployment admits.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Domains {
    /// Every origin.
    All,
    /// These domains, in lower case, and their subdomains. An empty list admits none.
    Listed(Vec<String>),
}

impl Domains {
    /// Whether the deployment admits this origin, by the rule of Genesys' browser SDK: the host name is an entry, or
    /// ends with a dot and an entry; scheme, port and letter case are ignored. The service checks again, and answers
    /// the upgrade with 403.
    #[must_use]
    pub fn admits(&self, origin: &Origin) -> bool {
        let Self::Listed(entries) = self else {
            return true;
        };
        let host = origin.host().to_string();
        entries.iter().any(|entry| {
            let above = host.strip_suffix(entry.as_str());
            !entry.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        })
    }
}

/// A host name in the spelling of an origin.
fn normal(entry: &str) -> String {
    url::Host::parse(entry).map_or_else(|_| entry.to_lowercase(), |host| host.to_string())
}

fn path(deployment: &DeploymentId, file: &str) -> String {
    format!("/webdeployments/v1/deployments/{deployment}/{file}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(body: &str) -> Option<DeploymentConfiguration> {
        let deployment = "b3c2".parse().unwrap();
        let call = ReadConfiguration {
            deployment: &deployment,
        };
        match call.reply(Response::new(Bytes::copy_from_slice(body.as_bytes()))) {
            Ok(configuration) => Some(configuration),
            Err(ReplyError::Malformed { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn domains(body: &str) -> Domains {
        let deployment = "b3c2".parse().unwrap();
        let call = ReadDomains {
            deployment: &deployment,
        };
        call.reply(Response::new(Bytes::copy_from_slice(body.as_bytes())))
            .unwrap()
    }

    #[test]
    fn public_files_are_read_from_the_public_host() {
        let host: Host = "https://api-cdn.mypurecloud.ie".parse().unwrap();
        let deployment = "b3c2".parse().unwrap();
        let call = ReadConfiguration {
            deployment: &deployment,
        };
        assert_eq!(
            call.request(&host).uri(),
            "https://api-cdn.mypurecloud.ie/webdeployments/v1/deployments/b3c2/config.json"
        );
        let call = ReadDomains {
            deployment: &deployment,
        };
        assert_eq!(
            call.request(&host).uri(),
            "https://api-cdn.mypurecloud.ie/webdeployments/v1/deployments/b3c2/domains.json"
        );
        let mut unknown = Response::new(Bytes::from_static(b"<Error>AccessDenied</Error>"));
        *unknown.status_mut() = http::StatusCode::FORBIDDEN;
        assert_eq!(
            call.reply(unknown)
                .unwrap_err()
                .problem()
                .map(|problem| problem.status),
            Some(403)
        );
    }

    #[test]
    fn switch_that_is_missing_or_of_another_type_is_off() {
        let bare =
            configuration(r#"{"id":"b3c2","status":7,"messenger":{"apps":null},"auth":{"enabled":"yes"}}"#)
                .unwrap();
        assert_eq!(bare.status, DeploymentStatus::Other(String::new()));
        assert_eq!(
            (
                bare.autostart,
                bare.conversation_clear,
                bare.sign_in,
                bare.disconnect
            ),
            (false, false, false, None)
        );
        assert_eq!(
            (bare.attachments, bare.session_duration, bare.messaging),
            (Attachments::Off, None, None)
        );
        for text in ["", "[]", "{}", r#"{"id":7}"#, r#"{"id":"a b"}"#] {
            assert_eq!(configuration(text), None, "{text}");
        }
    }

    #[test]
    fn published_rules_apply_and_missing_files_forbid_nothing() {
        let shop: Origin = "https://shop.example".parse().unwrap();
        let mut published = Published::default();
        assert_eq!(published.admit(&shop), Ok(DeploymentRules::default()));
        let text = r#"{"id":"b3c2","status":"Active","messenger":{"apps":{"conversations":{
            "autoStart":{"enabled":true},"showUserTypingIndicator":true,"sessionDurationSeconds":900}}}}"#;
        published.configuration = configuration(text);
        let rules = DeploymentRules {
            attachments: false,
            autostart: true,
            clear: false,
            session_duration: Some(Duration::from_secs(900)),
            typing: true,
        };
        assert_eq!(published.admit(&shop), Ok(rules));
        published.domains = Some(domains(r#"{"allowedDomains":["other.example"]}"#));
        assert_eq!(
            published.admit(&shop),
            Err(NotAdmitted::Origin { origin: shop.clone() })
        );
        published.domains = None;
        published.configuration = configuration(&text.replace("Active", "Inactive"));
        assert_eq!(published.admit(&shop), Err(NotAdmitted::Inactive));
        published.configuration = configuration(&text.replace("Active", "Pending"));
        assert!(
            published.admit(&shop).is_ok(),
            "what is not known forbids nothing"
        );
    }

    #[test]
    fn domain_admits_itself_and_its_subdomains() {
        let listed = domains(
            r#"{"allowAllDomains":false,"allowedDomains":["Shop.Example","bücher.example","127.0.0.1",""]}"#,
        );
        for (origin, admitted) in [
            ("https://shop.example", true),
            ("http://SHOP.example:8080", true),
            ("https://www.shop.example", true),
            ("https://a.b.shop.example", true),
            ("https://bücher.example", true),
            ("https://xn--bcher-kva.example", true),
            ("http://127.0.0.1:3000", true),
            ("https://myshop.example", false),
            ("https://shop.example.org", false),
            ("https://example", false),
            ("https://shop.example.", false),
        ] {
            assert_eq!(listed.admits(&origin.parse().unwrap()), admitted, "{origin}");
        }
        let anybody: Origin = "https://anybody.example".parse().unwrap();
        assert!(!domains("{}").admits(&anybody), "an empty list blocks everything");
        assert!(domains(r#"{"allowAllDomains":true,"allowedDomains":[]}"#).admits(&anybody));
    }
}
