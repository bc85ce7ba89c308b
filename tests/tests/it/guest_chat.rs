//! The component `<guest-chat>` in a browser, from consent to the end of the session: a page, its backend, the gateway and
//! an agent that shows every kind of content.

mod files;
mod page_client;
mod visit;

use std::sync::Arc;

use serde_json::json;

use self::visit::Visit;
use crate::component::ROOT;

#[tokio::test]
async fn guest_chat_goes_from_consent_to_the_end() {
    let Some(mut visit) = Visit::start("guest-chat from consent to the end").await else {
        return;
    };
    visit.see(".consent form").await;
    visit.check_appearance("consent").await;
    visit.click("input[name=analytics]").await;
    visit.click(".consent button[type=submit]").await;
    // the policy of this gateway asks for more
    visit
        .browser
        .until(&format!(
            "{ROOT}.querySelector('.consent .error').textContent.includes('Personal service, Offers')"
        ))
        .await;
    visit.check_appearance("refused").await;
    visit.click("input[name=personalization]").await;
    visit.click("input[name=marketing]").await;
    visit.click(".consent button[type=submit]").await;

    visit.read("Welcome to the shop! What can I show you?").await;
    let chosen = |all: bool| json!({ "personalization": all, "analytics": true, "marketing": all });
    assert_eq!(*visit.shop.choices.lock().await, [chosen(false), chosen(true)]);
    visit
        .write_message("Hello <b>shop</b> https://shop.example/a")
        .await;
    visit.read("I received: Hello <b>shop</b>").await;
    let links = format!(
        "[...{ROOT}.querySelectorAll('.message a')].map((link) => [link.href, link.rel, link.target].join(' '))"
    );
    let link = "https://shop.example/a noopener noreferrer _blank";
    assert_eq!(visit.browser.evaluate(&links).await, json!([link, link]));
    assert_eq!(
        visit
            .browser
            .evaluate(&format!("{ROOT}.querySelectorAll('.message b').length"))
            .await,
        0
    );
    visit.write_message("typing").await;
    visit.see(".typing .dots").await;
    visit.check_appearance("text").await;

    // the choices can be changed
    visit.click("header button[aria-label='Privacy choices']").await;
    visit.click("input[name=analytics]").await;
    visit.click(".consent button[type=submit]").await;
    visit.see("textarea.compose").await;
    assert_eq!(visit.shop.choices.lock().await[2]["analytics"], false);

    visit.click("header button[aria-label='End chat']").await;
    visit.check_appearance("end").await;
    visit.click(".panel .secondary").await;
    visit.see("textarea.compose").await;
    visit.click("header button[aria-label='End chat']").await;
    visit.click(".panel .primary").await;
    visit.see(".closed").await;
    visit.check_appearance("ended").await;
    // a new one is asked for with the same choices
    visit.click(".closed button").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    assert_eq!(visit.shop.choices.lock().await.len(), 4);
    // chromium reports the refusal of the first choices
    let refusal = visit.browser.console.pop_front().unwrap();
    assert!(refusal.contains("422") && refusal.contains("/chat"), "{refusal}");
    visit.check_quiet();
}

#[tokio::test]
async fn guest_chat_is_used_by_keyboard() {
    let Some(mut visit) = Visit::start("guest-chat by keyboard").await else {
        return;
    };
    visit.see(".consent form").await;
    let focus = format!(
        "(({{ activeElement: at }}) => at === null ? '' : at.getAttribute('aria-label') ?? at.name ?? at.textContent)({ROOT})"
    );
    let mut order = Vec::new();
    for _ in 0..3 {
        visit.browser.press("Tab").await;
        visit.browser.press(" ").await;
        order.push(visit.browser.evaluate(&focus).await);
        let outline = format!("getComputedStyle({ROOT}.activeElement).outlineStyle");
        assert_ne!(visit.browser.evaluate(&outline).await, "none", "{order:?}");
    }
    assert_eq!(order, ["personalization", "analytics", "marketing"]);
    // past the link to the notice
    visit.browser.press("Tab").await;
    visit.browser.press("Tab").await;
    visit.browser.press("Enter").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    // a screen reader announces the message
    visit
        .browser
        .until(&format!("{ROOT}.querySelector('.chat > [role=status].visually-hidden').textContent.includes('Shop Bot: Welcome')"))
        .await;
    // the focus did not get lost with the dialogue
    assert_eq!(visit.browser.evaluate(&focus).await, "Message");
    visit.browser.write("by keyboard").await;
    visit.browser.press("Enter").await;
    visit.read("I received: by keyboard").await;
    visit.check_quiet();
}

#[tokio::test]
async fn guest_chat_sends_what_was_written_before_a_reload_without_a_gateway() {
    let Some(mut visit) = Visit::start("guest-chat without a gateway").await else {
        return;
    };
    visit.click(".consent button[type=button]").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    let shop = Arc::clone(&visit.shop);
    let mut world = shop.world.lock().await;
    let stopped = world.take().unwrap();
    *world = Some(
        stopped
            .restart_after(async {
                visit.see(".banner button").await;
                let own = format!("{ROOT}.querySelector('textarea.compose').focus()");
                visit.browser.evaluate(&own).await;
                visit.browser.write("Are you there?").await;
                visit.browser.press("Enter").await;
                visit.see(".own.queued").await;
                visit.check_appearance("reconnecting").await;
                visit.browser.open(&format!("{}/?reloaded", visit.origin)).await;
            })
            .await,
    );
    drop(world);
    visit.read("I received: Are you there?").await;
    visit.see(".own.sent").await;
    let kept = visit
        .browser
        .evaluate("JSON.stringify({ ...sessionStorage })")
        .await;
    assert_eq!(kept, "{}");
}

#[tokio::test]
async fn guest_chat_goes_on_after_restarts_of_the_gateway() {
    let Some(mut visit) = Visit::start("guest-chat with restarts of the gateway").await else {
        return;
    };
    visit.click(".consent button[type=button]").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    let mut expected = vec!["Welcome to the shop! What can I show you?".to_owned()];
    for text in ["one", "two", "three"] {
        visit.write_message(text).await;
        visit.read(&format!("I received: {text}")).await;
        expected.extend([text.to_owned(), format!("I received: {text}")]);
        let shop = Arc::clone(&visit.shop);
        let mut world = shop.world.lock().await;
        let stopped = world.take().unwrap();
        *world = Some(stopped.restart().await);
    }
    visit.write_message("four").await;
    visit.read("I received: four").await;
    expected.extend(["four".to_owned(), "I received: four".to_owned()]);
    let texts = format!("[...{ROOT}.querySelectorAll('.message .text')].map((text) => text.textContent)");
    assert_eq!(visit.browser.evaluate(&texts).await, json!(expected));
    let gaps = format!("{ROOT}.querySelectorAll('.gap').length");
    assert_eq!(visit.browser.evaluate(&gaps).await, 0);
}

#[tokio::test]
async fn guest_chat_shows_the_history_after_a_reload() {
    let Some(mut visit) = Visit::start("guest-chat with its history after a reload").await else {
        return;
    };
    visit.click(".consent button[type=button]").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    let write = async |visit: &mut Visit, text: &str| {
        visit.write_message(text).await;
        visit.read(&format!("I received: {text}")).await;
    };
    write(&mut visit, "one").await;
    write(&mut visit, "two").await;
    visit.browser.open(&format!("{}/?reloaded", visit.origin)).await;
    visit.read("I received: two").await;
    let texts = format!("[...{ROOT}.querySelectorAll('.message .text')].map((text) => text.textContent)");
    let mut expected = vec![
        "Welcome to the shop! What can I show you?",
        "one",
        "I received: one",
        "two",
        "I received: two",
    ];
    assert_eq!(visit.browser.evaluate(&texts).await, json!(expected));
    write(&mut visit, "three").await;
    expected.extend(["three", "I received: three"]);
    assert_eq!(visit.browser.evaluate(&texts).await, json!(expected));
    visit.check_quiet();
}

#[tokio::test]
async fn guest_chat_shows_and_answers_every_kind_of_content() {
    let Some(mut visit) = Visit::start("guest-chat with every kind of content").await else {
        return;
    };
    visit.click(".consent button[type=button]").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    visit.check_appearance("replies").await;
    visit.click(".replies button").await;

    visit.see(".card").await;
    // the text of the message is that of the card: it is not shown twice
    let texts = format!("[...{ROOT}.querySelectorAll('.message')].at(-1).querySelectorAll('.text').length");
    assert_eq!(visit.browser.evaluate(&texts).await, 0);
    visit.check_appearance("card").await;
    let look = format!("{ROOT}.querySelector('.card a.action').href");
    assert_eq!(visit.browser.evaluate(&look).await, "https://shop.example/table");
    visit.click(".card button.action").await;
    visit.read("The table is yours.").await;
    visit.see(".card.answered .action.chosen").await;

    visit.write_message("cards").await;
    visit.see(".carousel li:nth-child(3) .card").await;
    visit.check_appearance("carousel").await;
    visit.click(".carousel li:nth-child(2) button.action").await;
    // the other cards can still be read
    visit
        .see(".carousel.answered:has(.action:disabled) .arrows button:enabled")
        .await;
    visit.read("The teapot is in your basket.").await;

    visit.write_message("date").await;
    visit.see(".slots .chip").await;
    visit.check_appearance("date").await;
    visit.click(".slots:last-child .chip").await;
    visit.read("The van comes on Sunday.").await;

    visit.write_message("list").await;
    visit.see(".picker fieldset").await;
    visit.check_appearance("list").await;
    visit
        .click("fieldset:first-of-type .option:nth-of-type(1) input")
        .await;
    visit
        .click("fieldset:last-of-type .option:nth-of-type(1) input")
        .await;
    visit.click(".picker:not(.answered) > .primary").await;
    // of several choices each arrives: the bot's rule is that of the second
    visit.read("Soup it is.").await;

    visit.write_message("form").await;
    visit.click(".form .primary").await;
    visit.click(".form .primary").await;
    visit
        .browser
        .until(&format!(
            "{ROOT}.querySelector('.form .error').textContent === 'Fill in: Street'"
        ))
        .await;
    visit.check_appearance("form").await;
    // the focus is on the missing field
    visit.browser.write("1 Harbor Street").await;
    visit.browser.press("Enter").await;
    visit.see(".form select").await;
    visit
        .browser
        .evaluate(&format!("{ROOT}.querySelector('.form select').value = '1'"))
        .await;
    visit.click(".form .primary").await;
    visit.read("I received: 1 Harbor Street").await;
    visit.see(".form.answered dl").await;

    visit.write_message("file").await;
    visit.read("prices.txt").await;
    visit.see(".attachment.file a[href^=http]").await;
    visit.write_message("place").await;
    visit.read("Our shop: 1 Harbor Street").await;
    visit.check_appearance("file").await;

    // after a reload nothing is offered that was answered
    visit.browser.open(&format!("{}/?reloaded", visit.origin)).await;
    visit.read("Our shop: 1 Harbor Street").await;
    let offers = format!(
        "[...{ROOT}.querySelectorAll('.card, .carousel, .form, .picker')].map((offer) => offer.classList.contains('answered'))"
    );
    visit
        .browser
        .until(&format!(
            "{offers}.length === 8 && {offers}.every((answered) => answered)"
        ))
        .await;

    visit.write_message("leave").await;
    visit.see(".closed").await;
    visit.check_quiet();
    let world = visit.shop.world.lock().await;
    let violations = world.as_ref().unwrap().simulator.violations();
    assert!(violations.is_empty(), "{violations:?}");
}

#[tokio::test]
async fn guest_chat_starts_a_new_conversation_in_the_session() {
    let Some(mut visit) = Visit::start("guest-chat after a read-only conversation").await else {
        return;
    };
    visit.click(".consent button[type=button]").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    visit.write_message("leave").await;
    visit.see(".closed button").await;
    // the page is reloaded, and then has a client of its own
    let reload = format!("{}/?reloaded", visit.origin);
    visit.browser.open(&reload).await;
    visit.click(".closed button").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    visit.write_message("leave").await;
    visit.see(".closed button").await;
    let hand_over = "(async () => {
        const chat = document.querySelector('guest-chat');
        await chat.start(chat.conversation);
    })()";
    visit.browser.evaluate(hand_over).await;
    visit.see(".closed button").await;
    let focus = format!("{ROOT}.querySelector('.closed button').focus()");
    visit.browser.evaluate(&focus).await;
    visit.browser.press("Enter").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    // the focus did not get lost with the button
    visit.browser.write("Back again").await;
    visit.browser.press("Enter").await;
    visit.read("I received: Back again").await;
    assert_eq!(visit.shop.choices.lock().await.len(), 1, "sessions");
    visit.check_quiet();
}

#[tokio::test]
async fn guest_chat_takes_a_color_from_a_property_of_the_name_of_its_own() {
    let Some(mut visit) = Visit::start("guest-chat with colors of the page").await else {
        return;
    };
    visit.see(".consent form").await;
    let color = format!(
        "(() => {{
            document.documentElement.style.setProperty('--line', 'rgb(1, 2, 3)');
            document.querySelector('guest-chat').style.setProperty('--guest-chat-line', 'var(--line)');
            return getComputedStyle({ROOT}.querySelector('.chat')).borderTopColor;
        }})()"
    );
    assert_eq!(visit.browser.evaluate(&color).await, "rgb(1, 2, 3)");
    visit.check_quiet();
}
