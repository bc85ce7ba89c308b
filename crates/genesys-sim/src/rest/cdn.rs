//! The deployment CDN: public configuration of the deployment.

use bytes::Bytes;
use http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::{json, transfer};
use crate::config::Disconnect;
use crate::world::World;

/// One of the two documents of a deployment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Document {
    Config,
    Domains,
}

/// The deployment and document that a path names.
pub(super) fn document(path: &str) -> Option<(&str, Document)> {
    let rest = path.strip_prefix("/webdeployments/v1/deployments/")?;
    match rest.split_once('/')? {
        (id, "config.json") => Some((id, Document::Config)),
        (id, "domains.json") => Some((id, Document::Domains)),
        _ => None,
    }
}

/// An unknown or inactive deployment is refused with 403, as a bucket does that may not be listed.
pub(super) fn answer(world: &World, path: &str) -> Response<Bytes> {
    let mut response = match document(path) {
        Some((id, document)) if id == world.deployment.as_str() && world.rules.deployment_active => {
            let body = match document {
                Document::Config => config(world),
                Document::Domains => domains(world),
            };
            json(StatusCode::OK, &body)
        }
        _ => transfer::denied(),
    };
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn domains(world: &World) -> Value {
    let domains = world.rules.allowed_domains.as_deref();
    json!({"allowAllDomains": domains.is_none(), "allowedDomains": domains.unwrap_or_default()})
}

pub(super) fn config(world: &World) -> Value {
    let (uploads, sign_in) = (&world.rules.attachments, &world.rules.sign_in);
    let modes = if uploads.enabled {
        json!([{"fileTypes": uploads.file_types, "maxFileSizeKB": uploads.largest_kb()}])
    } else {
        json!([])
    };
    let disconnect = match world.rules.disconnect {
        Disconnect::Off => json!({"enabled": false}),
        Disconnect::ReadOnly => json!({"enabled": true, "type": "ReadOnly"}),
        Disconnect::Send => json!({"enabled": true, "type": "Send"}),
    };
    json!({
        "id": world.deployment,
        "version": "1",
        "status": "Active",
        "languages": ["en-us"],
        "defaultLanguage": "en-us",
        "apiEndpoint": world.base.to_string(),
        "headlessMode": {"enabled": false},
        "messenger": {
            "enabled": true,
            "styles": {"primaryColor": "#0165A7"},
            "launcherButton": {"visibility": "On"},
            "apps": {"conversations": {
                "enabled": true,
                "messagingEndpoint": world.base.websocket_url("/v1"),
                "showAgentTypingIndicator": true,
                "showUserTypingIndicator": true,
                "autoStart": {"enabled": world.rules.auto_start},
                "conversationDisconnect": disconnect,
                "conversationClear": {"enabled": world.rules.conversation_clear},
                "notifications": {"enabled": false, "notificationContentType": "ExcludeMessagesContent"},
                "markdown": {"enabled": true},
                "humanize": {"enabled": false},
                "sessionDurationSeconds": world.rules.session_duration.as_secs(),
            }},
            "fileUpload": {"enableAttachments": uploads.enabled, "modes": modes},
        },
        "journeyEvents": {"enabled": false},
        "auth": {
            "enabled": sign_in.enabled,
            "allowSessionUpgrade": sign_in.enabled && sign_in.allow_session_upgrade,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rules;
    use crate::world::tests::{DEPLOYMENT, get, now, rules, world, world_of};

    #[test]
    fn the_configuration_has_what_the_official_parser_requires() {
        let mut world = world();
        let path = format!("/webdeployments/v1/deployments/{DEPLOYMENT}/config.json");
        let (response, body) = get(&mut world, &path, now());
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        for pointer in [
            "/id",
            "/version",
            "/languages",
            "/defaultLanguage",
            "/apiEndpoint",
            "/messenger/enabled",
            "/messenger/apps/conversations/messagingEndpoint",
            "/messenger/styles/primaryColor",
            "/messenger/launcherButton/visibility",
            "/messenger/fileUpload",
            "/journeyEvents/enabled",
            "/status",
            "/auth/enabled",
        ] {
            assert!(body.pointer(pointer).is_some(), "{pointer}");
        }
        assert_eq!(
            body["messenger"]["apps"]["conversations"]["messagingEndpoint"],
            "ws://127.0.0.1:9/v1"
        );
    }

    #[test]
    fn domains_are_told_as_they_are() {
        let path = format!("/webdeployments/v1/deployments/{DEPLOYMENT}/domains.json");
        let (_, body) = get(&mut world(), &path, now());
        assert_eq!(body, json!({"allowAllDomains": true, "allowedDomains": []}));
        let mut restricted = world_of(Rules {
            allowed_domains: Some(vec!["example.com".to_owned()]),
            ..rules()
        });
        let (_, body) = get(&mut restricted, &path, now());
        assert_eq!(
            body,
            json!({"allowAllDomains": false, "allowedDomains": ["example.com"]})
        );
    }

    #[test]
    fn an_unknown_deployment_is_forbidden_to_every_origin() {
        for document in ["config", "domains"] {
            let path = format!("/webdeployments/v1/deployments/other/{document}.json");
            let (response, _) = get(&mut world(), &path, now());
            assert_eq!(response.status(), 403);
            assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        }
    }
}
