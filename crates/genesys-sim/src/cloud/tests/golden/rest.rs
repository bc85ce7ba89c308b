//! Golden requests and replies of REST calls.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::cloud::tests::platform::{CHANNELS, queue, undelivered};
use crate::cloud::tests::sign_in::{EXCHANGE, REFRESH, VERIFIER, authorize, exchange};
use crate::config::SignInRules;

type Produced = BTreeMap<&'static str, Value>;

impl Harness {
    fn log_in(&mut self, credentials: &str) -> Value {
        let request = Request::post("/oauth/token")
            .header("authorization", format!("Basic {}", STANDARD.encode(credentials)))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from_static(b"grant_type=client_credentials"))
            .unwrap();
        send(&mut self.cloud, request, self.now).1
    }

    /// The body of a reply to a call that succeeds without a violation.
    fn answered(&mut self, method: &str, path: &str, bearer: &str, body: &Value) -> Value {
        let (response, body) = self.call(method, path, bearer, body);
        assert!(response.status().is_success(), "{method} {path}: {body}");
        assert_eq!(self.cloud.violations.list(), [], "{method} {path}");
        body
    }
}

fn documents(produced: &mut Produced) {
    let document = |rules: Rules, name: &str| {
        let mut cloud = cloud_of(rules);
        get(
            &mut cloud,
            &format!("/webdeployments/v1/deployments/{DEPLOYMENT}/{name}"),
            now(),
        )
        .1
    };
    produced.insert("deployment-configuration", document(rules(), "config.json"));
    produced.insert(
        "deployment-configuration-minimal",
        document(rules(), "config.json"),
    );
    produced.insert("domains-all", document(rules(), "domains.json"));
    let some = Rules {
        allowed_domains: Some(vec!["shop.example".to_owned(), "Example.ORG".to_owned()]),
        ..rules()
    };
    produced.insert("domains", document(some, "domains.json"));
    let signed_in = Rules {
        auto_start: true,
        disconnect: crate::Disconnect::Send,
        sign_in: SignInRules::default(),
        ..rules()
    };
    produced.insert(
        "deployment-configuration-signed-in",
        document(signed_in, "config.json"),
    );
}

fn history(produced: &mut Produced) {
    let script = json!({"name": "bot", "nickname": "Robot Friend", "bot": true, "rules": [
        {"on": {"text": "bye"}, "do": [{"disconnect": "read_only"}]},
        {"on": "otherwise", "do": [{"say": "hi"}]},
    ]});
    let mut harness = Harness::new(Rules {
        agent: Agent::Scripts(vec![Script::parse("bot", &script.to_string()).unwrap()]),
        limits: Limits {
            histories_per_minute: Some(3),
            ..Limits::default()
        },
        ..rules()
    });
    let (guest_jwt, _) = harness.sign_in("");
    let socket = harness.connect();
    harness.ask(socket, sign_in::signed_in(TOKEN, &guest_jwt));
    let jwt = harness.jwt(socket);
    produced.insert("history-page-empty", harness.history(&jwt, "").1);
    harness.send_frame(socket, text("hello"));
    harness.send_frame(socket, text("bye"));
    harness.received();
    produced.insert("history-page", harness.history(&jwt, "").1);
    produced.insert("error-body", harness.history("no.such.jwt", "").1);
    harness.history(&jwt, "");
    produced.insert("error-body-limit", harness.history(&jwt, "").1);
    harness.advance(Duration::from_secs(61));
    produced.insert("error-body-expired", harness.history(&jwt, "").1);
}

fn for_servers(files: &BTreeMap<String, (Golden, Value)>, produced: &mut Produced) {
    let mut harness = Harness::new(Rules {
        agent_delay: Duration::from_secs(1),
        ..rules()
    });
    produced.insert("token-error-client", harness.log_in("stranger:s3cret"));
    produced.insert("token-error-secret", harness.log_in("client:wrong"));
    produced.insert("token-reply", harness.log_in("client:s3cret"));
    let bearer = harness.access_token();
    let channel = harness.answered("POST", CHANNELS, &bearer, &json!({}));
    let id = channel["id"].as_str().unwrap().to_owned();
    produced.insert("notification-channel", channel);
    let channels = harness.answered("GET", CHANNELS, &bearer, &Value::Null);
    produced.insert("notification-channels", channels);
    let topics = &files["notification-subscriptions-request"].1;
    let subscriptions = format!("{CHANNELS}/{id}/subscriptions");
    harness.answered("POST", &subscriptions, &bearer, topics);
    produced.insert("notification-subscriptions-request", topics.clone());
    let topics = json!([{"id": queue()}, {"id": undelivered()}, {"id": "v2.unheard.of"}]);
    let reply = harness.answered("POST", &subscriptions, &bearer, &topics);
    produced.insert("notification-subscriptions-reply", reply);

    let listener = harness.listen(&id).unwrap();
    let ping = &files["notification-ping"].1;
    produced.insert("notification-pong", harness.ask(listener, ping));
    produced.insert("notification-ping", ping.clone());
    harness.advance(Duration::from_secs(30));
    produced.insert("notification-heartbeat", harness.frames(listener).remove(0));

    let socket = harness.guest();
    harness.send_frame(socket, text("hi"));
    let message = harness.frames(socket)[0]["body"]["id"].clone();
    let path = format!(
        "/api/v2/conversations/messages/{}/details",
        message.as_str().unwrap()
    );
    produced.insert(
        "message-details",
        harness.answered("GET", &path, &bearer, &Value::Null),
    );
    harness.cloud.handle_closed(socket, harness.now);
    harness.received();
    harness.advance(Duration::from_secs(1));
    for event in harness.frames(listener) {
        match event["topicName"].as_str().unwrap() {
            topic if topic == undelivered() => {
                produced.insert("undelivered-messages", event["eventBody"].clone());
            }
            topic if topic == queue() => {
                produced.insert("notification-event", event);
            }
            _ => {}
        }
    }
    harness.advance(Duration::from_secs(86_400 - 90));
    let is_genesys_text = harness.frames(listener);
    let closing = is_genesys_text
        .iter()
        .find(|frame| frame["topicName"] == "v2.system.socket_closing");
    produced.insert("notification-socket-closing", closing.unwrap().clone());
}

fn for_guests(files: &BTreeMap<String, (Golden, Value)>, produced: &mut Produced) {
    let mut harness = Harness::quiet();
    // the golden request, with what this provider issued
    let mut ask = |harness: &mut Harness, name: &'static str, issued: &[(&str, &str)]| {
        let mut body: Value = serde_json::from_str(&ours(&files[name].1, "")).unwrap();
        for (field, value) in issued {
            *body.pointer_mut(field).unwrap() = json!(value);
        }
        let path = if name.starts_with("refresh") {
            REFRESH
        } else {
            EXCHANGE
        };
        let reply = harness.answered("POST", path, "", &body);
        produced.insert(name, files[name].1.clone());
        reply
    };
    let back = "https://app.test/back?a=1";
    let code = harness.code("");
    let issued = [
        ("/oauth/code", code.as_str()),
        ("/oauth/redirectUri", back),
        ("/oauth/codeVerifier", VERIFIER),
        ("/oauth/nonce", "n"),
    ];
    let reply = ask(&mut harness, "exchange-code-request", &issued);
    let refresh = reply["refreshToken"].as_str().unwrap().to_owned();
    let location = authorize("");
    let (plain, _) = location.split_once("&code_challenge=").unwrap();
    let location = harness.location(plain);
    let bare = crate::query::parameter(location.split_once("?a=1&").unwrap().1, "code").unwrap();
    let issued = [("/oauth/code", bare.as_str()), ("/oauth/redirectUri", back)];
    ask(&mut harness, "exchange-code-request-bare", &issued);
    let implicit = authorize("").replace("response_type=code", "response_type=id_token");
    let location = harness.location(&implicit);
    let token = crate::query::parameter(location.split_once('#').unwrap().1, "id_token").unwrap();
    let issued = [("/oauth/idToken", token.as_str()), ("/oauth/nonce", "n")];
    let implicit = ask(&mut harness, "exchange-implicit-request", &issued);
    let issued = [("/refreshToken", refresh.as_str())];
    let refreshed = ask(&mut harness, "refresh-request", &issued);
    ask(&mut harness, "refresh-request-mobile", &issued);
    produced.insert("exchange-reply", reply);
    produced.insert("exchange-implicit-reply", implicit);
    produced.insert("refresh-reply", refreshed);
    let code = harness.code("");
    harness.answered("POST", EXCHANGE, "", &exchange(&code, VERIFIER));

    let device = format!("/api/v2/webmessaging/deployments/{DEPLOYMENT}/pushdevices/made-up-device");
    for (method, name) in [
        ("POST", "push-register-request"),
        ("PATCH", "push-update-request"),
    ] {
        let body = &files[name].1;
        harness.answered(method, &device, "", body);
        produced.insert(name, body.clone());
    }
}

#[test]
fn rest_requests_of_the_golden_set_are_accepted_and_replies_produced() {
    let files = folder("rest");
    let mut produced = Produced::new();
    documents(&mut produced);
    history(&mut produced);
    for_servers(&files, &mut produced);
    for_guests(&files, &mut produced);
    covered("rest", &files, &produced);
}
