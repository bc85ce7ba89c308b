//! The component with a client that the page made.

use serde_json::json;

use super::visit::Visit;
use crate::component::ROOT;

/// A client of the page whose socket never opens.
const PAGE_CLIENT: &str = "const { GuestConversation } = await import('/guest-chat.js');
    class Silent { readyState = 0; close() {} }
    const session = { id: 'x', websocketUrl: 'ws://x', accessToken: 'x' };
    const client = new GuestConversation(session, { WebSocket: Silent });
    const emit = (name, detail) => client.dispatchEvent(Object.assign(new Event(name), { detail }));";

#[tokio::test]
async fn guest_chat_closes_the_clients_that_it_made() {
    let Some(mut visit) = Visit::start("guest-chat that is started again").await else {
        return;
    };
    visit.click(".consent button[type=button]").await;
    visit.read("Welcome to the shop! What can I show you?").await;
    let restart = "(async () => {
        const chat = document.querySelector('guest-chat');
        const first = chat.conversation;
        const opened = new Promise((resolve) => chat.addEventListener('guest-chat-state', resolve));
        chat.texts = { send: 'Senden' };
        await opened;
        return [first === chat.conversation, first.state];
    })()";
    assert_eq!(visit.browser.evaluate(restart).await, json!([false, "ended"]));
    visit.see("button[aria-label=Senden]").await;
    visit.write_message("Once more").await;

    // an element that is removed before its source answers connects when it is inserted again
    let removed = format!(
        "(async () => {{
            {PAGE_CLIENT}
            const chat = document.createElement('guest-chat');
            document.body.append(chat);
            let answer;
            const started = chat.start(() => new Promise((resolve) => (answer = resolve)));
            chat.remove();
            answer(client);
            await started;
            const states = [client.state];
            document.body.append(chat);
            states.push(client.state);
            // the page made this client: it stays open
            chat.remove();
            await Promise.resolve();
            states.push(client.state);
            document.body.append(chat);
            await chat.start(() => null);
            return [...states, client.state];
        }})()"
    );
    assert_eq!(
        visit.browser.evaluate(&removed).await,
        json!(["idle", "connecting", "connecting", "connecting"])
    );
    visit.check_quiet();
}

#[tokio::test]
async fn guest_chat_sends_an_answer_from_before_a_reload_again_with_its_payload() {
    let Some(mut visit) = Visit::start("guest-chat that sends an answer again").await else {
        return;
    };
    visit.see(".consent form").await;
    let again = format!(
        "(async () => {{
            const buttonResponse = {{ type: 'QuickReply', text: 'Tea', payload: 'tea', originatingMessageId: 'm' }};
            const content = [{{ contentType: 'ButtonResponse', buttonResponse }}];
            sessionStorage.setItem('guest-sessions:x', JSON.stringify([{{ id: 'a', content }}]));
            {PAGE_CLIENT}
            await document.querySelector('guest-chat').start(client);
            emit('delivery', {{ id: 'a', state: 'failed' }});
            {ROOT}.querySelector('.own.failed .meta button').click();
            const sent = client.unacknowledged.at(-1);
            return [sent.id === 'a', sent.content?.[0].buttonResponse.payload, {ROOT}.querySelector('.own .text').textContent];
        }})()"
    );
    assert_eq!(visit.browser.evaluate(&again).await, json!([false, "tea", "Tea"]));
    visit.check_quiet();
}

#[tokio::test]
async fn guest_chat_shows_the_status_of_its_conversation() {
    let Some(mut visit) = Visit::start("guest-chat with each status").await else {
        return;
    };
    visit.see(".consent form").await;
    let statuses = format!(
        "(async () => {{
            {PAGE_CLIENT}
            await document.querySelector('guest-chat').start(client);
            const show = (status) => {{
                emit('conversation', {{ state: 'open', actions: ['send'], ...status }});
                const [banner, closed] = ['.banner', '.closed'].map((part) => {ROOT}.querySelector(part));
                return banner.textContent + (closed.hidden ? '' : closed.textContent);
            }};
            const ended = {{ state: 'read_only', actions: ['start_new'] }};
            const statuses = [
                {{ expiresAt: '2026-01-01T00:00:00Z' }}, {{}}, {{ outage: {{}} }}, {{}},
                ended, {{ ...ended, actions: [], outage: {{}} }}, ended, {{}},
            ];
            return statuses.map(show);
        }})()"
    );
    let read_only = "The conversation has ended. No more messages can be sent.";
    assert_eq!(
        visit.browser.evaluate(&statuses).await,
        json!([
            "The conversation expires soon. A message keeps it open.",
            "",
            "Connection lost. Messages are sent when it is back.",
            "",
            format!("{read_only}Start a new chat"),
            read_only,
            format!("{read_only}Start a new chat"),
            "",
        ])
    );
    visit.check_quiet();
}

#[tokio::test]
async fn guest_chat_reports_choices_that_were_not_stored() {
    let Some(mut visit) = Visit::start("guest-chat with choices that are not stored").await else {
        return;
    };
    visit.see(".consent form").await;
    let refused = format!(
        "(async () => {{
            {PAGE_CLIENT}
            const chat = document.querySelector('guest-chat');
            const reported = new Promise((resolve) => chat.addEventListener('guest-chat-error', resolve));
            await chat.start(client, {{ changeConsent: async () => {{ throw new Error('not stored'); }} }});
            {ROOT}.querySelector('header button').click();
            {ROOT}.querySelector('.consent form').requestSubmit();
            const {{ detail }} = await reported;
            return detail.error.message;
        }})()"
    );
    assert_eq!(visit.browser.evaluate(&refused).await, "not stored");
    visit
        .browser
        .until(&format!(
            "{ROOT}.querySelector('.consent .error').textContent === 'The choices could not be saved.'"
        ))
        .await;
    visit.check_quiet();
}

#[tokio::test]
async fn guest_chat_reports_each_state_once() {
    let Some(mut visit) = Visit::start("guest-chat with its states").await else {
        return;
    };
    visit.see(".consent form").await;
    let states = format!(
        "(async () => {{
            {PAGE_CLIENT}
            const chat = document.querySelector('guest-chat');
            const states = [];
            chat.addEventListener('guest-chat-state', ({{ detail }}) => states.push(detail.state));
            await chat.start(client);
            for (const name of ['offline', 'online']) dispatchEvent(new Event(name));
            client.close();
            return states;
        }})()"
    );
    assert_eq!(
        visit.browser.evaluate(&states).await,
        json!(["connecting", "ended"])
    );
    visit.check_quiet();
}

#[tokio::test]
async fn guest_chat_reads_a_long_gap_page_by_page() {
    let Some(mut visit) = Visit::start("guest-chat with a long gap").await else {
        return;
    };
    visit.see(".consent form").await;
    let start = format!(
        "(async () => {{
            {PAGE_CLIENT}
            const message = (id) => ({{ id, text: id, from: {{ kind: 'bot' }}, timestamp: `2026-01-01T00:00:0${{id}}Z` }});
            const answers = [{{ messages: [message('6')], nextPage: 5 }}, null, {{ messages: [message('5'), message('4')], nextPage: 6 }}];
            globalThis.asked = [];
            client.history = async (query) => {{
                asked.push(query);
                return answers.shift() ?? Promise.reject(new Error('limited'));
            }};
            await document.querySelector('guest-chat').start(client);
            emit('gap', {{ readFrom: '4' }});
        }})()"
    );
    visit.browser.evaluate(&start).await;
    for label in ["Show earlier messages", "Try again"] {
        visit
            .browser
            .until(&format!(
                "{ROOT}.querySelector('.separator button').textContent === '{label}'"
            ))
            .await;
        visit.click(".separator button").await;
    }
    // the message before the gap ends it
    visit
        .browser
        .until(&format!("{ROOT}.querySelector('.separator') === null"))
        .await;
    let texts = format!("[...{ROOT}.querySelectorAll('.message .text')].map((text) => text.textContent)");
    assert_eq!(visit.browser.evaluate(&texts).await, json!(["4", "5", "6"]));
    assert_eq!(
        visit.browser.evaluate("asked").await,
        json!([{ "from": "4" }, { "page": 5 }, { "page": 5 }])
    );
    visit.check_quiet();
}

#[tokio::test]
async fn guest_chat_shows_only_what_belongs_to_its_conversation() {
    let Some(mut visit) = Visit::start("guest-chat with late and cleared messages").await else {
        return;
    };
    visit.see(".consent form").await;
    let shown = format!(
        "(async () => {{
            const chat = document.querySelector('guest-chat');
            const texts = () => [...{ROOT}.querySelectorAll('.message .text')].map((text) => text.textContent);
            const message = (text) => ({{ id: text, text, from: {{ kind: 'bot' }}, timestamp: '2026-01-01T00:00:00Z' }});
            const first = await (async () => {{
                {PAGE_CLIENT}
                let answer;
                client.history = () => new Promise((resolve) => (answer = resolve));
                await chat.start(client);
                emit('accepted', {{ newSession: false }});
                return () => answer({{ messages: [message('of the first')] }});
            }})();
            {PAGE_CLIENT}
            await chat.start(client);
            emit('message', message('of the second'));
            first();
            await new Promise((resolve) => setTimeout(resolve));
            const shown = [texts()];
            emit('conversation', {{ state: 'cleared', actions: [] }});
            return [...shown, texts()];
        }})()"
    );
    assert_eq!(
        visit.browser.evaluate(&shown).await,
        json!([["of the second"], []])
    );
    visit.check_quiet();
}
