//! Files of the guest in `<guest-chat>`: chosen, dropped and pasted, uploaded, refused, canceled, sent and opened again.

use std::time::Duration;

use http::Request;
use serde_json::{Value, json};

use super::visit::Visit;
use crate::component::ROOT;

/// A script that passes these files, each with its name and its size, to the component.
fn give(by: &str, files: &[(&str, usize)]) -> String {
    let event = match by {
        "picker" => {
            "const picker = root.querySelector('input[type=file]'); picker.files = data.files; \
                     picker.dispatchEvent(new Event('change'))"
        }
        "drop" => {
            "root.querySelector('.log').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, \
                   cancelable: true }))"
        }
        _ => {
            "root.querySelector('textarea.compose').dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, \
              bubbles: true, cancelable: true }))"
        }
    };
    let files: Vec<Value> = files.iter().map(|(name, size)| json!([name, size])).collect();
    format!(
        "(() => {{ const root = {ROOT}; const data = new DataTransfer(); \
         for (const [name, size] of {}) data.items.add(new File(['x'.repeat(size)], name)); {event}; return 0; }})()",
        Value::from(files)
    )
}

/// The rows of the files of the next message: name, state, and whether the upload can be tried again.
async fn rows(visit: &mut Visit) -> Value {
    let rows = format!(
        "[...{ROOT}.querySelectorAll('.upload')].map((row) => [row.querySelector('.file-name').textContent, \
         row.querySelector('small').textContent, !row.querySelector('.again').hidden])"
    );
    visit.browser.evaluate(&rows).await
}

async fn shows(visit: &mut Visit, state: &str) {
    let last =
        format!("[...{ROOT}.querySelectorAll('.upload small')].at(-1)?.textContent.includes({state:?})");
    visit.browser.until(&last).await;
}

async fn add_fault(visit: &Visit, fault: &str) {
    let world = visit.shop.world.lock().await;
    let world = world.as_ref().unwrap();
    let body = json!({ "fault": fault }).to_string();
    let request = Request::post(format!("{}/sim/faults", world.simulator.host()));
    world
        .http()
        .send(request.body(body.into()).unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn guest_chat_sends_files() {
    let Some(mut visit) = Visit::start("guest-chat with files of the guest").await else {
        return;
    };
    visit.click(".consent button[type=button]").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    visit.see(".composer button[aria-label='Attach files']").await;
    let script = give("picker", &[("cat.png", 300_000), ("list.txt", 3)]);
    visit.browser.evaluate(&script).await;
    visit
        .until_rows(&[
            ("cat.png", "300 kB · Ready to send"),
            ("list.txt", "3 bytes · Ready to send"),
        ])
        .await;
    visit.browser.evaluate(&give("drop", &[("old.ade", 3)])).await;
    shows(&mut visit, "This type of file cannot be sent.").await;
    visit.browser.evaluate(&give("paste", &[("empty.png", 0)])).await;
    shows(&mut visit, "The file is empty").await;
    visit.check_appearance("files").await;
    assert_eq!(
        rows(&mut visit).await[2][2],
        false,
        "a repetition changes nothing"
    );
    // a screen reader announces the outcome
    let announced = format!("{ROOT}.querySelector('.chat > [role=status].visually-hidden').textContent");
    let announced = visit.browser.evaluate(&announced).await;
    assert!(
        announced.as_str().unwrap().starts_with("empty.png: "),
        "{announced}"
    );
    visit.click("button[aria-label='Remove old.ade']").await;
    visit.click("button[aria-label='Remove empty.png']").await;
    visit.click("button[aria-label='Remove list.txt']").await;
    visit.write_message("look").await;
    visit.read("I received: look").await;
    assert_eq!(rows(&mut visit).await, json!([]));
    visit.check_appearance("file-sent").await;
    let opened = open_file(&mut visit, "button.plain").await;
    assert_eq!(download(&visit, &opened).await, (200, 300_000));

    // a file alone, and the history after a reload
    visit.browser.evaluate(&give("paste", &[("dog.png", 5)])).await;
    shows(&mut visit, "Ready to send").await;
    visit.click(".composer button[type=submit]").await;
    visit.until_own("dog.png").await;
    visit.browser.open(&format!("{}/?reloaded", visit.origin)).await;
    visit.until_own("dog.png").await;
    visit.see(".own .attachment a").await;
    visit.check_quiet();
}

#[tokio::test]
async fn guest_chat_shows_progress_cancels_and_retries() {
    let Some(mut visit) = Visit::start("guest-chat with uploads that fail").await else {
        return;
    };
    visit.click(".consent button[type=button]").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    // Genesys does not answer for a minute
    add_fault(&visit, "delay:60s@1").await;
    let files = [("a.png", 1_000), ("b.png", 1_000), ("c.png", 1_000)];
    visit.browser.evaluate(&give("picker", &files)).await;
    shows(&mut visit, "Waiting").await;
    visit
        .browser
        .until(&format!(
            "{ROOT}.querySelector('.upload small').textContent.includes('Being checked')"
        ))
        .await;
    let disabled = format!("{ROOT}.querySelector('.composer button[type=submit]').disabled");
    assert_eq!(visit.browser.evaluate(&disabled).await, true);
    visit.check_appearance("uploading").await;
    // the waiting one first: it would start before the gateway has the slot of another one back
    for name in ["c.png", "b.png", "a.png"] {
        visit.click(&format!("button[aria-label='Remove {name}']")).await;
    }
    assert_eq!(rows(&mut visit).await, json!([]));
    let focus = format!("{ROOT}.activeElement.getAttribute('aria-label')");
    assert_eq!(visit.browser.evaluate(&focus).await, "Message");
    visit.pass_time(Duration::from_secs(61)).await;
    // the storage fails, and takes the file at the next try
    add_fault(&visit, "rest:403:/upload").await;
    visit.browser.evaluate(&give("picker", &[("d.png", 7)])).await;
    shows(&mut visit, "The file could not be uploaded.").await;
    visit.click(".upload .again").await;
    shows(&mut visit, "Ready to send").await;
    let uploads = {
        let world = visit.shop.world.lock().await;
        world.as_ref().unwrap().simulator.counters().uploads
    };
    assert_eq!(uploads, 1, "the canceled ones did not reach Genesys");
    // Genesys refuses the file
    add_fault(&visit, "upload-failure").await;
    visit.browser.evaluate(&give("picker", &[("e.png", 7)])).await;
    shows(&mut visit, "The file was refused.").await;
    // chromium reports both failures
    for status in ["502", "422"] {
        let line = visit.browser.console.pop_front().unwrap();
        assert!(line.contains(status), "{line}");
    }
    visit.check_quiet();
}

/// Clicks on the link of a file, and returns the address that opens.
async fn open_file(visit: &mut Visit, selector: &str) -> String {
    let record = "HTMLAnchorElement.prototype.click = function () { window.opened = this.href; }; 0";
    visit.browser.evaluate(record).await;
    visit.click(&format!(".own {selector}")).await;
    visit.browser.until("window.opened !== undefined").await;
    let opened = visit.browser.evaluate("window.opened").await;
    opened.as_str().unwrap().to_owned()
}

/// The status and the size of a download.
async fn download(visit: &Visit, url: &str) -> (u16, usize) {
    let world = visit.shop.world.lock().await;
    let request = Request::get(url).body(bytes::Bytes::new()).unwrap();
    let answer = world.as_ref().unwrap().http().send(request).await.unwrap();
    (answer.status().as_u16(), answer.body().len())
}

impl Visit {
    async fn until_rows(&mut self, expected: &[(&str, &str)]) {
        let expected: Vec<Value> = expected
            .iter()
            .map(|(name, state)| json!([name, state]))
            .collect();
        let rows = format!(
            "JSON.stringify([...{ROOT}.querySelectorAll('.upload')].map((row) => [row.querySelector('.file-name').textContent, \
             row.querySelector('small').textContent])) === {:?}",
            Value::from(expected).to_string()
        );
        self.browser.until(&rows).await;
    }

    /// Waits until the last message of the guest is delivered and has this file.
    async fn until_own(&mut self, name: &str) {
        let last = format!(
            "[...{ROOT}.querySelectorAll('.own.sent')].at(-1)?.querySelector('.file-name')?.textContent === {name:?}"
        );
        self.browser.until(&last).await;
    }

    async fn pass_time(&self, time: Duration) {
        let world = self.shop.world.lock().await;
        world.as_ref().unwrap().clock.advance(time);
    }
}
