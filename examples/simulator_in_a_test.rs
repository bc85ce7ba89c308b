//! `genesys-sim` in a test of a guest client: a scripted agent, an injected fault, and a check of every frame.

use std::error::Error;

use futures_util::{SinkExt as _, StreamExt as _};
use genesys_sim::{Agent, Config, Script, Simulator};
use serde_json::{Value, json};
use tokio_tungstenite::{connect_async, tungstenite::Message};

const TOKEN: &str = "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11";

const SCRIPT: &str = "name: shop\nrules:\n  - {on: otherwise, do: [{say: 'You wrote: {text}'}]}\n";

/// The client under test: sends a text, connects again when the socket is lost, and returns the agent's answer.
async fn ask(url: &str, deployment: &str, text: &str) -> Result<(u32, String), Box<dyn Error>> {
    for attempt in 1..=3 {
        let (mut socket, _) = connect_async(url).await?;
        let frames = [
            json!({"action": "configureSession", "deploymentId": deployment, "token": TOKEN}),
            json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text", "text": text}}),
        ];
        for frame in frames {
            socket.send(Message::text(frame.to_string())).await?;
        }
        while let Some(Ok(frame)) = socket.next().await {
            let frame: Value = serde_json::from_str(frame.to_text()?)?;
            if frame["body"]["direction"] == "Outbound" {
                return Ok((
                    attempt,
                    frame["body"]["text"].as_str().unwrap_or_default().to_owned(),
                ));
            }
        }
    }
    Err("no answer in three connections".into())
}

#[tokio::test]
async fn client_gets_answer_after_cut_connection() -> Result<(), Box<dyn Error>> {
    let mut config = Config::plain();
    config.rules.agent = Agent::Scripts(vec![Script::parse("shop.yaml", SCRIPT)?]);
    config.rules.faults = vec!["drop:abrupt@2".parse()?]; // cuts the first socket before its second frame
    let simulator = Simulator::start(config).await?;
    let deployment = simulator.deployment_id().to_string();
    let url = format!("{}?deploymentId={deployment}", simulator.websocket_url());

    let (attempt, answer) = ask(&url, &deployment, "Hello").await?;
    assert_eq!(answer, "You wrote: Hello");
    assert_eq!(attempt, 2);
    // frames that an official client never sends
    assert!(simulator.violations().is_empty());
    simulator.stop().await;
    Ok(())
}
