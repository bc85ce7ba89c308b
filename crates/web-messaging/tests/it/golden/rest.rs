//! Bodies of the REST calls around the socket.

use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Call, DeploymentId, Problem};
use http::Response;
use secrecy::ExposeSecret;
use serde_json::Value;
use web_messaging::rest::deployment::{DeploymentConfiguration, Domains, ReadConfiguration, ReadDomains};
use web_messaging::rest::sign_in::{Exchange, OauthResult, Pkce, Refresh};
use web_messaging::{JourneyContext, JourneySession, StructuredMessage};

use super::folder;

/// Bodies of calls of other crates, or of none yet.
const OF_OTHERS: [&str; 20] = [
    "event-bridge-customer-start",
    "message-details",
    "notification-channel",
    "notification-channels",
    "notification-event",
    "notification-heartbeat",
    "notification-ping",
    "notification-pong",
    "notification-socket-closing",
    "notification-subscriptions-reply",
    "notification-subscriptions-request",
    "open-messaging-delivery",
    "open-messaging-inbound-request",
    "open-messaging-integration-request",
    "push-register-request",
    "push-update-request",
    "token-reply",
    "trigger-request",
    "undelivered-messages",
    "web-event-request",
];

#[test]
fn rest_body_is_golden_or_of_another_crate() {
    let mut others = Vec::new();
    for golden in folder("rest") {
        let (name, value) = (golden.name(), golden.value());
        match name {
            "deployment-configuration" => assert_usual(configuration(&value)),
            "deployment-configuration-minimal" => assert_minimal(configuration(&value)),
            "deployment-configuration-signed-in" => assert_signed_in(configuration(&value)),
            "domains" => {
                let Domains::Listed(entries) = reply(&ReadDomains { deployment: &id() }, &value) else {
                    panic!()
                };
                assert_eq!(entries, ["shop.example", "example.org"]);
            }
            "domains-all" => assert_eq!(reply(&ReadDomains { deployment: &id() }, &value), Domains::All),
            "exchange-code-request" => assert_eq!(body(&full_exchange()), value),
            "exchange-code-request-bare" => assert_eq!(body(&bare_exchange()), value),
            "exchange-implicit-request" => {
                let exchange = exchange(OauthResult {
                    id_token: Some(JWT.into()),
                    nonce: Some("n-0S6_WzA2Mj".to_owned()),
                    ..OauthResult::default()
                });
                assert_eq!(body(&exchange), value);
                assert!(!format!("{exchange:?}").contains(JWT));
            }
            "exchange-reply" => {
                let signed_in = reply(&bare_exchange(), &value);
                assert_eq!(signed_in.jwt.expose_secret(), JWT);
                let refresh_token = signed_in.refresh_token.unwrap();
                assert_eq!(refresh_token.expose_secret(), "made-up-refresh-token");
            }
            "exchange-implicit-reply" => assert!(reply(&bare_exchange(), &value).refresh_token.is_none()),
            "refresh-request" => assert_eq!(body(&refresh()), value),
            "refresh-request-mobile" => {
                let mut ours = body(&refresh());
                ours.as_object_mut().unwrap().remove("deploymentId");
                assert_eq!(ours, value);
            }
            "refresh-reply" => assert_eq!(reply(&refresh(), &value).expose_secret(), JWT),
            "history-page" | "history-page-empty" => assert_history(&value),
            "error-body" | "error-body-limit" | "error-body-expired" => {
                let problem = Problem::read(&Response::new(value.to_string().into()));
                assert_eq!(problem.code, value["code"].as_str().unwrap());
                assert_eq!(problem.context_id.as_deref(), value["contextId"].as_str());
            }
            "token-error-client" | "token-error-secret" => {
                let problem = Problem::read(&Response::new(value.to_string().into()));
                assert_eq!(problem.message, value["description"].as_str().unwrap());
            }
            _ => others.push(name.to_owned()),
        }
    }
    others.sort();
    assert_eq!(others, OF_OTHERS);
}

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtYWRlLXVwIn0.bWFkZS11cC1zaWduYXR1cmU";
const REDIRECT: &str = "https://shop.example/signed-in";

fn id() -> DeploymentId {
    "b3c2a0de-1f2e-4d3c-9b4a-5f6e7d8c9b0a".parse().unwrap()
}

fn exchange(oauth: OauthResult) -> Exchange {
    Exchange {
        deployment: id(),
        oauth,
        journey_context: None,
    }
}

fn bare_exchange() -> Exchange {
    exchange(OauthResult {
        code: Some("made-up-code".into()),
        redirect_uri: Some(REDIRECT.to_owned()),
        ..OauthResult::default()
    })
}

fn full_exchange() -> Exchange {
    let exchange = Exchange {
        journey_context: Some(JourneyContext {
            cookie: "0f1e2d3c-4b5a-4968-8776-655443322110".into(),
            session: Some(JourneySession::App {
                id: "aabbccdd-1122-4334-8556-778899aabbcc".into(),
            }),
            action: None,
        }),
        ..exchange(OauthResult {
            code_verifier: Some(Pkce::new([1; 32]).verifier),
            nonce: Some("n-0S6_WzA2Mj".to_owned()),
            max_age: Some(3600),
            iss: Some("https://id.shop.example".to_owned()),
            ..bare_exchange().oauth
        })
    };
    let debug = format!("{exchange:?}");
    assert!(!debug.contains("made-up-code") && !debug.contains("AQEB") && !debug.contains("0f1e"));
    exchange
}

fn refresh() -> Refresh {
    Refresh {
        deployment: id(),
        refresh_token: "made-up-refresh-token".into(),
    }
}

fn configuration(value: &Value) -> DeploymentConfiguration {
    let configuration = reply(&ReadConfiguration { deployment: &id() }, value);
    assert_eq!(configuration.id, id());
    configuration
}

fn assert_usual(configuration: DeploymentConfiguration) {
    let rules = configuration.rules;
    assert_eq!(rules.session_duration, Some(Duration::from_secs(259_200)));
    assert!(rules.attachments && rules.clear && rules.typing && configuration.journey_events);
    assert!(!rules.autostart && !configuration.inactive);
    assert!(!configuration.sign_in && !configuration.step_up);
}

fn assert_minimal(configuration: DeploymentConfiguration) {
    assert!(!configuration.rules.clear && !configuration.journey_events);
    assert!(configuration.rules.attachments, "the older form has modes");
}

fn assert_signed_in(configuration: DeploymentConfiguration) {
    assert!(configuration.inactive && configuration.rules.autostart);
    assert!(configuration.sign_in && configuration.step_up);
    assert!(!configuration.rules.clear);
}

/// Entities of the history have the form of live messages.
fn assert_history(page: &Value) {
    for entity in page["entities"].as_array().unwrap() {
        let text = entity.to_string();
        let message: StructuredMessage<'_> = serde_json::from_str(&text).unwrap();
        let arrival = time::OffsetDateTime::UNIX_EPOCH;
        let is_message = entity["type"] == "Text";
        assert_eq!(message.to_message(arrival).is_some(), is_message, "{text}");
        if entity["type"] == "Receipt" {
            assert_eq!(message.status.as_deref(), Some("Failed"));
            assert_eq!(message.reasons[0].code.as_deref(), Some("GeneralError"));
        }
    }
}

fn body<C: Call>(call: &C) -> Value {
    let host = "https://api.mypurecloud.ie".parse().unwrap();
    let request = call.request(&host);
    assert_eq!(request.method(), http::Method::POST);
    serde_json::from_slice(request.body()).unwrap()
}

fn reply<C: Call>(call: &C, value: &Value) -> C::Reply {
    let response = Response::new(Bytes::from(value.to_string()));
    call.reply(response).ok().unwrap()
}
