//! Bodies of the REST calls around the socket.

use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Call, DeploymentId, Problem};
use http::Response;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use web_messaging::rest::deployment::{
    Attachments, DeploymentConfiguration, DeploymentStatus, DisconnectNotice, Domains, ReadConfiguration,
    ReadDomains,
};
use web_messaging::rest::sign_in::{Exchange, Pkce, Refresh};
use web_messaging::{JourneyContext, StructuredMessage};

use super::folder;

/// Bodies of calls that this crate does not make: other crates do, or nobody yet.
const OF_OTHERS: [&str; 19] = [
    "event-bridge-customer-start",
    "message-details",
    "notification-channel",
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
fn every_body_of_our_calls_is_golden() {
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
                let exchange = Exchange::id_token(id(), JWT.into(), "n-0S6_WzA2Mj");
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

fn bare_exchange() -> Exchange {
    Exchange::code(id(), "made-up-code".into(), REDIRECT)
}

fn full_exchange() -> Exchange {
    let session = SecretString::from("7d1f0c9e-3b5a-4c6d-8e2f-1a2b3c4d5e6f");
    let exchange = bare_exchange()
        .with_code_verifier(Pkce::new([1; 32]).verifier)
        .with_nonce("n-0S6_WzA2Mj")
        .with_max_age(3600)
        .with_issuer("https://id.shop.example")
        .with_journey(JourneyContext::of_session(&session));
    let debug = format!("{exchange:?}");
    assert!(!debug.contains("made-up-code") && !debug.contains("AQEB") && !debug.contains("7d1f"));
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
    assert_eq!(
        configuration.messaging.as_ref().unwrap().to_string(),
        "wss://webmessaging.mypurecloud.com/v1"
    );
    assert_eq!(
        configuration.api.as_ref().unwrap().to_string(),
        "https://api.mypurecloud.com"
    );
    configuration
}

fn assert_usual(configuration: DeploymentConfiguration) {
    assert_eq!(configuration.status, DeploymentStatus::Active);
    assert_eq!(configuration.disconnect, Some(DisconnectNotice::ReadOnly));
    assert_eq!(configuration.attachments, Attachments::AsTheSessionSays);
    assert_eq!(configuration.session_duration, Some(Duration::from_secs(259_200)));
    assert!(configuration.conversation_clear && configuration.journey_events);
    assert!(configuration.agent_typing && configuration.guest_typing);
    assert!(!configuration.autostart && !configuration.sign_in && !configuration.step_up);
}

fn assert_minimal(configuration: DeploymentConfiguration) {
    assert_eq!(configuration.disconnect, None);
    assert!(!configuration.conversation_clear && !configuration.journey_events);
    let Attachments::Modes(modes) = configuration.attachments else {
        panic!()
    };
    assert_eq!(modes[0].file_types, ["image/png", "image/jpeg"]);
    assert_eq!(modes[0].max_file_size_kb, Some(2048));
}

fn assert_signed_in(configuration: DeploymentConfiguration) {
    assert_eq!(configuration.status, DeploymentStatus::Inactive);
    assert_eq!(configuration.disconnect, Some(DisconnectNotice::Send));
    assert!(configuration.autostart && configuration.sign_in && configuration.step_up);
    assert!(!configuration.conversation_clear);
}

/// Entities of the history have the form of live messages.
fn assert_history(page: &Value) {
    for entity in page["entities"].as_array().unwrap() {
        let text = entity.to_string();
        let message: StructuredMessage<'_> = serde_json::from_str(&text).unwrap();
        let arrival = time::OffsetDateTime::UNIX_EPOCH;
        let is_said = entity["type"] == "Text";
        assert_eq!(message.to_message(arrival).is_some(), is_said, "{text}");
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
