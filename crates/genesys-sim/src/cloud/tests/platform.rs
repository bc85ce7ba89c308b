//! The platform API, notification channels, undelivered messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

pub(super) const CHANNELS: &str = "/api/v2/notifications/channels";

impl Harness {
    pub(super) fn access_token(&mut self) -> String {
        let request = Request::post("/oauth/token")
            .header(
                "authorization",
                format!("Basic {}", STANDARD.encode("client:s3cret")),
            )
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from_static(b"grant_type=client_credentials"))
            .unwrap();
        let (_, body) = send(&mut self.cloud, request, self.now);
        body["access_token"].as_str().unwrap().to_owned()
    }

    /// A channel's id, with these topics.
    pub(super) fn channel(&mut self, bearer: &str, topics: &Value) -> String {
        let (response, channel) = self.call("POST", CHANNELS, bearer, &json!({}));
        assert_eq!(response.status(), 200, "{channel}");
        let id = channel["id"].as_str().unwrap().to_owned();
        assert_eq!(channel["connectUri"], format!("ws://127.0.0.1:9/channels/{id}"));
        let (_, answer) = self.call("POST", &format!("{CHANNELS}/{id}/subscriptions"), bearer, topics);
        assert!(answer["entities"].is_array(), "{answer}");
        id
    }

    #[expect(clippy::unwrap_in_result, reason = "a test's own request is valid")]
    pub(super) fn listen(&mut self, id: &str) -> Result<SocketId, Box<Response<Bytes>>> {
        let request = Request::get(format!("/channels/{id}")).body(()).unwrap();
        self.cloud.handle_handshake(&request, self.now)
    }
}

pub(super) fn undelivered() -> String {
    format!("v2.webmessaging.deployments.{DEPLOYMENT}.undelivered.messages")
}

pub(super) fn queue() -> String {
    format!("v2.routing.queues.{TOKEN}.conversations.messages")
}

#[test]
fn platform_api_needs_an_access_token() {
    let mut harness = Harness::quiet();
    let path = format!("/api/v2/webdeployments/deployments/{DEPLOYMENT}");
    let (response, body) = get(&mut harness.cloud, &path, harness.now);
    assert_eq!(
        (response.status().as_u16(), &body["code"]),
        (401, &json!("authentication.required"))
    );
    let (_, body) = harness.call("GET", &path, "stranger", &json!({}));
    assert_eq!(body["code"], "bad.credentials");
    let token = harness.access_token();
    let (response, body) = harness.call("GET", &path, &token, &json!({}));
    assert_eq!(response.status(), 200);
    assert_eq!(
        (&body["id"], &body["status"], &body["allowAllDomains"]),
        (&json!(DEPLOYMENT), &json!("Active"), &json!(true))
    );
    let configuration = body["configuration"]["id"].as_str().unwrap();
    let path_of =
        |version| format!("/api/v2/webdeployments/configurations/{configuration}/versions/{version}");
    let (_, body) = harness.call("GET", &path_of(1), &token, &json!({}));
    assert_eq!(body["authenticationSettings"]["enabled"], true);
    assert_eq!(
        harness.call("GET", &path_of(2), &token, &json!({})).0.status(),
        404
    );
    let unknown = "/api/v2/webdeployments/deployments/other";
    assert_eq!(harness.call("GET", unknown, &token, &json!({})).0.status(), 404);
    harness.advance(Duration::from_secs(86_400));
    let (_, body) = harness.call("GET", &path, &token, &json!({}));
    assert_eq!(body["code"], "credentials.expired");
}

#[test]
fn call_limit_is_three_hundred_a_minute_per_token_and_client() {
    let mut harness = Harness::new(rules());
    let (one, other) = (harness.access_token(), harness.access_token());
    let path = format!("/api/v2/webdeployments/deployments/{DEPLOYMENT}");
    for count in 1..=300 {
        let (response, _) = harness.call("GET", &path, &one, &json!({}));
        assert_eq!(response.headers()["inin-ratelimit-count"], count.to_string());
        assert_eq!(response.headers()["inin-ratelimit-allowed"], "300");
    }
    for (token, key) in [
        (&one, "token.rate.per.minute"),
        (&other, "client.credentials.token.rate.per.minute"),
    ] {
        let (response, body) = harness.call("GET", &path, token, &json!({}));
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "60");
        assert_eq!(body["limit"]["key"], key);
    }
    harness.advance(Duration::from_secs(60));
    assert_eq!(harness.call("GET", &path, &other, &json!({})).0.status(), 200);
}

#[test]
fn message_details_name_the_conversation() {
    let mut harness = Harness::quiet();
    let token = harness.access_token();
    let socket = harness.guest();
    let mut conversation = || {
        let echo = harness.ask(socket, text("hi"));
        let ids = [&echo["body"]["id"], &echo["body"]["channel"]["messageId"]];
        let found = ids.map(|id| {
            let path = format!("/api/v2/conversations/messages/{}/details", id.as_str().unwrap());
            let (response, body) = harness.call("GET", &path, &token, &json!({}));
            assert_eq!(response.status(), 200);
            body["conversationId"].as_str().unwrap().to_owned()
        });
        assert_eq!(found[0], found[1]);
        found[0].clone()
    };
    assert_eq!(conversation(), conversation());
    let path = "/api/v2/conversations/messages/unknown/details";
    assert_eq!(harness.call("GET", path, &token, &json!({})).0.status(), 404);
}

#[test]
fn undelivered_message_is_announced() {
    let mut harness = Harness::new(Rules {
        agent: Agent::Replies(vec!["too late".to_owned()]),
        agent_delay: Duration::from_secs(5),
        limits: Limits::none(),
        ..rules()
    });
    let token = harness.access_token();
    let id = harness.channel(&token, &json!([{"id": undelivered()}]));
    let listener = harness.listen(&id).unwrap();
    let socket = harness.guest();
    harness.send_frame(socket, text("hi"));
    harness.cloud.handle_closed(socket, harness.now);
    harness.received();
    harness.advance(Duration::from_secs(5));
    let received = harness.received_by(listener);
    let Received::Frame(frame) = &received[0] else {
        panic!("{received:?}")
    };
    assert_eq!((&frame["topicName"], received.len()), (&json!(undelivered()), 1));
    let body = &frame["eventBody"];
    assert_eq!(body["deploymentId"], DEPLOYMENT);
    for name in [
        "conversationId",
        "participantId",
        "externalContactId",
        "communicationId",
    ] {
        assert!(
            uuid::Uuid::try_parse(body[name].as_str().unwrap()).is_ok(),
            "{name}"
        );
    }
    let message = body["messages"][0]["id"].as_str().unwrap();
    let path = format!("/api/v2/conversations/messages/{message}/details");
    let (_, details) = harness.call("GET", &path, &token, &json!({}));
    assert_eq!(details["conversationId"], body["conversationId"]);
    assert_eq!(harness.cloud.counters().undelivered, 1);
}

#[test]
fn conversation_topics_announce_messages_without_text() {
    let mut harness = Harness::new(rules());
    let token = harness.access_token();
    let id = harness.channel(
        &token,
        &json!([{"id": queue()}, {"id": format!("v2.users.{TOKEN}.conversations")}]),
    );
    let listener = harness.listen(&id).unwrap();
    let socket = harness.guest();
    harness.received();
    harness.send_frame(socket, text("hunter2"));
    let received = harness.received_by(listener);
    assert_eq!(received.len(), 4, "two topics, two messages");
    for received in &received {
        let Received::Frame(frame) = received else {
            panic!("{received:?}")
        };
        assert!(frame["eventBody"]["id"].is_string());
        assert!(!frame.to_string().contains("hunter2"));
    }
    assert_eq!(harness.cloud.counters().notifications, 4);
}

#[test]
fn subscriptions_are_added_replaced_listed_and_cleared() {
    let mut harness = Harness::quiet();
    let token = harness.access_token();
    let id = harness.channel(&token, &json!([]));
    let path = format!("{CHANNELS}/{id}/subscriptions");
    let other = "v2.webmessaging.deployments.7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11.undelivered.messages";
    let topics = json!([{"id": undelivered()}, {"id": other}, {"id": "v2.detail.events.conversation.x.customer.start"}]);
    let (_, body) = harness.call("POST", &path, &token, &topics);
    let states: Vec<_> = body["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["state"])
        .collect();
    assert_eq!(states, ["Permitted", "Rejected", "Rejected"]);
    let listed = |harness: &mut Harness| {
        let (_, body) = harness.call("GET", &path, &token, &json!({}));
        body["entities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&mut harness), [undelivered()]);
    harness.call("PUT", &path, &token, &json!([{"id": queue()}]));
    assert_eq!(listed(&mut harness), [queue()]);
    assert_eq!(harness.call("DELETE", &path, &token, &json!({})).0.status(), 200);
    assert_eq!(listed(&mut harness), [""; 0]);
    for broken in [json!({}), json!([7]), json!([{"topic": "x"}])] {
        assert_eq!(harness.call("POST", &path, &token, &broken).0.status(), 400);
    }
    let user = |number: usize| {
        let id = uuid::Uuid::from_u128(number as u128);
        json!({"id": format!("v2.users.{id}.conversations")})
    };
    let thousand: Vec<_> = (0..1_000).map(user).collect();
    assert_eq!(
        harness.call("POST", &path, &token, &json!(thousand)).0.status(),
        413,
        "over 64 KiB"
    );
    for part in thousand.chunks(500) {
        assert_eq!(harness.call("POST", &path, &token, &json!(part)).0.status(), 200);
    }
    assert_eq!(
        harness
            .call("POST", &path, &token, &json!([user(1_000)]))
            .0
            .status(),
        400
    );
    assert_eq!(listed(&mut harness).len(), 1_000);
}

#[test]
fn channel_socket_gets_heartbeats_and_pongs_until_the_channel_ends() {
    let mut harness = Harness::quiet();
    let token = harness.access_token();
    let id = harness.channel(&token, &json!([{"id": undelivered()}]));
    let listener = harness.listen(&id).unwrap();
    let metadata = |text: &str| json!({"topicName": "channel.metadata", "eventBody": {"message": text}});
    assert_eq!(
        harness.ask(listener, json!({"message": "ping"})),
        metadata("pong")
    );
    harness.advance(Duration::from_secs(30));
    assert_eq!(
        harness.received(),
        [(listener, Received::Frame(metadata("WebSocket Heartbeat")))]
    );
    harness.send_frame(listener, configure());
    assert_eq!(harness.received(), [], "it is no guest's socket");
    assert_eq!(harness.cloud.violations.list()[0].location, "/channels");

    let path = format!("{CHANNELS}/{id}/subscriptions");
    harness.advance(Duration::from_secs(3_600));
    let token = harness.access_token();
    harness.call("POST", &path, &token, &json!([]));
    harness.advance(Duration::from_secs(86_400 - 61));
    harness.received();
    harness.advance(Duration::from_secs(1));
    let received = harness.received_by(listener);
    assert!(
        received.iter().any(
            |it| matches!(it, Received::Frame(frame) if frame["topicName"] == "v2.system.socket_closing")
        )
    );
    harness.advance(Duration::from_secs(60));
    assert_eq!(
        harness.received_by(listener).last(),
        Some(&Received::Closed(1000))
    );
    assert_eq!(harness.listen(&id).unwrap_err().status(), 404);
}

#[test]
fn channels_are_listed_as_created() {
    let mut harness = Harness::quiet();
    let token = harness.access_token();
    let list = |harness: &mut Harness| harness.call("GET", CHANNELS, &token, &json!({})).1;
    assert_eq!(list(&mut harness), json!({"entities": []}));
    let created = [0, 1].map(|_| harness.call("POST", CHANNELS, &token, &json!({})).1);
    assert_eq!(list(&mut harness), json!({"entities": created}));
    harness.advance(Duration::from_secs(60));
    let path = format!("{CHANNELS}/{}/subscriptions", created[0]["id"].as_str().unwrap());
    harness.call("PUT", &path, &token, &json!([{"id": queue()}]));
    assert_eq!(
        list(&mut harness)["entities"][0]["expires"],
        "2026-01-02T00:01:00.000Z"
    );
    assert_eq!(
        harness.call("GET", CHANNELS, "stranger", &json!({})).0.status(),
        401
    );
    assert_eq!(harness.cloud.violations.list(), []);
}

#[test]
fn channel_limit_closes_the_oldest_and_a_second_socket_the_first() {
    let mut harness = Harness::quiet();
    let token = harness.access_token();
    let id = harness.channel(&token, &json!([]));
    let first = harness.listen(&id).unwrap();
    let second = harness.listen(&id).unwrap();
    assert_eq!(harness.received(), [(first, Received::Closed(1000))]);
    for _ in 0..19 {
        harness.channel(&token, &json!([]));
    }
    assert_eq!(harness.received(), []);
    harness.channel(&token, &json!([]));
    assert_eq!(harness.received(), [(second, Received::Closed(1000))]);
    for unknown in [id.as_str(), "streaming-2-guess", "", "x"] {
        assert_eq!(harness.listen(unknown).unwrap_err().status(), 404);
    }
}

#[test]
fn inactive_deployment_has_no_configuration_and_admits_no_guests() {
    let mut harness = Harness::new(Rules {
        deployment_active: false,
        ..rules()
    });
    assert_eq!(harness.handshake(DEPLOYMENT, None).unwrap_err().status(), 403);
    let path = format!("/webdeployments/v1/deployments/{DEPLOYMENT}/config.json");
    assert_eq!(get(&mut harness.cloud, &path, harness.now).0.status(), 403);
    let token = harness.access_token();
    let path = format!("/api/v2/webdeployments/deployments/{DEPLOYMENT}");
    assert_eq!(
        harness.call("GET", &path, &token, &json!({})).1["status"],
        "Inactive"
    );
}
