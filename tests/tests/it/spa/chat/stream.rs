//! A page whose WebSockets cannot be opened: its conversation is an event stream.

use serde_json::json;

use super::{ALLOW_ALL, IS_OPEN, Visit};
use crate::component::ROOT;

/// A script of the page, run before all others: no WebSocket can be opened. It counts the attempts.
const NO_SOCKETS: &str = "
    window.sockets = 0;
    window.WebSocket = class {
        readyState = 0;
        constructor() {
            window.sockets += 1;
            setTimeout(() => { this.readyState = 3; this.onclose?.({ code: 1006 }); });
        }
        close() { this.readyState = 3; }
    };";

/// The texts of the shown messages.
fn texts() -> String {
    format!("[...{ROOT}.querySelectorAll('.message')].map((message) => message.textContent)")
}

/// Whether a text is shown once.
fn shows_once(text: &str) -> String {
    format!(
        "{}.filter((shown) => shown.includes({text:?})).length === 1",
        texts()
    )
}

impl Visit {
    /// Lets no page of the present tab open a WebSocket, and loads it again.
    async fn forbid_sockets(&mut self) {
        let script = json!({ "source": NO_SOCKETS });
        self.browser
            .command("Page.addScriptToEvaluateOnNewDocument", script)
            .await;
        self.reload().await;
    }
}

#[tokio::test]
async fn chat_without_websockets_goes_from_consent_to_the_reply() {
    for (host, embedding) in [("127.0.0.1", "same-site"), ("localhost", "cross-site")] {
        let visit = Visit::start("guest-chat without WebSockets", host, host, embedding).await;
        let Some(mut visit) = visit else { return };
        visit.forbid_sockets().await;
        visit.browser.click(ALLOW_ALL).await;
        visit.browser.until(IS_OPEN).await;
        assert_eq!(visit.browser.evaluate("window.sockets").await, 2);
        visit.browser.write_message("hello").await;
        visit.browser.read("You said: hello").await;

        visit.reload().await;
        visit.browser.until(IS_OPEN).await;
        visit.browser.write_message("again").await;
        visit.browser.read("You said: again").await;
        for text in ["You said: hello", "You said: again"] {
            visit.browser.until(&shows_once(text)).await;
        }
        assert_eq!(visit.sessions().await, 1);
        assert!(visit.browser.console.is_empty(), "{:?}", visit.browser.console);
        visit.world.stop().await;
    }
}
