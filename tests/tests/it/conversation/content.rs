//! Structured content: as data for the page, with a fallback text, and answered by it.

use genesys_api::entropy;
use genesys_sim::Script;
use guest_suite::conversation::{ButtonKind, Content, OutgoingMessage};

use super::*;
use crate::guests::{newcomer, next};

const SCRIPT: &str = r#"
name: offers
rules:
  - {on: {text: reply}, do: [{quick_replies: {text: "Which?", replies: [Red, {text: Blue, payload: BLUE}]}}]}
  - {on: {text: card}, do: [{card: {title: A table, text: null, actions: [{text: Book, payload: BOOK}]}}]}
  - {on: {text: carousel}, do: [{carousel: [
      {title: One, text: null, actions: [{text: Take, payload: ONE}]},
      {title: Two, text: null, actions: [{text: Take, payload: TWO}]}]}]}
  - {on: {text: date}, do: [{date_picker: {title: "When?", times: [{at: "2026-06-26T17:30:00.000Z", duration: 30m}]}}]}
  - {on: {text: list}, do: [{list_picker: {title: "What?", sections: [
      {title: Drinks, multiple: true, items: [{id: tea, title: Tea}, {id: ale, title: Ale}]}]}}]}
  - {on: {text: form}, do: [{form: {id: canned-1, introduction: {title: Address}, pages: [{components: [{id: city}]}]}}]}
  - {on: {text: file}, do: [{attachment: {name: prices.pdf, type: application/pdf, body: free}}]}
  - {on: {button: BLUE}, do: [{say: "blue, {text}"}]}
  - {on: {button: BOOK}, do: [{say: "booked, {text}"}]}
  - {on: {button: TWO}, do: [{say: "two, {text}"}]}
  - {on: {button: "2026-06-26T17:30:00.000Z"}, do: [{say: "at half past five, {text}"}]}
  - {on: {button: ale}, do: [{say: "ale, {text}"}]}
  - {on: {button: Berlin}, do: [{say: "city, {text}"}]}
  - {on: otherwise, do: [{say: "no rule for {text}"}]}
"#;

async fn world() -> World {
    let rules = Rules {
        agent: Agent::Scripts(vec![Script::parse("offers", SCRIPT).unwrap()]),
        ..Rules::default()
    };
    World::with(rules, "").await
}

#[tokio::test]
async fn content_reaches_the_page_as_data_with_a_fallback_text() {
    let world = world().await;
    let mut page = Page::of(&session(&world).await).await;
    for (sent, text, kinds) in [
        ("reply", "Which?", &["QuickReply", "QuickReply"][..]),
        ("card", "A table", &["Card"]),
        ("carousel", "One\nTwo", &["Carousel"]),
        ("date", "When?", &["DatePicker"]),
        ("list", "What?", &["ListPicker"]),
        ("form", "Address", &["Form"]),
        ("file", "prices.pdf", &["Attachment"]),
    ] {
        page.message(sent).await;
        let message = page.until("message").await;
        assert_eq!(message["text"], text, "{sent}: {message}");
        let content = message["content"].as_array().unwrap();
        let found: Vec<_> = content
            .iter()
            .map(|item| item["contentType"].as_str().unwrap())
            .collect();
        assert_eq!(found, kinds, "{message}");
    }
    drop(page);
    world.stop().await;
}

/// A choice of the guest.
fn choice(kind: &str, text: &str, payload: &str) -> Value {
    let answer = json!({ "type": kind, "text": text, "payload": payload });
    json!({ "contentType": "ButtonResponse", "buttonResponse": answer })
}

/// Sends an answer, and returns its id.
async fn answer(page: &mut Page, content: &Value) -> String {
    let id = entropy::uuid().to_string();
    page.send_frame(&json!({ "type": "message", "id": id, "content": content }))
        .await;
    id
}

#[tokio::test]
async fn answer_matches_the_bots_button_rule_and_is_delivered_once() {
    let world = world().await;
    let session = session(&world).await;
    let mut page = Page::of(&session).await;
    let filled = |question: &str| {
        let component = choice("Form", "Berlin", "Berlin");
        let form = json!({
            "originatingMessageId": question, "cannedResponseId": "canned-1",
            "response": [{ "id": "city", "component": component }],
        });
        json!([{ "contentType": "Form", "form": form }])
    };
    for (question, content, replied) in [
        (
            "reply",
            json!([choice("QuickReply", "Blue", "BLUE")]),
            "blue, Blue",
        ),
        ("card", json!([choice("Button", "Book", "BOOK")]), "booked, Book"),
        ("carousel", json!([choice("Button", "Take", "TWO")]), "two, Take"),
        (
            "date",
            json!([choice("DatePicker", "Friday", "2026-06-26T17:30:00.000Z")]),
            "at half past five, Friday",
        ),
        (
            "list",
            json!([
                choice("ListPicker", "Tea", "tea"),
                choice("ListPicker", "Ale", "ale")
            ]),
            "ale, Tea, Ale",
        ),
        ("form", Value::Null, "city, Berlin"),
    ] {
        page.message(question).await;
        page.delivery("sent").await;
        let offer = page.until("message").await["id"].as_str().unwrap().to_owned();
        let mut content = content;
        if content.is_null() {
            content = filled(&offer);
        } else {
            for item in content.as_array_mut().unwrap() {
                item["buttonResponse"]["originatingMessageId"] = offer.as_str().into();
            }
        }
        let id = answer(&mut page, &content).await;
        let accepted = page.delivery("sent").await;
        assert_eq!(accepted["id"], id.as_str(), "{question}");
        assert_eq!(page.until("message").await["text"], replied, "{question}");
        // the same answer under its id is acknowledged, and not sent
        page.send_frame(&json!({ "type": "message", "id": id, "content": content }))
            .await;
        assert_eq!(page.delivery("sent").await, accepted, "{question}");
    }
    assert_eq!(world.simulator.counters().guest_messages, 12);
    assert!(world.simulator.violations().is_empty());
    drop(page);
    world.stop().await;
}

#[tokio::test]
async fn content_other_than_an_answer_is_refused() {
    let world = world().await;
    let session = session(&world).await;
    let red = choice("QuickReply", "Red", "RED");
    let filled = json!({ "contentType": "Form", "form": {
        "originatingMessageId": "q", "cannedResponseId": "c", "response": [{ "id": "f", "component": red }],
    } });
    let contents = [
        json!([]),
        json!({}),
        json!([{}]),
        json!([{ "contentType": "Card", "card": { "title": "x", "actions": [] } }]),
        json!([{ "contentType": "Attachment", "attachment": { "id": "x" } }]),
        json!([choice("Shout", "x", "x")]),
        json!([choice("Form", "x", "x")]),
        json!([red, filled]),
        json!([filled]),
        json!([red, choice("Button", "Red", "RED")]),
    ];
    // the fifth would close the socket
    for contents in contents.chunks(4) {
        let mut page = Page::of(&session).await;
        for content in contents {
            let frame = json!({ "type": "message", "id": entropy::uuid().to_string(), "content": content });
            page.send_unchecked(&frame).await;
            assert_eq!(page.until("error").await["code"], "bad.frame", "{content}");
        }
    }
    // both, or neither
    let mut page = Page::of(&session).await;
    for more in [json!({}), json!({ "text": "hi", "content": [red] })] {
        let mut frame = json!({ "type": "message", "id": entropy::uuid().to_string() });
        frame
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        page.send_unchecked(&frame).await;
        assert_eq!(page.until("error").await["code"], "bad.frame", "{more}");
    }
    let large = json!([choice("QuickReply", "Red", &"x".repeat(16 * 1024))]);
    let id = answer(&mut page, &large).await;
    let failed = page.delivery("failed").await;
    assert_eq!(
        (&failed["id"], &failed["code"]),
        (&json!(id), &json!("message.too.long"))
    );
    assert_eq!(world.simulator.counters().guest_messages, 0);
    drop(page);
    world.stop().await;
}

#[tokio::test]
async fn client_receives_content_and_answers_it() {
    let world = world().await;
    let mut session = world.suite().create(newcomer(&world.clock)).await.unwrap();
    soon(session.connect(page_origin())).await.unwrap();
    session.send("list").unwrap();
    let message = soon(session.next_message()).await.unwrap();
    let [Content::ListPicker(picker)] = &message.content[..] else {
        panic!("{message:?}")
    };
    let answer = OutgoingMessage::Choices {
        kind: ButtonKind::ListPicker,
        question: Some(message.id.as_str().into()),
        choices: picker.sections[0].items.iter().map(Into::into).collect(),
    };
    let id = session.send_message(&answer).unwrap();
    loop {
        if let Event::Delivery {
            id: delivered,
            status,
        } = next(&mut session).await
        {
            assert!(delivered == id && matches!(status, DeliveryStatus::Delivered { .. }));
            break;
        }
    }
    assert_eq!(soon(session.next_message()).await.unwrap().text, "ale, Tea, Ale");
    world.stop().await;
}
