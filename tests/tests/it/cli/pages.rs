//! The pages for operators: their commands run as shown.

use genesys_api::Clock;
use genesys_http::Tls;
use guest_suite::contract::SubscriptionBody;

use super::{EXAMPLE_CLIENT, Example, root};
use crate::api::{Call, WEBHOOKS};
use crate::crm::Crm;
use crate::process::program;

/// Runs the `sh` blocks of a page in the folder of the example, with these variables.
async fn run_blocks(page: &str, example: &Example, variables: &[(&str, &str)]) {
    let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
    let blocks: Vec<&str> = text
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty(), "{page}");
    let folder = program().parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    for block in blocks {
        let mut shell = tokio::process::Command::new("sh");
        shell
            .args(["-euc", block])
            .env("PATH", &path)
            .envs(variables.iter().copied())
            .current_dir(example.folder.path());
        let ended = shell.output().await.unwrap();
        let err = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{page}: {block}{err}");
    }
}

#[tokio::test]
async fn commands_of_the_pages_run_as_shown() {
    run_blocks("install.md", &Example::new(), &[]).await;
    for page in ["upgrade.md", "backup.md"] {
        let example = Example::new();
        assert_eq!(example.serve().await.process.interrupt().await.code, Some(0));
        run_blocks(page, &example, &[]).await;
    }
}

#[tokio::test]
async fn commands_about_webhooks_run_as_shown() {
    let mut example = Example::new();
    example.change("allow_networks = [] ", "allow_networks = [\"127.0.0.0/8\"] ");
    let serving = example.serve().await;
    let crm = Crm::start(&Clock::system()).await;
    let subscription = crm.subscription("/guest-sync");
    let api = serving.api(Tls::system().unwrap()).await;
    let session = serving.session().await;
    let registered =
        Call::post(WEBHOOKS).json(&serde_json::to_value(SubscriptionBody(&subscription)).unwrap());
    api.ask(registered).await;
    let (id, secret) = EXAMPLE_CLIENT;
    let variables = [
        ("GATEWAY", serving.url.as_str()),
        ("SESSION", session["id"].as_str().unwrap()),
        ("GUEST_GATEWAY_CLIENT_ID", id),
        ("GUEST_GATEWAY_CLIENT_SECRET", secret),
    ];
    run_blocks("webhooks.md", &example, &variables).await;
    let received = crm.received(1).await;
    assert_eq!(received[0].event(), "webmessaging.guestsession.test");
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}
