//! The deployment CDN: public configuration of the deployment.

use serde_json::{Value, json};

use super::response::{Context, HandlerResult, ok};
use super::transfer::{denied, open};
use crate::cloud::Cloud;
use crate::config::Disconnect;

pub(super) fn config(context: &mut Context<'_>, parts: &[&str]) -> HandlerResult {
    document(context, parts[0], configuration)
}

pub(super) fn domains(context: &mut Context<'_>, parts: &[&str]) -> HandlerResult {
    document(context, parts[0], |cloud| {
        let domains = cloud.rules.allowed_domains.as_deref();
        json!({"allowAllDomains": domains.is_none(), "allowedDomains": domains.unwrap_or_default()})
    })
}

/// An unknown or inactive deployment is refused with 403, as by a bucket that does not allow to be listed.
fn document(context: &Context<'_>, deployment: &str, body: fn(&Cloud) -> Value) -> HandlerResult {
    if context.cloud.check_deployment(deployment).is_err() || !context.cloud.rules.deployment_active {
        return Ok(denied());
    }
    Ok(open(ok(&body(context.cloud))))
}

pub(super) fn configuration(cloud: &Cloud) -> Value {
    let (uploads, sign_in) = (&cloud.rules.attachments, &cloud.rules.sign_in);
    let mode = json!({"fileTypes": uploads.file_types, "maxFileSizeKB": uploads.max_file_kb});
    let modes = uploads.enabled.then_some(mode);
    let disconnect = match cloud.rules.disconnect {
        Disconnect::Off => json!({"enabled": false}),
        event => json!({"enabled": true, "type": event}),
    };
    json!({
        "id": cloud.deployment,
        "version": "1",
        "status": "Active",
        "languages": ["en-us"],
        "defaultLanguage": "en-us",
        "apiEndpoint": cloud.base.to_string(),
        "headlessMode": {"enabled": false},
        "messenger": {
            "enabled": true,
            "styles": {"primaryColor": "#0165A7"},
            "launcherButton": {"visibility": "On"},
            "apps": {"conversations": {
                "enabled": true,
                "messagingEndpoint": cloud.base.websocket_url("/v1"),
                "showAgentTypingIndicator": true,
                "showUserTypingIndicator": true,
                "autoStart": {"enabled": cloud.rules.auto_start},
                "conversationDisconnect": disconnect,
                "conversationClear": {"enabled": cloud.rules.conversation_clear},
                "notifications": {"enabled": false, "notificationContentType": "ExcludeMessagesContent"},
                "markdown": {"enabled": true},
                "humanize": {"enabled": false},
                "sessionDurationSeconds": cloud.rules.session_duration.as_secs(),
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
    use crate::cloud::tests::{DEPLOYMENT, cloud, cloud_of, get, now, rules};
    use crate::config::Rules;

    #[test]
    fn configuration_has_the_fields_that_the_official_parser_requires() {
        let mut cloud = cloud();
        let path = format!("/webdeployments/v1/deployments/{DEPLOYMENT}/config.json");
        let (response, body) = get(&mut cloud, &path, now());
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
        let (_, body) = get(&mut cloud(), &path, now());
        assert_eq!(body, json!({"allowAllDomains": true, "allowedDomains": []}));
        let mut restricted = cloud_of(Rules {
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
            let (response, _) = get(&mut cloud(), &path, now());
            assert_eq!(response.status(), 403);
            assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        }
    }
}
