//! The gateway as a process, at its most verbose log level.

use std::process::Stdio;

use genesys_http::Tls;
use serde_json::json;

use super::canary::Searcher;
use super::{GUESS, MESSAGE, Seen, plant_tokens, text};
use crate::api::{Call, SESSIONS, guest};
use crate::cli::{EXAMPLE_CLIENT, Example, Serving};
use crate::page::{Page, handshake, upgrade_with};
use crate::process::{Process, command};

#[tokio::test]
async fn program_at_trace_level_logs_no_secret() {
    let example = Example::new();
    let mut verbose = command(["serve", "--json", "--config", &example.write()]);
    verbose
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null());
    let mut process = Process::start(verbose);
    let ready = process.json().await;
    let serving = Serving {
        url: text(&ready["http"]).to_owned(),
        ready,
        process,
    };
    let api = serving.api(Tls::system().unwrap()).await;
    let mut canaries = Searcher::default();
    canaries.plant("the API client's secret", EXAMPLE_CLIENT.1);
    canaries.plant("an API token", &api.token);
    canaries.plant("what somebody guessed", GUESS);
    canaries.plant("the message", MESSAGE);

    let mut body = guest();
    body["channelConfigurationId"] = "your_web_messaging_channel_config_id".into();
    let session = api.create(&body).await;
    plant_tokens(&mut canaries, "of the session", &session);
    let url = format!(
        "{}?access_token={}",
        text(&session["websocketUrl"]),
        text(&session["accessToken"])
    );
    let other = upgrade_with(&url, "origin", "https://evil.example");
    assert_eq!(Page::open(other).await.err().unwrap().0, 403);
    let request = upgrade_with(&url, "origin", "https://yourdomain.com");
    let mut page = Page::open(request).await.unwrap();
    page.send_frame(&handshake(&session)).await;
    page.until("handshake.accepted").await;
    page.message(MESSAGE).await;
    page.until("message").await;
    page.send_unchecked(&json!({ "type": MESSAGE })).await;
    page.until("error").await;

    let path = format!("{SESSIONS}/{}/refresh", text(&session["id"]));
    let guess = Call::post(&path).json(&json!({ "refreshToken": GUESS }));
    assert_eq!(api.send(guess.bearer(&api.token)).await.status, 400);
    let (id, _) = EXAMPLE_CLIENT;
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret=guess");
    assert_eq!(api.send(Call::post("/oauth/token").form(&form)).await.status, 401);
    let rotated = api
        .ask(Call::post(&path).json(&json!({ "refreshToken": session["refreshToken"] })))
        .await;
    plant_tokens(&mut canaries, "after the rotation", &rotated);

    let ended = serving.process.interrupt().await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for received in ["DEBUG", "refused for its origin", "status=401"] {
        assert!(
            ended.err.contains(received),
            "{received} was not logged:\n{}",
            ended.err
        );
    }
    let mut seen = Seen::default();
    seen.keep("stdout", ended.out);
    seen.keep("stderr", ended.err);
    seen.check(&canaries);
}
