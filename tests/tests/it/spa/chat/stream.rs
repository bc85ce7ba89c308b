//! A page whose WebSockets cannot be opened: its conversation is an event stream.

use serde_json::json;

use super::{ALLOW_ALL, IS_OPEN, Visit};
use crate::chromium::Tab;
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

/// The number of shown messages with a text.
fn shown(text: &str) -> String {
    format!(
        "[...{ROOT}.querySelectorAll('.message')].filter((message) => message.textContent.includes({text:?})).length"
    )
}

impl Visit {
    /// Lets no page of the present tab open a WebSocket, and loads it again.
    async fn forbid_sockets(&mut self) {
        self.forbid_sockets_of_next_page().await;
        self.reload().await;
    }

    async fn forbid_sockets_of_next_page(&mut self) {
        let script = json!({ "source": NO_SOCKETS });
        self.browser
            .command("Page.addScriptToEvaluateOnNewDocument", script)
            .await;
    }

    /// Opens the page in another tab. Returns the tab of the commands before.
    async fn open_tab(&mut self, has_sockets: bool) -> Tab {
        let before = self.browser.open_tab().await;
        if !has_sockets {
            self.forbid_sockets_of_next_page().await;
        }
        let origin = self.origin.clone();
        self.browser.open(&origin).await;
        self.browser.until(IS_OPEN).await;
        before
    }

    /// Writes a message, and waits for the reply. Both are shown once.
    async fn exchange(&mut self, text: &str) {
        self.browser.until(IS_OPEN).await;
        self.browser.write_message(text).await;
        self.shows_once(text).await;
    }

    async fn shows_once(&mut self, text: &str) {
        let reply = format!("You said: {text}");
        self.browser.until(&format!("{} === 1", shown(&reply))).await;
        // the message and its reply
        let both = self.browser.evaluate(&shown(text)).await;
        assert_eq!(both, 2, "{text}");
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
        visit.exchange("hello").await;
        visit.reload().await;
        visit.exchange("again").await;
        visit.shows_once("hello").await;
        assert_eq!(visit.sessions().await, 1);
        assert!(visit.browser.console.is_empty(), "{:?}", visit.browser.console);
        visit.world.stop().await;
    }
}

#[tokio::test]
async fn tabs_without_websockets_share_the_stream_of_one_of_them() {
    let host = "127.0.0.1";
    let visit = Visit::start("tabs of guest-chat", host, host, "same-site").await;
    let Some(mut visit) = visit else { return };
    visit.forbid_sockets().await;
    visit.browser.click(ALLOW_ALL).await;
    visit.exchange("one").await;
    let first = visit.open_tab(false).await;
    visit.exchange("two").await;
    let locks = "window.locks = null, navigator.locks.query().then((locks) => { window.locks = locks; }), 0";
    visit.browser.evaluate(locks).await;
    visit
        .browser
        .until("window.locks?.held.length === 1 && window.locks.pending.length === 1")
        .await;
    let second = visit.browser.switch_to(first);
    visit.shows_once("two").await;
    visit.exchange("three").await;
    assert!(visit.browser.console.is_empty(), "{:?}", visit.browser.console);

    // the tab that reads the stream
    visit.browser.command("Page.close", json!({})).await;
    visit.browser.switch_to(second);
    visit.exchange("four").await;
    visit.shows_once("three").await;
    let second = visit.open_tab(false).await;
    visit.exchange("five").await;

    let Visit {
        world,
        browser,
        origin,
    } = visit;
    let mut visit = Visit {
        world: world.restart().await,
        browser,
        origin,
    };
    visit.exchange("six").await;
    visit.shows_once("five").await;
    visit.browser.switch_to(second);
    visit.shows_once("six").await;
    visit.exchange("seven").await;
    for text in ["four", "five"] {
        visit.shows_once(text).await;
    }
    assert_eq!(visit.sessions().await, 1);
    visit.world.stop().await;
}

#[tokio::test]
async fn tabs_with_websockets_show_each_message_once() {
    let host = "127.0.0.1";
    let visit = Visit::start("tabs of guest-chat", host, host, "same-site").await;
    let Some(mut visit) = visit else { return };
    visit.browser.click(ALLOW_ALL).await;
    visit.exchange("one").await;
    let first = visit.open_tab(true).await;
    visit.exchange("two").await;
    visit.browser.switch_to(first);
    for text in ["one", "two"] {
        visit.shows_once(text).await;
    }
    visit.exchange("three").await;
    visit.world.stop().await;
}
