//! Sign-in and sign-out by the component and by the client of a page without a backend.

use serde_json::json;

use super::{ALLOW_ALL, IS_OPEN, Visit};
use crate::component::ROOT;
use crate::sign_in::authorization;

/// Collects the states that the component reports.
const COLLECT: &str = "(window.signIns = [], document.addEventListener('guest-chat-sign-in',
    ({ detail }) => window.signIns.push(detail.state)), 0)";

impl Visit {
    /// The result of a sign-in at the identity provider, as a page reads it from the redirect.
    async fn authorization(&self) -> String {
        let result = authorization(&self.world.simulator).await;
        serde_json::to_string(&result).unwrap()
    }
}

async fn signs_in_and_out(test: &str, host: &str, embedding: &str) {
    let Some(mut visit) = Visit::start(test, host, host, embedding).await else {
        return;
    };
    visit
        .browser
        .until("document.querySelector('guest-chat')?.signIn !== undefined")
        .await;
    visit.browser.evaluate(COLLECT).await;
    // before there is a session
    let authorization = visit.authorization().await;
    let early = format!("(document.querySelector('guest-chat').signIn({authorization}), 0)");
    visit.browser.evaluate(&early).await;
    visit.browser.click(ALLOW_ALL).await;
    visit.browser.until(IS_OPEN).await;
    visit.browser.until("window.signIns.join() === 'signed_in'").await;
    visit.browser.write_message("it is me").await;
    visit.browser.read("You said: it is me").await;
    let used = format!(
        "document.querySelector('guest-chat').signIn({authorization}).catch(({{ status, code }}) => [status, code])"
    );
    assert_eq!(
        visit.browser.evaluate(&used).await,
        json!([422, "sign.in.refused"])
    );

    // a reloaded page is still signed in, and can sign in again by the client
    visit.reload().await;
    visit.browser.evaluate(COLLECT).await;
    visit.browser.until(IS_OPEN).await;
    let again = format!(
        "(async () => {{
            const {{ SpaClient }} = await import({:?});
            const client = new SpaClient({:?});
            await client.resume();
            await client.signIn({});
            return document.querySelector('guest-chat').conversation.state;
        }})()",
        visit.world.url("/guest-chat.js"),
        visit.world.url(""),
        visit.authorization().await,
    );
    assert_eq!(visit.browser.evaluate(&again).await, "open");
    let lost = "(document.querySelector('guest-chat').conversation.dispatchEvent(Object.assign(new Event('conversation'), {
        detail: { state: 'open', actions: ['send'], outage: { reason: 'sign.in.lost', since: '2026-11-22T12:00:00Z' } },
    })), 0)";
    visit.browser.evaluate(lost).await;
    visit
        .browser
        .until(&format!(
            "{ROOT}.textContent.includes('Your sign-in has expired.')"
        ))
        .await;

    visit
        .browser
        .evaluate("document.querySelector('guest-chat').signOut().then(() => 0)")
        .await;
    visit
        .browser
        .until(&format!("{ROOT}.textContent.includes('You are signed out.')"))
        .await;
    visit
        .browser
        .until("window.signIns.slice(-2).join() === 'lost,signed_out'")
        .await;
    let shown = visit
        .browser
        .evaluate("document.querySelector('guest-chat').shadowRoot.textContent.includes('it is me')")
        .await;
    assert_eq!(shown, false, "the next guest of the browser does not read it");
    let console: Vec<&String> = visit.browser.console.iter().collect();
    assert!(console.iter().all(|line| line.contains("422")), "{console:?}");
    visit.world.stop().await;
}

#[tokio::test]
async fn guest_signs_in_and_out_by_the_cookie() {
    signs_in_and_out("sign-in of the same site", "127.0.0.1", "same-site").await;
}

#[tokio::test]
async fn guest_signs_in_and_out_from_another_site() {
    signs_in_and_out("sign-in of another site", "localhost", "cross-site").await;
}
