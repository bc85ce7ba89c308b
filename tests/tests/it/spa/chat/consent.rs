//! The consent of a session that the component creates.

use serde_json::{Value, json};

use super::{ALLOW_ALL, IS_OPEN, ROOT, Visit};

/// A script of the page, run before all others: the guest is asked for two of the three purposes.
const TWO_PURPOSES: &str = "
    document.addEventListener('readystatechange', () => {
        document.querySelector('guest-chat').setAttribute('purposes', 'personalization marketing');
    });";

impl Visit {
    /// The choices in the session of the browser: personalization, analytics, marketing.
    async fn choices(&mut self) -> Value {
        let fetch = format!(
            "fetch({:?}, {{ credentials: 'include' }}).then((answer) => answer.json())
                .then(({{ consent }}) => [consent.personalization, consent.analytics, consent.marketing])",
            self.world.url("/spa/session")
        );
        self.browser.evaluate(&fetch).await
    }
}

#[tokio::test]
async fn one_button_withdraws_every_agreement() {
    let visit = Visit::start("guest-chat withdrawal", "127.0.0.1", "127.0.0.1", "same-site");
    let Some(mut visit) = visit.await else { return };
    visit.browser.click(ALLOW_ALL).await;
    visit.browser.until(IS_OPEN).await;
    assert_eq!(visit.choices().await, json!(["granted", "granted", "granted"]));
    visit
        .browser
        .click("header button[aria-label='Withdraw consent']")
        .await;
    let announced = format!("{ROOT}.textContent.includes('Your consent is withdrawn.')");
    visit.browser.until(&announced).await;
    assert_eq!(visit.choices().await, json!(["denied", "denied", "denied"]));
    let is_gone = format!("{ROOT}.querySelector(\"header button[aria-label='Withdraw consent']\").hidden");
    assert_eq!(
        visit.browser.evaluate(&is_gone).await,
        true,
        "nothing is left to withdraw"
    );
    visit.browser.check_quiet();
    visit.world.stop().await;
}

#[tokio::test]
async fn chat_started_again_after_a_reload_denies_no_purpose_without_a_choice() {
    let visit = Visit::start(
        "guest-chat with two purposes",
        "127.0.0.1",
        "127.0.0.1",
        "same-site",
    );
    let Some(mut visit) = visit.await else { return };
    let script = json!({ "source": TWO_PURPOSES });
    visit
        .browser
        .command("Page.addScriptToEvaluateOnNewDocument", script)
        .await;
    visit.reload().await;
    visit.browser.click(ALLOW_ALL).await;
    visit.browser.until(IS_OPEN).await;
    let expected = json!(["granted", "unknown", "granted"]);
    assert_eq!(visit.choices().await, expected);
    visit.reload().await;
    visit.browser.until(IS_OPEN).await;
    visit.browser.click("header button[aria-label='End chat']").await;
    visit.browser.click(".panel .primary").await;
    visit.browser.click(".closed button").await;
    visit.browser.until(IS_OPEN).await;
    assert_eq!(visit.sessions().await, 2);
    assert_eq!(visit.choices().await, expected);
    visit.browser.check_quiet();
    visit.world.stop().await;
}
