//! Structured content: choices and their display.

use guest_conversation::{AuthorKind, ButtonKind, Choice, SessionEvent};
use web_messaging::rest::history::HistoryPage;

use super::*;

fn choice(text: &str, payload: &str) -> Choice {
    Choice {
        text: text.to_owned().into(),
        payload: payload.to_owned().into(),
    }
}

/// The answer to the message `m1`.
fn answer(kind: ButtonKind, choices: Vec<Choice>) -> OutgoingMessage {
    OutgoingMessage::Choices {
        kind,
        question: Some("m1".into()),
        choices,
    }
}

/// The message that a line sends after an event.
fn chosen(event: Event, line: &str) -> OutgoingMessage {
    let mut guest = Fixture::connected(InputMode::Interactive);
    guest.event(event);
    guest.lines();
    guest.line(line);
    match &guest.requests()[..] {
        [Request::Send(message)] => message.clone(),
        other => panic!("{line}: {other:?}"),
    }
}

fn shown(event: Event) -> Vec<String> {
    let mut guest = Fixture::connected(InputMode::Interactive);
    guest.event(event);
    let style = Style::Terminal {
        color: false,
        columns: None,
    };
    let lines: Vec<_> = std::iter::from_fn(|| guest.chat.poll_line())
        .flat_map(|line| {
            line.render(style)
                .lines()
                .map(|line| line.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    lines
}

#[test]
fn quick_reply_is_selected_by_number_while_pending() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    guest.event(question());
    guest.line("2");
    let requests = guest.requests();
    assert!(
        matches!(&requests[..], [Request::Send(OutgoingMessage::Choices { kind: ButtonKind::QuickReply, question: Some(question), choices })]
            if &**question == "m1" && &*choices[0].payload == "b"),
        "{requests:?}"
    );
    guest.line("2");
    assert!(
        matches!(&guest.requests()[..], [Request::Send(message)] if *message == OutgoingMessage::new("2"))
    );

    guest.event(question());
    guest.line(" 2");
    assert!(
        matches!(&guest.requests()[..], [Request::Send(message)] if *message == OutgoingMessage::new(" 2"))
    );
    guest.event(question());
    guest.event(message("Never mind.", ""));
    guest.line("2");
    assert!(matches!(
        &guest.requests()[..],
        [Request::Send(OutgoingMessage::Text { .. })]
    ));
}

const TABLE: &str = r#"{"contentType":"Card","card":{"title":"A table","description":"For two",
    "image":"https://cdn.example/t.png","actions":[{"type":"Postback","text":"Book","payload":"BOOK"},
    {"type":"Link","text":"Style","url":"https://shop.example/"},{"type":"Dance","text":"Dance"}]}}"#;

#[test]
fn card_shows_links_and_numbered_buttons() {
    assert_eq!(
        shown(message("", TABLE)),
        [
            "Botty (bot): [card] A table",
            "For two",
            "picture: https://cdn.example/t.png",
            "[1] Book",
            "Style: https://shop.example/",
            "Dance"
        ]
    );
    assert_eq!(shown(message("A table", TABLE))[0], "Botty (bot): [card] A table");
    assert_eq!(shown(message("See", TABLE))[0], "Botty (bot): See");
    let described = TABLE.replace("For two", "A table");
    assert_eq!(
        shown(message("", &described))[1],
        "picture: https://cdn.example/t.png"
    );
    assert_eq!(
        chosen(message("", TABLE), "1"),
        answer(ButtonKind::Button, vec![choice("Book", "BOOK")])
    );
    assert_eq!(chosen(message("", TABLE), "2"), OutgoingMessage::new("2"));
}

#[test]
fn carousel_buttons_are_numbered_across_cards() {
    let carousel = r#"{"contentType":"Carousel","carousel":{"cards":[
        {"title":"One","actions":[{"type":"Postback","text":"Take","payload":"ONE"}]},
        {"title":"Two","actions":[],"defaultAction":{"type":"Postback","text":"","payload":"TWO"}}]}}"#;
    assert_eq!(
        shown(message("Which?", carousel)),
        [
            "Botty (bot): Which?",
            "[card 1 of 2] One",
            "[1] Take",
            "[card 2 of 2] Two",
            "[2] Two"
        ]
    );
    assert_eq!(
        chosen(message("", carousel), "2"),
        answer(ButtonKind::Button, vec![choice("Two", "TWO")])
    );
}

#[test]
fn date_choice_shows_local_form_and_sends_original_value() {
    let picker = r#"{"contentType":"DatePicker","datePicker":{"title":"When?","availableTimes":[
        {"dateTime":"2026-06-26T17:30:00.000Z","duration":1800},{"dateTime":"soon","duration":0}]}}"#;
    assert_eq!(
        shown(message("", picker)),
        [
            "Botty (bot): When?",
            "[1] Friday 26 June 2026, 17:30 UTC, for 30 min",
            "[2] soon"
        ]
    );
    assert_eq!(
        chosen(message("", picker), "1"),
        answer(
            ButtonKind::DatePicker,
            vec![choice(
                "Friday 26 June 2026, 17:30 UTC",
                "2026-06-26T17:30:00.000Z"
            )]
        )
    );
    let open = r#"{"contentType":"DatePicker","datePicker":{"dateMinimum":"2026-06-26T00:00:00Z","availableTimes":[]}}"#;
    assert_eq!(
        shown(message("", open)),
        ["Botty (bot): [a time from Friday 26 June 2026, 00:00 UTC: write it as text]"]
    );
}

#[test]
fn list_picker_accepts_several_items() {
    let picker = r#"{"contentType":"ListPicker","listPicker":{"receivedMessage":{"title":"What?"},"sections":[
        {"title":"Drinks","multipleSelection":true,"items":[{"id":"tea","title":"Tea","subtitle":"hot"},
        {"id":"ale","title":"Ale"}]},
        {"title":"Size","multipleSelection":false,"items":[{"id":"s","title":"Small"},{"id":"l","title":"Large"}]}]}}"#;
    assert_eq!(
        shown(message("", picker)),
        [
            "Botty (bot): What?",
            "Drinks (several at once, as 1,2):",
            "[1] Tea: hot",
            "[2] Ale",
            "Size:",
            "[3] Small",
            "[4] Large"
        ]
    );
    assert_eq!(
        chosen(message("", picker), "1, 3"),
        answer(
            ButtonKind::ListPicker,
            vec![choice("Tea", "tea"), choice("Small", "s")]
        )
    );
    let mut guest = Fixture::connected(InputMode::Interactive);
    guest.event(message("", picker));
    guest.lines();
    assert_eq!(
        guest.line("3,4"),
        ["! invalid choice: the list allows one choice; start with a space to send it as text"]
    );
    assert!(guest.requests().is_empty());
    guest.line("4");
    assert_eq!(guest.requests().len(), 1, "the choice is still pending");
}

#[test]
fn unsupported_content_is_named() {
    let content = r#"{"contentType":"Form","form":{"cannedResponseId":"c","introduction":{"title":"Address"},
        "formPages":[{"x":1}],"showSummary":true}},
        {"contentType":"Text","text":{"body":"Or call us."}},
        {"contentType":"Story","story":{"url":"https://canary.example"}}"#;
    assert_eq!(
        shown(message("", content)),
        [
            "Botty (bot): [a form that cannot be filled in here: answer with text]",
            "Address",
            "Or call us.",
            "[content that cannot be shown here: Story]"
        ]
    );
}

#[test]
fn file_link_is_shown_on_request_only() {
    let file = r#"{"contentType":"Attachment","attachment":{"id":"a1","url":"https://files.example/canary?sig=1",
        "filename":"cat\u001b.png","mediaType":"Image","mime":"image/png","fileSize":43008}}"#;
    let mut guest = Fixture::connected(InputMode::Interactive);
    guest.event(message("", file));
    assert_eq!(
        guest.lines(),
        [r"Botty (bot): [picture] cat\u{1b}.png, image/png, 42.0 KiB (/open 1 shows its link)"]
    );
    assert_eq!(
        guest.line("/open 1"),
        [
            "* anybody with this link can read the file until it expires in about ten minutes:",
            "* https://files.example/canary?sig=1"
        ]
    );
    assert_eq!(guest.line("/open 2"), ["! invalid link 2: unknown, or dropped"]);
    assert!(guest.requests().is_empty());
}

#[test]
fn history_is_shown_oldest_first_without_choices() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    let Event::Message(bot) = question() else {
        unreachable!("it is a message");
    };
    let mut own = (*bot).clone();
    own.from.kind = AuthorKind::Guest;
    own.direction = Direction::Inbound;
    own.content.clear();
    let page = |messages: Vec<_>, page, page_count| {
        Event::Session(SessionEvent::History(Box::new(HistoryPage {
            entries: messages.len(),
            messages,
            page,
            page_count,
        })))
    };
    guest.event(page(vec![*bot.clone(), own], 1, 2));
    assert_eq!(
        guest.lines(),
        [
            "* history (older messages: /history 2):",
            "2026-01-01 00:00 UTC you: Red or blue?",
            "2026-01-01 00:00 UTC Botty (bot): Red or blue? | - Red | - Blue"
        ]
    );
    guest.line("2");
    assert_eq!(guest.requests(), [Request::Send(OutgoingMessage::new("2"))]);
    guest.event(page(vec![], 1, 1));
    assert_eq!(guest.lines(), ["* the history is empty"]);
}

#[test]
fn own_message_of_another_client_is_shown() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    guest.event(event_of(
        "StructuredMessage",
        r#"{"type":"Structured","text":"Red","direction":"Inbound","id":"m2","channel":{"messageId":"m2"},
           "content":[{"contentType":"ButtonResponse","buttonResponse":{"type":"QuickReply","text":"Red","payload":"r"}}]}"#,
    ));
    assert_eq!(guest.lines(), ["elsewhere you: Red"]);
}

#[test]
fn debug_output_shows_no_message() {
    let mut guest = Fixture::connected(SCRIPT);
    guest.chat.handle_line("sesame", guest.now);
    let (line, request) = (guest.chat.poll_line(), guest.chat.poll_request());
    let shown = format!("{:?} {line:?} {request:?}", guest.chat);
    assert!(!shown.contains("sesame"), "{shown}");
}
