//! Signed-in guests of the gateway: by REST, from pages, and in remote mode.

use std::time::Duration;

use genesys_sim::{Rules, SignInRules};
use guest_suite::conversation::{ConnectionEvent, Event};
use guest_suite::{ErrorKind, SignIn};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::authorization;
use crate::api::{Answer, Api, Call, SESSIONS, guest, path_of};
use crate::conversation::upstream::world_through;
use crate::guests::{newcomer, page_origin};
use crate::page::{Page, Received, handshake, soon, upgrade};
use crate::proxy::Proxy;
use crate::spa::{Visit, cross_site};
use crate::world::{CLIENT, NEIGHBOR, ORIGIN, READER, World};

fn rules(sign_in: SignInRules) -> Rules {
    Rules {
        sign_in,
        ..Rules::default()
    }
}

/// A sign-in of the session, with a fresh code.
pub(crate) async fn sign_in(world: &World, session: &Value) -> Call {
    let result = authorization(&world.simulator).await;
    let body = serde_json::to_value(guest_sessions::SignInBody(result)).unwrap();
    Call::post(&path_of(session, "/sign-in")).json(&body)
}

pub(crate) fn sign_out(session: &Value) -> Call {
    Call::new(Method::DELETE, &path_of(session, "/sign-in"))
}

fn token(session: &Value) -> &str {
    session["accessToken"].as_str().unwrap()
}

/// The next frame with the status of the conversation of which this holds.
async fn status(page: &mut Page, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let status = page.until("conversation").await;
        if holds(&status) {
            return status;
        }
    }
}

async fn talk(page: &mut Page, text: &str) {
    page.message(text).await;
    let reply = page.until("message").await;
    assert_eq!(reply["text"], format!("You said: {text}"));
}

fn code(answer: &Answer) -> (u16, String) {
    let code = answer.json()["code"].as_str().unwrap().to_owned();
    (answer.status.as_u16(), code)
}

#[tokio::test]
async fn guest_steps_up_during_the_conversation_and_signs_out() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    let mut page = Page::of(&session).await;
    talk(&mut page, "who am I?").await;
    let anonymous = api.send(sign_out(&session).bearer(token(&session))).await;
    assert_eq!(code(&anonymous), (409, "action.unavailable".to_owned()));

    let signed_in = sign_in(&world, &session).await;
    api.ask(signed_in.clone()).await;
    status(&mut page, |status| status["signedIn"] == true).await;
    talk(&mut page, "it is me").await;
    let repeated = api.send(signed_in.bearer(&api.token)).await;
    assert_eq!(code(&repeated), (422, "sign.in.refused".to_owned()));

    // the JWT is too old, and is refreshed
    world.clock.advance(Duration::from_secs(1_000));
    let signed_out = api.send(sign_out(&session).bearer(token(&session))).await;
    assert_eq!(signed_out.status, StatusCode::NO_CONTENT, "{}", signed_out.text);
    assert_eq!(page.until("session.ended").await["reason"], "signed_out");
    let trail = api.ask(Call::get(&path_of(&session, "/audit"))).await;
    let entries = trail["entries"].as_array().unwrap();
    for action in ["guest.signed_in", "guest.signed_out", "session.ended"] {
        let count = entries.iter().filter(|entry| entry["action"] == action).count();
        assert_eq!(count, 1, "{action}: {trail}");
    }
    world.stop().await;
}

#[tokio::test]
async fn sign_in_outlasts_the_jwt_and_a_restart_of_the_gateway() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    // before the first socket
    let call = sign_in(&world, &session).await.bearer(token(&session));
    assert_eq!(api.send(call).await.status, StatusCode::NO_CONTENT);
    let mut page = Page::of(&session).await;
    talk(&mut page, "one").await;
    let world = world.restart().await;
    world.clock.advance(Duration::from_secs(1_000));
    let mut page = Page::open(upgrade(session["websocketUrl"].as_str().unwrap()))
        .await
        .unwrap();
    page.send_frame(&handshake(&session)).await;
    status(&mut page, |status| status["signedIn"] == true).await;
    talk(&mut page, "two").await;
    world.stop().await;
}

#[tokio::test]
async fn lost_sign_in_is_reported_and_messages_wait_for_the_next_one() {
    let proxy = Proxy::start().await;
    let rules = rules(SignInRules {
        refresh_lifetime: Duration::from_secs(120),
        ..SignInRules::default()
    });
    let world = world_through(&proxy, rules).await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    let mut page = Page::of(&session).await;
    api.ask(sign_in(&world, &session).await).await;
    status(&mut page, |status| status["signedIn"] == true).await;
    world.clock.advance(Duration::from_secs(121));
    proxy.cut();
    let is_lost = |status: &Value| status["outage"]["reason"] == "sign.in.lost";
    let lost = status(&mut page, is_lost).await;
    assert!(
        lost["signedIn"].is_null() && lost["outage"]["nextAttemptAt"].is_null(),
        "{lost}"
    );
    let id = page.message("are you there?").await;
    assert_eq!(page.delivery("queued").await["id"], id);
    let mut other = Page::open(upgrade(session["websocketUrl"].as_str().unwrap()))
        .await
        .unwrap();
    other.send_frame(&handshake(&session)).await;
    status(&mut other, is_lost).await;

    api.ask(sign_in(&world, &session).await).await;
    status(&mut page, |status| {
        status["outage"].is_null() && status["signedIn"] == true
    })
    .await;
    assert_eq!(page.delivery("sent").await["id"], id);
    other.until("message").await;
    talk(&mut other, "again").await;

    // the gateway restarts after the loss
    world.clock.advance(Duration::from_secs(121));
    drop((page, other));
    let world = world.restart().await;
    let mut page = Page::open(upgrade(session["websocketUrl"].as_str().unwrap()))
        .await
        .unwrap();
    page.send_frame(&handshake(&session)).await;
    let first = page.receive().await;
    assert!(
        matches!(&first, Received::Frame(frame) if is_lost(frame)),
        "{first:?}"
    );
    // one that is lost is signed out at once
    let signed_out = api.send(sign_out(&session).bearer(token(&session))).await;
    assert_eq!(signed_out.status, StatusCode::NO_CONTENT, "{}", signed_out.text);
    assert_eq!(page.until("session.ended").await["reason"], "signed_out");
    world.stop().await;
}

#[tokio::test]
async fn refused_codes_of_a_session_are_limited() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    let wrong = Call::post(&path_of(&session, "/sign-in"))
        .bearer(token(&session))
        .json(&json!({
            "code": "1.canary", "redirectUri": "https://shop.example/signed-in",
        }));
    for _ in 0..10 {
        let refused = api.send(wrong.clone()).await;
        assert_eq!(code(&refused), (422, "sign.in.refused".to_owned()));
        assert!(!refused.text.contains("canary"), "{}", refused.text);
    }
    assert_eq!(
        code(&api.send(wrong).await),
        (429, "too.many.requests".to_owned())
    );
    let right = sign_in(&world, &session).await;
    assert_eq!(api.send(right.bearer(token(&session))).await.status, 429);
    let other = api.create(&guest()).await;
    api.ask(sign_in(&world, &other).await).await;
    world.clock.advance(Duration::from_secs(60));
    api.ask(sign_in(&world, &session).await).await;
    world.stop().await;
}

#[tokio::test]
async fn only_the_client_and_the_guest_of_a_session_sign_in_and_out() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let [neighbor, reader] = [
        Api::of(&world, NEIGHBOR).await.token,
        Api::of(&world, READER).await.token,
    ];
    let (session, other) = (api.create(&guest()).await, api.create(&guest()).await);
    let (visit, other_visit) = (Visit::create(&api).await, Visit::create(&api).await);
    let by_cookie = |call: Call| call.header("cookie", &visit.cookie);
    let csrf = |call: Call| call.header("x-guest-sessions-csrf", "1");
    let of_session = |make: &dyn Fn(Call) -> Call, expected| (&session, make(Call::get("/")), expected);
    let of_visit = |make: &dyn Fn(Call) -> Call, expected| (&visit.session, make(Call::get("/")), expected);
    let elsewhere = "https://elsewhere.example";
    let attempts = [
        of_session(&|call| call, (401, "authentication.required")),
        of_session(&|call| call.bearer("invalid"), (401, "bad.credentials")),
        of_session(&|call| call.bearer(&neighbor), (404, "not.found")),
        of_session(&|call| call.bearer(&reader), (403, "missing.permissions")),
        of_session(&|call| call.bearer(token(&other)), (401, "bad.credentials")),
        of_session(
            &|call| call.bearer(session["refreshToken"].as_str().unwrap()),
            (401, "bad.credentials"),
        ),
        of_session(
            &|call| call.bearer(token(&session)).header("origin", elsewhere),
            (403, "origin.not.allowed"),
        ),
        of_session(&|call| visit.call(call), (401, "bad.credentials")),
        of_visit(&|call| other_visit.call(call), (401, "bad.credentials")),
        of_visit(&|call| by_cookie(csrf(call)), (403, "origin.not.allowed")),
        of_visit(
            &|call| by_cookie(call.header("origin", ORIGIN)),
            (403, "csrf.refused"),
        ),
        of_visit(
            &|call| by_cookie(csrf(call).header("origin", elsewhere)),
            (403, "origin.not.allowed"),
        ),
        of_visit(
            &|call| visit.call(call).header("sec-fetch-site", "cross-site"),
            (403, "csrf.refused"),
        ),
        of_visit(
            &|call| call.header("cookie", &visit.cookie).bearer("x"),
            (401, "bad.credentials"),
        ),
    ];
    for (session, attempt, (status, expected)) in attempts {
        for call in [sign_in(&world, session).await, sign_out(session)] {
            let headers = attempt.request().headers();
            let call = headers.iter().fold(call, |call, (name, value)| {
                call.header(name.as_str(), value.to_str().unwrap())
            });
            let answer = api.send(call).await;
            assert_eq!(code(&answer), (status, expected.to_owned()), "{headers:?}");
        }
    }
    // nothing has changed
    for session in [&session, &visit.session] {
        let answer = api.send(sign_out(session).bearer(&api.token)).await;
        assert_eq!(code(&answer), (409, "action.unavailable".to_owned()));
    }
    let signed_in = api.send(visit.call(sign_in(&world, &visit.session).await)).await;
    assert_eq!(signed_in.status, StatusCode::NO_CONTENT, "{}", signed_in.text);
    let signed_out = api.send(visit.call(sign_out(&visit.session))).await;
    assert_eq!(signed_out.status, StatusCode::NO_CONTENT, "{}", signed_out.text);
    let unknown = Call::new(Method::DELETE, &format!("{SESSIONS}/unknown/sign-in"));
    assert_eq!(api.send(unknown.bearer(&api.token)).await.status, 404);
    world.stop().await;
}

#[tokio::test]
async fn page_of_another_site_signs_in_by_its_access_token() {
    let (world, api) = cross_site::world().await;
    let session = cross_site::create(&api).await;
    let page = |call: Call| call.header("origin", ORIGIN).bearer(token(&session));
    let forged = api.send(page(sign_in(&world, &session).await)).await;
    assert_eq!(code(&forged), (403, "csrf.refused".to_owned()));
    let signed = sign_in(&world, &session)
        .await
        .header("x-guest-sessions-csrf", "1");
    let signed = api.send(page(signed)).await;
    assert_eq!(signed.status, StatusCode::NO_CONTENT, "{}", signed.text);
    assert_eq!(signed.header("access-control-allow-origin"), ORIGIN);
    world.stop().await;
}

#[tokio::test]
async fn step_up_that_the_deployment_does_not_allow_is_refused() {
    let world = World::with(
        rules(SignInRules {
            allow_session_upgrade: false,
            ..SignInRules::default()
        }),
        "",
    )
    .await;
    let api = Api::of(&world, CLIENT).await;
    let (session, fresh) = (api.create(&guest()).await, api.create(&guest()).await);
    let mut page = Page::of(&session).await;
    let refused = sign_in(&world, &session).await.bearer(token(&session));
    assert_eq!(
        code(&api.send(refused).await),
        (409, "action.unavailable".to_owned())
    );
    talk(&mut page, "still here").await;
    // it was not configured as an anonymous guest's
    api.ask(sign_in(&world, &fresh).await).await;
    let mut page = Page::of(&fresh).await;
    talk(&mut page, "signed in").await;
    world.stop().await;
}

#[tokio::test]
async fn guest_of_remote_mode_signs_in_and_out() {
    let world = World::start().await;
    let suite = world.suite();
    let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
    let error = session.sign_out().await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, "action.unavailable");
    soon(session.connect(page_origin())).await.unwrap();
    let begun = SignIn::begin(&"https://shop.example/signed-in".parse().unwrap());
    assert!(begun.result("another", "1.canary".into()).is_err());
    let mut wrong = authorization(&world.simulator).await;
    wrong.code_verifier = None;
    let error = session.sign_in(wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials, "{error}");
    session
        .sign_in(authorization(&world.simulator).await)
        .await
        .unwrap();
    session.send("it is me").unwrap();
    let reply = soon(session.next_message()).await.unwrap();
    assert_eq!(reply.text, "You said: it is me");
    session.sign_out().await.unwrap();
    loop {
        match soon(session.next_event()).await.expect("the end is an event") {
            Event::Ended(ending) => break assert!(ending.to_string().contains("signed_out"), "{ending}"),
            Event::Connection(ConnectionEvent::Reconnecting { cause, .. }) => panic!("{cause}"),
            _ => {}
        }
    }
    world.stop().await;
}
