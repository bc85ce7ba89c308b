//! What servers see: the platform API, notification channels, undelivered messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

pub(super) const CHANNELS: &str = "/api/v2/notifications/channels";

impl Stage {
    pub(super) fn access_token(&mut self) -> String {
        let request = Request::post("/oauth/token")
            .header(
                "authorization",
                format!("Basic {}", STANDARD.encode("client:s3cret")),
            )
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from_static(b"grant_type=client_credentials"))
            .unwrap();
        let (_, body) = send(&mut self.world, request, self.now);
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
        self.world.handle_handshake(&request, self.now)
    }
}

pub(super) fn undelivered() -> String {
    format!("v2.webmessaging.deployments.{DEPLOYMENT}.undelivered.messages")
}

pub(super) fn queue() -> String {
    format!("v2.routing.queues.{TOKEN}.conversations.messages")
}

#[test]
fn the_platform_api_needs_an_access_token() {
    let mut stage = Stage::quiet();
    let path = format!("/api/v2/webdeployments/deployments/{DEPLOYMENT}");
    let (response, body) = get(&mut stage.world, &path, stage.now);
    assert_eq!(
        (response.status().as_u16(), &body["code"]),
        (401, &json!("authentication.required"))
    );
    let (_, body) = stage.call("GET", &path, "stranger", &json!({}));
    assert_eq!(body["code"], "bad.credentials");
    let token = stage.access_token();
    let (response, body) = stage.call("GET", &path, &token, &json!({}));
    assert_eq!(response.status(), 200);
    assert_eq!(
        (&body["id"], &body["status"], &body["allowAllDomains"]),
        (&json!(DEPLOYMENT), &json!("Active"), &json!(true))
    );
    let configuration = body["configuration"]["id"].as_str().unwrap();
    let path_of =
        |version| format!("/api/v2/webdeployments/configurations/{configuration}/versions/{version}");
    let (_, body) = stage.call("GET", &path_of(1), &token, &json!({}));
    assert_eq!(body["authenticationSettings"]["enabled"], true);
    assert_eq!(stage.call("GET", &path_of(2), &token, &json!({})).0.status(), 404);
    let unknown = "/api/v2/webdeployments/deployments/other";
    assert_eq!(stage.call("GET", unknown, &token, &json!({})).0.status(), 404);
    stage.pass(Duration::from_secs(86_400));
    let (_, body) = stage.call("GET", &path, &token, &json!({}));
    assert_eq!(body["code"], "credentials.expired");
}

#[test]
fn three_hundred_calls_a_minute_for_a_token_and_for_the_client() {
    let mut stage = Stage::new(rules());
    let (one, other) = (stage.access_token(), stage.access_token());
    let path = format!("/api/v2/webdeployments/deployments/{DEPLOYMENT}");
    for count in 1..=300 {
        let (response, _) = stage.call("GET", &path, &one, &json!({}));
        assert_eq!(response.headers()["inin-ratelimit-count"], count.to_string());
        assert_eq!(response.headers()["inin-ratelimit-allowed"], "300");
    }
    for (token, key) in [
        (&one, "token.rate.per.minute"),
        (&other, "client.credentials.token.rate.per.minute"),
    ] {
        let (response, body) = stage.call("GET", &path, token, &json!({}));
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "60");
        assert_eq!(body["limit"]["key"], key);
    }
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.call("GET", &path, &other, &json!({})).0.status(), 200);
}

#[test]
fn a_message_leads_to_its_conversation() {
    let mut stage = Stage::quiet();
    let token = stage.access_token();
    let socket = stage.guest();
    let mut conversation = || {
        let echo = stage.ask(socket, text("hi"));
        let ids = [&echo["body"]["id"], &echo["body"]["channel"]["messageId"]];
        let found = ids.map(|id| {
            let path = format!("/api/v2/conversations/messages/{}/details", id.as_str().unwrap());
            let (response, body) = stage.call("GET", &path, &token, &json!({}));
            assert_eq!(response.status(), 200);
            body["conversationId"].as_str().unwrap().to_owned()
        });
        assert_eq!(found[0], found[1]);
        found[0].clone()
    };
    assert_eq!(conversation(), conversation());
    let path = "/api/v2/conversations/messages/unknown/details";
    assert_eq!(stage.call("GET", path, &token, &json!({})).0.status(), 404);
}

#[test]
fn a_message_that_nobody_receives_is_announced() {
    let mut stage = Stage::new(Rules {
        agent: Agent::Replies(vec!["too late".to_owned()]),
        agent_delay: Duration::from_secs(5),
        limits: Limits::none(),
        ..rules()
    });
    let token = stage.access_token();
    let id = stage.channel(&token, &json!([{"id": undelivered()}]));
    let listener = stage.listen(&id).unwrap();
    let socket = stage.guest();
    stage.tell(socket, text("hi"));
    stage.world.handle_closed(socket, stage.now);
    stage.seen();
    stage.pass(Duration::from_secs(5));
    let seen = stage.seen_by(listener);
    let Seen::Frame(frame) = &seen[0] else {
        panic!("{seen:?}")
    };
    assert_eq!((&frame["topicName"], seen.len()), (&json!(undelivered()), 1));
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
    let (_, details) = stage.call("GET", &path, &token, &json!({}));
    assert_eq!(details["conversationId"], body["conversationId"]);
    assert_eq!(stage.world.counters().undelivered, 1);
}

#[test]
fn a_queue_or_user_topic_tells_of_every_message_without_its_text() {
    let mut stage = Stage::new(rules());
    let token = stage.access_token();
    let id = stage.channel(
        &token,
        &json!([{"id": queue()}, {"id": format!("v2.users.{TOKEN}.conversations")}]),
    );
    let listener = stage.listen(&id).unwrap();
    let socket = stage.guest();
    stage.seen();
    stage.tell(socket, text("hunter2"));
    let seen = stage.seen_by(listener);
    assert_eq!(seen.len(), 4, "two topics, two messages");
    for seen in &seen {
        let Seen::Frame(frame) = seen else {
            panic!("{seen:?}")
        };
        assert!(frame["eventBody"]["id"].is_string());
        assert!(!frame.to_string().contains("hunter2"));
    }
    assert_eq!(stage.world.counters().notifications, 4);
}

#[test]
fn subscriptions_are_added_replaced_listed_and_cleared() {
    let mut stage = Stage::quiet();
    let token = stage.access_token();
    let id = stage.channel(&token, &json!([]));
    let path = format!("{CHANNELS}/{id}/subscriptions");
    let other = "v2.webmessaging.deployments.7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11.undelivered.messages";
    let topics = json!([{"id": undelivered()}, {"id": other}, {"id": "v2.detail.events.conversation.x.customer.start"}]);
    let (_, body) = stage.call("POST", &path, &token, &topics);
    let states: Vec<_> = body["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["state"])
        .collect();
    assert_eq!(states, ["Permitted", "Rejected", "Rejected"]);
    let listed = |stage: &mut Stage| {
        let (_, body) = stage.call("GET", &path, &token, &json!({}));
        body["entities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&mut stage), [undelivered()]);
    stage.call("PUT", &path, &token, &json!([{"id": queue()}]));
    assert_eq!(listed(&mut stage), [queue()]);
    assert_eq!(stage.call("DELETE", &path, &token, &json!({})).0.status(), 200);
    assert_eq!(listed(&mut stage), [""; 0]);
    for broken in [json!({}), json!([7]), json!([{"topic": "x"}])] {
        assert_eq!(stage.call("POST", &path, &token, &broken).0.status(), 400);
    }
    let user = |number: usize| {
        let id = uuid::Uuid::from_u128(number as u128);
        json!({"id": format!("v2.users.{id}.conversations")})
    };
    let thousand: Vec<_> = (0..1_000).map(user).collect();
    assert_eq!(
        stage.call("POST", &path, &token, &json!(thousand)).0.status(),
        413,
        "over 64 KiB"
    );
    for part in thousand.chunks(500) {
        assert_eq!(stage.call("POST", &path, &token, &json!(part)).0.status(), 200);
    }
    assert_eq!(
        stage
            .call("POST", &path, &token, &json!([user(1_000)]))
            .0
            .status(),
        400
    );
    assert_eq!(listed(&mut stage).len(), 1_000);
}

#[test]
fn a_channels_socket_hears_heartbeats_and_pongs_until_its_day_is_over() {
    let mut stage = Stage::quiet();
    let token = stage.access_token();
    let id = stage.channel(&token, &json!([{"id": undelivered()}]));
    let listener = stage.listen(&id).unwrap();
    let metadata = |text: &str| json!({"topicName": "channel.metadata", "eventBody": {"message": text}});
    assert_eq!(stage.ask(listener, json!({"message": "ping"})), metadata("pong"));
    stage.pass(Duration::from_secs(30));
    assert_eq!(
        stage.seen(),
        [(listener, Seen::Frame(metadata("WebSocket Heartbeat")))]
    );
    stage.tell(listener, configure());
    assert_eq!(stage.seen(), [], "it is no guest's socket");
    assert_eq!(stage.world.violations()[0].place, "/channels");

    let path = format!("{CHANNELS}/{id}/subscriptions");
    stage.pass(Duration::from_secs(3_600));
    let token = stage.access_token();
    stage.call("POST", &path, &token, &json!([]));
    stage.pass(Duration::from_secs(86_400 - 61));
    stage.seen();
    stage.pass(Duration::from_secs(1));
    let seen = stage.seen_by(listener);
    assert!(
        seen.iter()
            .any(|it| matches!(it, Seen::Frame(frame) if frame["topicName"] == "v2.system.socket_closing"))
    );
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.seen_by(listener).last(), Some(&Seen::Closed(1000)));
    assert_eq!(stage.listen(&id).unwrap_err().status(), 404);
}

#[test]
fn the_twenty_first_channel_puts_the_oldest_out_and_a_second_socket_the_first() {
    let mut stage = Stage::quiet();
    let token = stage.access_token();
    let id = stage.channel(&token, &json!([]));
    let first = stage.listen(&id).unwrap();
    let second = stage.listen(&id).unwrap();
    assert_eq!(stage.seen(), [(first, Seen::Closed(1000))]);
    for _ in 0..19 {
        stage.channel(&token, &json!([]));
    }
    assert_eq!(stage.seen(), []);
    stage.channel(&token, &json!([]));
    assert_eq!(stage.seen(), [(second, Seen::Closed(1000))]);
    for unknown in [id.as_str(), "streaming-2-guess", "", "x"] {
        assert_eq!(stage.listen(unknown).unwrap_err().status(), 404);
    }
}

#[test]
fn an_inactive_deployment_has_no_configuration_and_takes_no_guests() {
    let mut stage = Stage::new(Rules {
        deployment_active: false,
        ..rules()
    });
    assert_eq!(stage.handshake(DEPLOYMENT, None).unwrap_err().status(), 403);
    let path = format!("/webdeployments/v1/deployments/{DEPLOYMENT}/config.json");
    assert_eq!(get(&mut stage.world, &path, stage.now).0.status(), 403);
    let token = stage.access_token();
    let path = format!("/api/v2/webdeployments/deployments/{DEPLOYMENT}");
    assert_eq!(
        stage.call("GET", &path, &token, &json!({})).1["status"],
        "Inactive"
    );
}
