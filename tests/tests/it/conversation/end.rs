//! Ends of a conversation, and their notifications.

use std::time::Duration;

use genesys_sim::{Disconnect, Rules};
use serde_json::{Value, json};

use super::{exchange_messages, resume, session};
use crate::api::{Api, Call, path_of};
use crate::guests::until;
use crate::page::{Page, Received, handshake, upgrade};
use crate::world::{CLIENT, World};

async fn state(api: &Api, session: &Value) -> Value {
    let path = path_of(session, "");
    api.ask(Call::get(&path)).await
}

async fn delete(api: &Api, session: &Value) {
    let path = path_of(session, "");
    api.ask(Call::new(http::Method::DELETE, &path)).await;
}

#[tokio::test]
async fn agent_disconnect_makes_the_conversation_read_only() {
    let world = World::start().await;
    let session = session(&world).await;
    let mut page = Page::of(&session).await;
    exchange_messages(&mut page, "hello").await;
    page.message("/disconnect").await;
    let status = page.until("conversation").await;
    assert_eq!(
        status,
        json!({ "type": "conversation", "state": "read_only", "actions": ["start_new", "clear"] })
    );

    let id = page.message("anybody there?").await;
    let failed = page.delivery("failed").await;
    assert_eq!(
        (&failed["id"], &failed["code"]),
        (&json!(id), &json!("conversation.read.only"))
    );
    let (_other, accepted) = resume(&session, 0).await;
    assert_eq!(accepted["readOnly"], true, "a later socket is notified at once");
    assert_eq!(accepted["newSession"], false);
    world.stop().await;
}

#[tokio::test]
async fn agent_disconnect_can_leave_the_conversation_writable() {
    let world = World::with(
        Rules {
            disconnect: Disconnect::Send,
            ..Rules::default()
        },
        "",
    )
    .await;
    let mut page = Page::of(&session(&world).await).await;
    page.message("/disconnect").await;
    let status = page.until("conversation").await;
    assert_eq!(
        (&status["state"], &status["actions"][0]),
        (&json!("ended"), &json!("send"))
    );
    page.message("one more thing").await;
    assert_eq!(page.until("conversation").await["state"], "open");
    world.stop().await;
}

#[tokio::test]
async fn session_deletion_closes_its_sockets() {
    let world = World::start().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let mut pages = [Page::of(&session).await, Page::of(&session).await];
    let sent = exchange_messages(&mut pages[0], "hello").await;
    delete(&api, &session).await;
    for page in &mut pages {
        let ended = page.until("session.ended").await;
        let next = sent.len() as u64 + 1;
        assert_eq!(
            ended,
            json!({ "type": "session.ended", "reason": "guest", "sequence": next })
        );
        assert_eq!(page.receive().await, Received::Closed(Some(1000)));
    }
    let url = session["websocketUrl"].as_str().unwrap();
    let mut page = Page::open(upgrade(url)).await.unwrap();
    page.send_frame(&handshake(&session)).await;
    assert_eq!(page.until("error").await["code"], "session.ended");
    assert_eq!(page.receive().await, Received::Closed(Some(1008)));
    let refused = Page::open(upgrade(&format!(
        "{url}?access_token={}",
        session["accessToken"].as_str().unwrap()
    )));
    let Err((status, body)) = refused.await else {
        panic!("the socket of an ended session was opened");
    };
    assert_eq!((status, body.contains("session.ended")), (409, true), "{body}");
    world.stop().await;
}

#[tokio::test]
async fn session_expiry_closes_its_sockets() {
    let world = World::with(
        Rules::default(),
        "access_token_lifetime = \"2h\"\nidle_timeout = \"2h\"\n",
    )
    .await;
    let session = session(&world).await;
    let mut page = Page::of(&session).await;
    // the access token and the session end together; either may be noticed first, and both close the socket
    world.clock.advance(Duration::from_secs(2 * 3_600));
    let output = loop {
        match page.receive().await {
            Received::Frame(frame) if frame["type"] == "error" => break frame["code"].clone(),
            Received::Frame(frame) if frame["type"] == "session.ended" => break frame["reason"].clone(),
            Received::Frame(_) => {}
            Received::Closed(code) => panic!("closed with {code:?} without a notification"),
        }
    };
    assert!(output == "credentials.expired" || output == "expired", "{output}");
    until(async || {
        world.clock.advance(Duration::from_secs(15));
        // a new token for each request: the clock may pass the end of an older one
        let state = state(&Api::of(&world, CLIENT).await, &session).await;
        assert!(state["endReason"].is_null() || state["endReason"] == "expired");
        state["state"] == "ended"
    })
    .await;
    until(async || world.gateway.conversations() == 0).await;
    world.stop().await;
}

#[tokio::test]
async fn session_ends_when_genesys_expires_it() {
    let rules = Rules {
        session_duration: Duration::from_secs(1_800),
        ..Rules::default()
    };
    let world = World::with(rules, "").await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let mut page = Page::of(&session).await;
    exchange_messages(&mut page, "hello").await;
    world.clock.advance(Duration::from_secs(1_501));
    // 5 minutes before
    loop {
        let status = page.until("conversation").await;
        if status["expiresAt"].is_string() {
            break;
        }
    }
    world.clock.advance(Duration::from_secs(301));
    assert_eq!(page.until("session.ended").await["reason"], "expired");
    assert_eq!(page.receive().await, Received::Closed(Some(1000)));
    let state = state(&api, &session).await;
    assert_eq!(
        (&state["state"], &state["endReason"]),
        (&json!("ended"), &json!("expired"))
    );
    world.stop().await;
}

#[tokio::test]
async fn guest_starts_a_new_conversation_and_clears_it() {
    let world = World::start().await;
    let (api, session) = (Api::of(&world, CLIENT).await, session(&world).await);
    let mut page = Page::of(&session).await;
    // there is none to leave
    page.send_frame(&json!({ "type": "conversation.start" })).await;
    assert_eq!(page.until("error").await["code"], "action.unavailable");
    page.message("/disconnect").await;
    assert_eq!(page.until("conversation").await["state"], "read_only");
    page.send_frame(&json!({ "type": "conversation.start" })).await;
    let status = page.until("conversation").await;
    assert_eq!(
        (&status["state"], &status["actions"]),
        (&json!("open"), &json!(["send", "clear"]))
    );
    exchange_messages(&mut page, "again").await;
    page.send_frame(&json!({ "type": "conversation.clear" })).await;
    let status = page.until("conversation").await;
    assert_eq!(
        (&status["state"], &status["actions"]),
        (&json!("cleared"), &json!([]))
    );
    assert_eq!(page.until("session.ended").await["reason"], "guest");
    assert_eq!(page.receive().await, Received::Closed(Some(1000)));
    assert_eq!(state(&api, &session).await["endReason"], "guest");
    world.stop().await;
}

#[tokio::test]
async fn clearing_that_the_deployment_forbids_is_not_offered() {
    let rules = Rules {
        conversation_clear: false,
        ..Rules::default()
    };
    let world = World::with(rules, "").await;
    let mut page = Page::of(&session(&world).await).await;
    page.send_frame(&json!({ "type": "conversation.clear" })).await;
    assert_eq!(page.until("error").await["code"], "action.unavailable");
    exchange_messages(&mut page, "still there").await;
    world.stop().await;
}
