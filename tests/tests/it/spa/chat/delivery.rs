//! The delivery status that the component shows of a message.

use serde_json::json;

use super::{ALLOW_ALL, IS_OPEN, Visit};
use crate::component::ROOT;

/// A script of the page, run before all others: each acknowledgement is preceded by `unknown`, and waits for `acknowledge()`.
const LATE_ACKNOWLEDGEMENT: &str = "
    window.WebSocket = class extends WebSocket {
        set onmessage(handle) {
            super.onmessage = ({ data }) => {
                const { type, state, id, sequence } = JSON.parse(data);
                if (type !== 'delivery' || state !== 'sent') return handle({ data });
                window.acknowledge = () => handle({ data });
                const unknown = { type, id, state: 'unknown', sequence, code: 'in.doubt', message: 'it may have arrived' };
                handle({ data: JSON.stringify(unknown) });
            };
        }
    };";

#[tokio::test]
async fn chat_shows_a_late_acknowledgement_of_a_message() {
    let visit = Visit::start(
        "guest-chat with a late acknowledgement",
        "127.0.0.1",
        "127.0.0.1",
        "same-site",
    );
    let Some(mut visit) = visit.await else { return };
    let script = json!({ "source": LATE_ACKNOWLEDGEMENT });
    visit
        .browser
        .command("Page.addScriptToEvaluateOnNewDocument", script)
        .await;
    visit.reload().await;
    visit.browser.click(ALLOW_ALL).await;
    visit.browser.until(IS_OPEN).await;
    let focus = format!("{ROOT}.querySelector('textarea.compose').focus()");
    visit.browser.evaluate(&focus).await;
    visit.browser.write("hello").await;
    visit.browser.press("Enter").await;
    visit.browser.see(".own.unknown .meta button").await;
    visit.browser.evaluate("(acknowledge(), 0)").await;
    visit.browser.see(".own.sent").await;
    let buttons = format!("{ROOT}.querySelectorAll('.own .meta button').length");
    assert_eq!(visit.browser.evaluate(&buttons).await, 0);
    visit.browser.check_quiet();
    visit.world.stop().await;
}
