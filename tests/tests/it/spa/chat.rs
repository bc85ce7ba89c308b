//! `<guest-chat gateway>` in a browser: a page without a backend, of the gateway's site and of another one.

mod consent;
mod delivery;
mod sign_in;
mod stream;

use std::convert::Infallible;

use bytes::Bytes;
use genesys_http::server::{Limits, Server};
use guest_store::SessionQuery;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::json;

use crate::chromium::{Browser, CHROMIUM, has_chromium};
use crate::component::{Look, ROOT};
use crate::world::{ORIGIN, World};
use left_out::leave_out;

/// The button that allows all purposes.
const ALLOW_ALL: &str = ".consent button[type=button].primary";

/// Whether the conversation of the component is open.
const IS_OPEN: &str = "document.querySelector('guest-chat').conversation.state === 'open'";

/// A page without a backend, open in a browser.
struct Visit {
    world: World,
    browser: Browser,
    origin: String,
}

impl Visit {
    /// A page on `host`, at a gateway on 127.0.0.1 that allows pages on `allowed`. `None` if the machine lacks Chromium.
    async fn start(test: &str, host: &str, allowed: &str, embedding: &str) -> Option<Self> {
        if !has_chromium().await {
            leave_out(test, CHROMIUM);
            return None;
        }
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), None, Limits::default())
            .await
            .unwrap();
        let port = server.local_addr().port();
        let world = World::configured(genesys_sim::Rules::default(), |toml| {
            toml.replace(ORIGIN, &format!("http://{allowed}:{port}"))
                .replace("\n[spa]\n", &format!("\n[spa]\nembedding = {embedding:?}\n"))
        })
        .await;
        let gateway = world.url("");
        let page = format!(
            "<!doctype html><html lang=en><head><meta charset=utf-8><title>A shop</title><meta name=viewport content='width=device-width'><link rel=icon href='data:,'></head>\n\
             <body><main><h1>A shop</h1><guest-chat gateway={gateway:?} region=EU></guest-chat></main>\n\
             <script type=module src='{gateway}/guest-chat.js'></script></body></html>"
        );
        let socket = gateway.replacen("http", "ws", 1);
        let policy = format!(
            "default-src 'none'; script-src {gateway}; img-src data:; connect-src {gateway} {socket}; \
             base-uri 'none'; require-trusted-types-for 'script'"
        );
        let service = service_fn(move |_: Request<Incoming>| {
            let response = Response::builder()
                .header(CONTENT_TYPE, "text/html; charset=utf-8")
                .header(CONTENT_SECURITY_POLICY, &policy)
                .body(Full::new(Bytes::from(page.clone())))
                .unwrap();
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(server.serve(service, std::future::pending()));
        let origin = format!("http://{host}:{port}");
        let mut browser = Browser::start().await;
        browser.show_as(480, 760, "light").await;
        browser.open(&origin).await;
        Some(Self {
            world,
            browser,
            origin,
        })
    }

    async fn reload(&mut self) {
        self.browser.evaluate("(window.before = true, 0)").await;
        self.browser.command("Page.reload", json!({})).await;
        self.browser
            .until("window.before === undefined && document.readyState === 'complete'")
            .await;
    }

    async fn sessions(&self) -> usize {
        let store = self.world.gateway.store();
        store.sessions(SessionQuery::All(None), 100).await.unwrap().len()
    }
}

/// From consent over a reload to the end of the session, in one of the modes.
async fn chat_without_a_backend(test: &str, host: &str, embedding: &str) {
    let Some(mut visit) = Visit::start(test, host, host, embedding).await else {
        return;
    };
    visit.browser.click(ALLOW_ALL).await;
    visit.browser.until(IS_OPEN).await;
    visit.browser.write_message("hello").await;
    visit.browser.read("You said: hello").await;
    // what a script of the page can read of the credentials
    let readable = "[document.cookie, ...Object.values({ ...localStorage, ...sessionStorage })].join(' ')";
    let stored = visit.browser.evaluate(readable).await;
    let is_cross_site = embedding == "cross-site";
    // an id, a dot and the secret of the resume handle
    assert_eq!(stored.as_str().unwrap().contains('.'), is_cross_site, "{stored}");

    let looks = [("light", 480), ("dark", 480), ("narrow", 320)];
    let looks = looks.map(|(name, width)| Look {
        name,
        width,
        height: 760,
    });
    let picture = format!("guest-chat-{embedding}");
    visit.browser.check_looks(&picture, &looks).await;

    visit.reload().await;
    visit.browser.read("You said: hello").await;
    visit.browser.until(IS_OPEN).await;
    visit.browser.write_message("again").await;
    visit.browser.read("You said: again").await;
    assert_eq!(visit.sessions().await, 1);
    let attach = "(async (chat) => {
        const id = await chat.attach(new File(['x'], 'a.png', { type: 'image/png' }));
        chat.send('', { attachments: [id] });
        return true;
    })(document.querySelector('guest-chat').conversation)";
    assert_eq!(visit.browser.evaluate(attach).await, true);
    let acknowledged = "document.querySelector('guest-chat').conversation.unacknowledged.length === 0";
    visit.browser.until(acknowledged).await;

    visit
        .browser
        .click("header button[aria-label='Privacy choices']")
        .await;
    let granted = format!("{ROOT}.querySelector('input[name=analytics]').checked");
    assert_eq!(
        visit.browser.evaluate(&granted).await,
        true,
        "as it was chosen before the reload"
    );
    visit.browser.click("input[name=analytics]").await;
    visit.browser.click(".consent button[type=submit]").await;
    visit.browser.see("textarea.compose").await;
    if is_cross_site {
        // the access token ends, and the handle brings another one
        visit.world.clock.advance(std::time::Duration::from_secs(900));
    }
    visit.browser.click("header button[aria-label='End chat']").await;
    visit.browser.click(".panel .primary").await;
    visit.browser.see(".closed button").await;
    visit
        .browser
        .until("Object.keys(localStorage).length === 0 && sessionStorage.length === 0")
        .await;
    // a new session, with the choices that the guest made last
    visit.browser.click(".closed button").await;
    visit.browser.until(IS_OPEN).await;
    assert_eq!(visit.sessions().await, 2);

    let console: Vec<&String> = visit.browser.console.iter().collect();
    let expected = |line: &&&String| is_cross_site && line.contains("401");
    assert!(console.iter().all(|line| expected(&line)), "{console:?}");
    for url in &visit.browser.requests {
        let local = [
            visit.origin.as_str(),
            "http://127.0.0.1:",
            "ws://127.0.0.1:",
            "data:",
        ];
        assert!(local.iter().any(|start| url.starts_with(start)), "{url}");
    }
    visit.world.stop().await;
}

#[tokio::test]
async fn chat_of_a_page_of_the_gateways_site_needs_no_backend() {
    chat_without_a_backend("guest-chat of the same site", "127.0.0.1", "same-site").await;
}

#[tokio::test]
async fn chat_of_a_page_of_another_site_needs_no_backend() {
    chat_without_a_backend("guest-chat of another site", "localhost", "cross-site").await;
}

#[tokio::test]
async fn chat_of_a_page_of_a_wrong_origin_is_not_started() {
    let test = "guest-chat of a wrong origin";
    for embedding in ["same-site", "cross-site"] {
        let visit = Visit::start(test, "localhost", "127.0.0.1", embedding).await;
        let Some(mut visit) = visit else { return };
        visit.browser.click(ALLOW_ALL).await;
        let failed = format!("{ROOT}.textContent.includes('The chat could not be started.')");
        visit.browser.until(&failed).await;
        assert_eq!(visit.sessions().await, 0);
        visit.world.stop().await;
    }
}
