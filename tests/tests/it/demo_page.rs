//! The demo shop of the gateway in a browser, from consent to the end of the session.

mod visit;

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::visit::{DESKTOP, Visit, configuration};
use crate::component::ROOT;
use crate::process::{Process, command};
use left_out::target;

/// The shown messages, the oldest first.
fn texts() -> String {
    format!("[...{ROOT}.querySelectorAll('.message .text')].map((text) => text.textContent)")
}

/// Number of shown messages of the guest with a text.
fn own(text: &str) -> String {
    format!(
        "[...{ROOT}.querySelectorAll('.own .text')].filter(({{ textContent }}) => textContent === {text:?}).length"
    )
}

#[tokio::test]
async fn demo_page_goes_from_consent_to_the_end() {
    let Some(mut visit) = Visit::start("demo page from consent to the end").await else {
        return;
    };
    visit.browser.see(".consent form").await;
    visit.check_appearance("consent").await;
    visit.begin().await;
    visit.check_appearance("menu").await;
    // the choices can be changed
    visit
        .browser
        .click("header button[aria-label='Privacy choices']")
        .await;
    visit.browser.click("input[name=analytics]").await;
    visit.browser.click(".consent button[type=submit]").await;
    visit.browser.see("textarea.compose").await;
    visit.browser.click("header button[aria-label='End chat']").await;
    visit.browser.click(".panel .primary").await;
    visit.browser.see(".closed").await;
    // nothing of the session is offered any more
    let offered = format!(
        "[...{ROOT}.querySelectorAll('header button, .replies')].filter((part) => part.checkVisibility()).length"
    );
    assert_eq!(visit.browser.evaluate(&offered).await, 0);
    visit.check_appearance("ended").await;
    visit.check_quiet();
}

#[tokio::test]
async fn demo_page_shows_and_answers_every_kind_of_content() {
    let Some(mut visit) = Visit::start("demo page with every kind of content").await else {
        return;
    };
    visit.begin().await;
    let browser = &mut visit.browser;
    choose(browser, "Show me a card").await;
    browser.click(".card button.action").await;
    browser.read("It is in your basket.").await;

    choose(browser, "Show me several").await;
    browser.click(".carousel li:nth-child(2) button.action").await;
    browser.read("It is in your basket.").await;
    loaded(browser, ".carousel img, .card img").await;

    choose(browser, "Pick a date").await;
    browser.click(".slots:last-child .chip").await;
    browser.read("What next?").await;
    browser
        .until(&format!(
            "{ROOT}.textContent.includes('The van comes at this time:')"
        ))
        .await;

    choose(browser, "Pick from a list").await;
    browser
        .click("fieldset:first-of-type .option:nth-of-type(2) input")
        .await;
    browser
        .click("fieldset:last-of-type .option:nth-of-type(1) input")
        .await;
    browser.click(".picker:not(.answered) > .primary").await;
    browser.read("We put the kettle on.").await;

    choose(browser, "Fill in a form").await;
    browser.click(".form .primary").await;
    browser.see(".form input").await;
    browser
        .evaluate(&format!("{ROOT}.querySelector('.form input').focus()"))
        .await;
    browser.write("1 Harbor Street").await;
    browser.press("Enter").await;
    browser.see(".form select").await;
    browser
        .evaluate(&format!("{ROOT}.querySelector('.form select').value = '1'"))
        .await;
    browser.click(".form .primary").await;
    browser.read("the driver knows").await;

    choose(browser, "Send me a file").await;
    browser.see(".attachment.file a[href^=http]").await;
    browser
        .until(&format!(
            "{ROOT}.querySelector('.messages').textContent.includes('115 bytes')"
        ))
        .await;
    browser.read("What next?").await;
    choose(browser, "Send me a picture").await;
    browser.see("figure.attachment img").await;
    browser.read("What next?").await;
    loaded(browser, "figure.attachment img").await;
    visit.check_appearance("content").await;

    let browser = &mut visit.browser;
    choose(browser, "Talk to a person").await;
    browser.see(".typing .dots").await;
    browser.read("Hello, this is Ann").await;
    browser
        .until(&format!(
            "[...{ROOT}.querySelectorAll('.author')].at(-1).textContent === 'Ann'"
        ))
        .await;
    choose(browser, "Thank you, that is all").await;
    browser
        .until(&format!(
            "{ROOT}.querySelector('.separator').textContent.includes('left')"
        ))
        .await;
    browser.write_message("menu").await;
    browser.read("What shall I show you?").await;
    choose(browser, "End the chat").await;
    // the conversation is over, and the session has another one
    browser.click(".closed button").await;
    browser.read("What shall I show you?").await;
    visit.check_quiet();
}

/// Clicks on a quick reply.
async fn choose(browser: &mut crate::chromium::Browser, label: &str) {
    let chip = format!(
        "[...{ROOT}.querySelectorAll('.replies:not(.answered) .chip')].find(({{ textContent }}) => textContent === {label:?})"
    );
    browser.until(&format!("{chip} !== undefined")).await;
    browser.evaluate(&format!("{chip}.click()")).await;
}

/// Waits until pictures are shown. One that is refused is removed.
async fn loaded(browser: &mut crate::chromium::Browser, selector: &str) {
    let pictures = format!("[...{ROOT}.querySelectorAll({selector:?})]");
    browser
        .until(&format!(
            "{pictures}.length > 0 && {pictures}.every(({{ complete, naturalWidth }}) => complete && naturalWidth > 0)"
        ))
        .await;
}

#[tokio::test]
async fn demo_page_shows_the_history_after_a_reload() {
    let Some(mut visit) = Visit::start("demo page with its history after a reload").await else {
        return;
    };
    visit.begin().await;
    visit.browser.write_message("one").await;
    visit.browser.read("I only know these.").await;
    let before = visit.browser.evaluate(&texts()).await;
    visit.reload().await;
    visit.browser.read("I only know these.").await;
    assert_eq!(visit.browser.evaluate(&texts()).await, before);
    visit.browser.write_message("two").await;
    visit
        .browser
        .until(&format!("{}.includes('You wrote: two')", texts()))
        .await;
    assert_eq!(visit.browser.evaluate(&own("one")).await, 1);
    assert_eq!(visit.browser.evaluate(&own("two")).await, 1);
    visit.check_quiet();
}

#[tokio::test]
async fn demo_page_shows_a_message_once_in_each_of_two_tabs() {
    let Some(mut visit) = Visit::start("demo page in two tabs").await else {
        return;
    };
    visit.begin().await;
    let url = visit.url.clone();
    let browser = &mut visit.browser;
    let mut other = browser.open_tab().await;
    browser.show_as(1280, 900, "light").await;
    browser.open(&url).await;
    browser.read("What shall I show you?").await;
    let both = ["from the second", "from the first"];
    for text in both {
        browser.write_message(text).await;
        assert_eq!(browser.evaluate(&own(text)).await, 1);
        browser
            .until(&format!("{}.includes('You wrote: {text}')", texts()))
            .await;
        other = browser.switch_to(other);
        browser
            .until(&format!("{}.includes('You wrote: {text}')", texts()))
            .await;
        browser.until(&format!("{} === 1", own(text))).await;
    }
    for _tab in 0..2 {
        for text in both {
            let answers = format!(
                "{}.filter((shown) => shown === 'You wrote: {text}').length",
                texts()
            );
            assert_eq!(browser.evaluate(&answers).await, 1, "{text}");
            assert_eq!(browser.evaluate(&own(text)).await, 1, "{text}");
        }
        other = browser.switch_to(other);
    }
    visit.check_quiet();
}

#[tokio::test]
async fn demo_page_sends_a_message_that_was_written_offline() {
    let Some(mut visit) = Visit::start("demo page offline and online").await else {
        return;
    };
    visit.begin().await;
    visit.network(true).await;
    visit.kill_gateway().await;
    visit.browser.see(".banner").await;
    let banner = format!("{ROOT}.querySelector('.banner').textContent.includes('You are offline.')");
    visit.browser.until(&banner).await;
    visit.write_unsent("Are you there?").await;
    visit.check_appearance("offline").await;
    visit.start_gateway().await;
    visit.network(false).await;
    visit
        .browser
        .until(&format!("{}.includes('You wrote: Are you there?')", texts()))
        .await;
    assert_eq!(visit.browser.evaluate(&own("Are you there?")).await, 1);
}

#[tokio::test]
async fn demo_page_continues_after_a_crash_of_the_gateway_while_the_guest_types() {
    let Some(mut visit) = Visit::start("demo page with a crash of the gateway").await else {
        return;
    };
    visit.begin().await;
    let focus = format!("{ROOT}.querySelector('textarea.compose').focus()");
    visit.browser.evaluate(&focus).await;
    visit.browser.write("Still ").await;
    visit.kill_gateway().await;
    visit.browser.see(".banner button").await;
    visit.browser.write("here").await;
    visit.browser.press("Enter").await;
    visit.browser.see(".own:not(.sent)").await;
    visit.start_gateway().await;
    visit
        .browser
        .until(&format!("{}.includes('You wrote: Still here')", texts()))
        .await;
    visit.browser.see(".own.sent").await;
    // neither lost nor doubled
    assert_eq!(visit.browser.evaluate(&own("Still here")).await, 1);
    let welcomes = format!("{}.filter((text) => text.startsWith('Welcome')).length", texts());
    assert_eq!(visit.browser.evaluate(&welcomes).await, 1);
    let violations = visit.simulator.violations();
    assert!(violations.is_empty(), "{violations:?}");
}

#[tokio::test]
async fn demo_page_of_another_origin_is_refused() {
    let Some(mut visit) = Visit::start("demo page of another origin").await else {
        return;
    };
    // the same machine by another name
    let url = visit.url.replace("127.0.0.1", "localhost");
    visit.browser.open(&url).await;
    visit.browser.click(".consent button[type=submit]").await;
    visit.browser.see(".banner button").await;
    // the reason is in the console of the page's developer
    let console = format!("{:?}", visit.browser.console);
    assert!(console.contains("403"), "{console}");
    assert_eq!(visit.simulator.counters().guest_messages, 0);
}

#[tokio::test]
async fn demo_page_of_the_simulator_of_the_gateway_says_that_it_is_simulated() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.toml");
    std::fs::write(&config, configuration(&folder, "simulator = true")).unwrap();
    let mut serve = command(["serve", "--config"]);
    serve.arg(&config);
    let mut gateway = Process::start(serve);
    assert!(gateway.line().await.contains("guest-gateway serves"));
    assert!(gateway.line().await.contains("SIMULATED"));
    let line = gateway.line().await;
    let url = line.strip_prefix("Open the demo shop: ").unwrap();
    let page = fetch(url).await;
    assert!(page.contains("No message leaves this machine."), "{page}");
    let policy = page
        .lines()
        .find_map(|line| line.strip_prefix("content-security-policy: "));
    let policy = policy.expect("the page has a policy");
    assert!(
        !policy.contains("unsafe") && !policy.contains("https:"),
        "{policy}"
    );
    let ended = gateway.interrupt().await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

/// Head and body of a page.
pub(crate) async fn fetch(url: &str) -> String {
    let uri: http::Uri = url.parse().unwrap();
    let host = uri.authority().unwrap().as_str();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n",
        uri.path()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn screenshot_of_the_readme_can_be_made() {
    let Some(mut visit) = Visit::start("screenshot of the README").await else {
        return;
    };
    visit.begin().await;
    let browser = &mut visit.browser;
    choose(browser, "Show me several").await;
    loaded(browser, ".carousel img").await;
    browser.see(".own.sent").await;
    // `cargo xtask screenshot` copies it to docs/
    let picture = target().join("screenshots/demo-shop.png");
    browser.screenshot(&picture).await;
    let documented = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/demo-shop.png");
    for path in [picture, documented] {
        let png = std::fs::read(&path).unwrap();
        let (width, height) = DESKTOP;
        // the chunk IHDR begins with the size: PNG, section 11.2.1
        let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
        assert_eq!(png[16..24], size, "{}", path.display());
        assert!(
            (20_000..300_000).contains(&png.len()),
            "{}: {} bytes",
            path.display(),
            png.len()
        );
    }
    visit.check_quiet();
}
