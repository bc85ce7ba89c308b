//! Public files of a deployment, read before the socket is opened.

use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Call, DeploymentId, Host, Origin, ReplyError, json};
use http::{Request, Response};
use serde::Deserialize;
use serde_json::Value;

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
        if configuration.is_some_and(|known| known.inactive) {
            return Err(NotAdmitted::Inactive);
        }
        let domains = self.domains.as_ref();
        if domains.is_some_and(|domains| !domains.admits(origin)) {
            let origin = origin.clone();
            return Err(NotAdmitted::Origin { origin });
        }
        Ok(self.rules())
    }

    /// The rules of the deployment: the defaults if its configuration could not be read.
    #[must_use]
    pub fn rules(&self) -> DeploymentRules {
        let configuration = self.configuration.as_ref();
        configuration.map(|known| known.rules).unwrap_or_default()
    }
}

/// A refusal of a guest by the public files of a deployment.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAdmitted {
    /// The deployment is inactive.
    #[error("cannot connect: the messenger deployment is not active, an administrator can activate it")]
    Inactive,
    /// The deployment's domains do not include the origin.
    #[error(
        "cannot connect: the messenger deployment does not allow the origin {origin}, add its domain to those of the \
         deployment or connect from an allowed one"
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
    /// No guest is admitted.
    pub inactive: bool,
    /// Permissions of guests.
    pub rules: DeploymentRules,
    /// Genesys' tracking may receive data.
    pub journey_events: bool,
    /// Guests sign in.
    pub sign_in: bool,
    /// A guest may sign in during the conversation.
    pub step_up: bool,
}

impl DeploymentConfiguration {
    fn read(value: &Value) -> Option<Self> {
        let text = |path: &str| value.pointer(path)?.as_str();
        let flag = |path: &str| value.pointer(path)?.as_bool();
        let is_on = |path: &str| flag(path).unwrap_or(false);
        let conversations = |name: &str| format!("/messenger/apps/conversations/{name}");
        // an older form of the configuration lists the types of files in place of the switch
        let modes = value.pointer("/messenger/fileUpload/modes");
        let has_modes = || {
            modes
                .and_then(Value::as_array)
                .is_some_and(|modes| !modes.is_empty())
        };
        let duration = value.pointer(&conversations("sessionDurationSeconds"));
        Some(Self {
            id: text("/id")?.parse().ok()?,
            inactive: text("/status") == Some("Inactive"),
            rules: DeploymentRules {
                attachments: flag("/messenger/fileUpload/enableAttachments").unwrap_or_else(has_modes),
                autostart: is_on(&conversations("autoStart/enabled")),
                clear: is_on(&conversations("conversationClear/enabled")),
                session_duration: duration.and_then(Value::as_u64).map(Duration::from_secs),
                typing: is_on(&conversations("showUserTypingIndicator")),
            },
            journey_events: is_on("/journeyEvents/enabled"),
            sign_in: is_on("/auth/enabled"),
            step_up: is_on("/auth/allowSessionUpgrade"),
        })
    }
}

/// Permissions of guests in the configuration of a deployment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeploymentRules {
    /// Files may be sent. Default: yes.
    pub attachments: bool,
    /// A new session joins automatically. Default: no.
    pub autostart: bool,
    /// The guest may clear the conversation. Default: yes; the service decides.
    pub clear: bool,
    /// Lifetime of a session after its last message, if the service does not report it. Default: unknown.
    pub session_duration: Option<Duration>,
    /// The guest's typing is shown to the agent. Default: yes.
    pub typing: bool,
}

impl Default for DeploymentRules {
    fn default() -> Self {
        Self {
            attachments: true,
            autostart: false,
            clear: true,
            session_duration: None,
            typing: true,
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
        assert!(!bare.inactive && !bare.sign_in && !bare.step_up && !bare.journey_events);
        let off = DeploymentRules {
            attachments: false,
            autostart: false,
            clear: false,
            session_duration: None,
            typing: false,
        };
        assert_eq!(bare.rules, off);
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
            "an unknown status forbids nothing"
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
