//! The deployment CDN: public configuration of the deployment.

use serde_json::{Value, json};

use super::response::{Answer, Call, ok};
use super::transfer::{denied, open};
use crate::config::Disconnect;
use crate::world::World;

pub(super) fn config(call: &mut Call<'_>, parts: &[&str]) -> Answer {
    document(call, parts[0], configuration)
}

pub(super) fn domains(call: &mut Call<'_>, parts: &[&str]) -> Answer {
    document(call, parts[0], |world| {
        let domains = world.rules.allowed_domains.as_deref();
        json!({"allowAllDomains": domains.is_none(), "allowedDomains": domains.unwrap_or_default()})
    })
}

/// An unknown or inactive deployment is refused with 403, as by a bucket that does not allow to be listed.
fn document(call: &Call<'_>, deployment: &str, body: fn(&World) -> Value) -> Answer {
    if call.world.check_deployment(deployment).is_err() || !call.world.rules.deployment_active {
        return Ok(denied());
    }
    Ok(open(ok(&body(call.world))))
}

pub(super) fn configuration(world: &World) -> Value {
    let (uploads, sign_in) = (&world.rules.attachments, &world.rules.sign_in);
    let mode = json!({"fileTypes": uploads.file_types, "maxFileSizeKB": uploads.max_file_kb});
    let modes = uploads.enabled.then_some(mode);
    let disconnect = match world.rules.disconnect {
        Disconnect::Off => json!({"enabled": false}),
        event => json!({"enabled": true, "type": event}),
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
            "fileUpload": {"enableAttachments": uploads.enabled, "modes": modes.as_slice()},
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
    use http::header::ACCESS_CONTROL_ALLOW_ORIGIN;

    use super::*;
    use crate::config::Rules;
    use crate::world::tests::{DEPLOYMENT, get, now, rules, world, world_of};

    #[test]
    fn configuration_has_the_fields_that_the_official_parser_requires() {
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
    fn domains_are_published() {
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
    fn unknown_deployment_is_forbidden_for_every_origin() {
        for document in ["config", "domains"] {
            let path = format!("/webdeployments/v1/deployments/other/{document}.json");
            let (response, _) = get(&mut world(), &path, now());
            assert_eq!(response.status(), 403);
            assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        }
    }
}
