//! What is offered and shown beside text.

use guest_conversation::{AuthorKind, Choice};
use web_messaging::rest::history::HistoryPage;

use super::*;

fn choice(text: &str, payload: &str) -> Choice {
    Choice {
        text: text.to_owned().into(),
        payload: payload.to_owned().into(),
    }
}

/// What a line says, in a chat that has heard this.
fn chosen(event: Event, line: &str) -> Said {
    let mut guest = Fixture::connected(Writer::Person);
    guest.event(event);
    guest.lines();
    guest.line(line);
    match &guest.requests()[..] {
        [Request::Say(said)] => said.clone(),
        other => panic!("{line}: {other:?}"),
    }
}

fn shown(event: Event) -> Vec<String> {
    let mut guest = Fixture::connected(Writer::Person);
    guest.event(event);
    let look = Look::Terminal { colour: false };
    let lines: Vec<_> = std::iter::from_fn(|| guest.chat.poll_line())
        .flat_map(|line| {
            line.render(look)
                .lines()
                .map(|line| line.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    lines
}

#[test]
fn a_quick_reply_is_chosen_by_its_number_while_it_is_offered() {
    let mut guest = Fixture::connected(Writer::Person);
    guest.event(question());
    guest.line("2");
    let requests = guest.requests();
    assert!(
        matches!(&requests[..], [Request::Say(Said::QuickReply { question: Some(question), choice })]
            if &**question == "m1" && &*choice.payload == "b"),
        "{requests:?}"
    );
    guest.line("2");
    assert!(matches!(&guest.requests()[..], [Request::Say(said)] if *said == Said::text("2")));

    guest.event(question());
    guest.line(" 2");
    assert!(matches!(&guest.requests()[..], [Request::Say(said)] if *said == Said::text(" 2")));
    guest.event(question());
    guest.event(said("Never mind.", ""));
    guest.line("2");
    assert!(matches!(&guest.requests()[..], [Request::Say(Said::Text { .. })]));
}

const TABLE: &str = r#"{"contentType":"Card","card":{"title":"A table","description":"For two",
    "image":"https://cdn.example/t.png","actions":[{"type":"Postback","text":"Book","payload":"BOOK"},
    {"type":"Link","text":"Look","url":"https://shop.example/"},{"type":"Dance","text":"Dance"}]}}"#;

#[test]
fn a_card_shows_its_links_and_numbers_its_buttons() {
    assert_eq!(
        shown(said("", TABLE)),
        [
            "Botty (bot): [card] A table",
            "For two",
            "picture: https://cdn.example/t.png",
            "[1] Book",
            "Look: https://shop.example/",
            "Dance"
        ]
    );
    assert_eq!(chosen(said("", TABLE), "1"), Said::Button(choice("Book", "BOOK")));
    assert_eq!(chosen(said("", TABLE), "2"), Said::text("2"));
}

#[test]
fn the_buttons_of_a_carousel_are_counted_through() {
    let carousel = r#"{"contentType":"Carousel","carousel":{"cards":[
        {"title":"One","actions":[{"type":"Postback","text":"Take","payload":"ONE"}]},
        {"title":"Two","actions":[],"defaultAction":{"type":"Postback","text":"","payload":"TWO"}}]}}"#;
    assert_eq!(
        shown(said("Which?", carousel)),
        [
            "Botty (bot): Which?",
            "[card 1 of 2] One",
            "[1] Take",
            "[card 2 of 2] Two",
            "[2] Two"
        ]
    );
    assert_eq!(
        chosen(said("", carousel), "2"),
        Said::Button(choice("Two", "TWO"))
    );
}

#[test]
fn a_time_is_chosen_as_it_is_shown_and_answered_as_it_came() {
    let picker = r#"{"contentType":"DatePicker","datePicker":{"title":"When?","availableTimes":[
        {"dateTime":"2026-06-26T17:30:00.000Z","duration":1800},{"dateTime":"soon","duration":0}]}}"#;
    assert_eq!(
        shown(said("", picker)),
        [
            "Botty (bot): When?",
            "[1] Friday 26 June 2026, 17:30 UTC, for 30m",
            "[2] soon"
        ]
    );
    assert_eq!(
        chosen(said("", picker), "1"),
        Said::Date {
            question: "m1".into(),
            choice: choice("Friday 26 June 2026, 17:30 UTC", "2026-06-26T17:30:00.000Z"),
        }
    );
    let open = r#"{"contentType":"DatePicker","datePicker":{"dateMinimum":"2026-06-26T00:00:00Z","availableTimes":[]}}"#;
    assert_eq!(
        shown(said("", open)),
        ["Botty (bot): [a time from Friday 26 June 2026, 00:00 UTC: say it in words]"]
    );
}

#[test]
fn several_items_of_a_list_are_chosen_at_once() {
    let picker = r#"{"contentType":"ListPicker","listPicker":{"receivedMessage":{"title":"What?"},"sections":[
        {"title":"Drinks","multipleSelection":true,"items":[{"id":"tea","title":"Tea","subtitle":"hot"},
        {"id":"ale","title":"Ale"}]},
        {"title":"Size","multipleSelection":false,"items":[{"id":"s","title":"Small"},{"id":"l","title":"Large"}]}]}}"#;
    assert_eq!(
        shown(said("", picker)),
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
        chosen(said("", picker), "1, 3"),
        Said::Items {
            question: "m1".into(),
            choices: vec![choice("Tea", "tea"), choice("Small", "s")],
        }
    );
    let mut guest = Fixture::connected(Writer::Person);
    guest.event(said("", picker));
    guest.lines();
    assert_eq!(
        guest.line("3,4"),
        ["! only one of these can be chosen from its list; a space before it says it as a text"]
    );
    assert!(guest.requests().is_empty());
    guest.line("4");
    assert_eq!(guest.requests().len(), 1, "it is still on offer");
}

#[test]
fn what_cannot_be_shown_is_said_so() {
    let content = r#"{"contentType":"Form","form":{"cannedResponseId":"c","introduction":{"title":"Address"},
        "formPages":[{"x":1}],"showSummary":true}},
        {"contentType":"Text","text":{"body":"Or call us."}},
        {"contentType":"Story","story":{"url":"https://canary.example"}}"#;
    assert_eq!(
        shown(said("", content)),
        [
            "Botty (bot): [a form that cannot be filled in here: answer in words]",
            "Address",
            "Or call us.",
            "[content that cannot be shown here: Story]"
        ]
    );
}

#[test]
fn the_link_of_a_file_is_shown_only_when_asked_for() {
    let file = r#"{"contentType":"Attachment","attachment":{"id":"a1","url":"https://files.example/canary?sig=1",
        "filename":"cat\u001b.png","mediaType":"Image","mime":"image/png","fileSize":43008}}"#;
    let mut guest = Fixture::connected(Writer::Person);
    guest.event(said("", file));
    assert_eq!(
        guest.lines(),
        [r"Botty (bot): [picture] cat\u{1b}.png, image/png, 42.0 KiB (/open 1 shows its link)"]
    );
    assert_eq!(
        guest.line("/open 1"),
        [
            "* whoever has this link can read the file, until it expires in about ten minutes:",
            "* https://files.example/canary?sig=1"
        ]
    );
    assert_eq!(
        guest.line("/open 2"),
        ["! there is no link 2, or it is too long ago"]
    );
    assert!(guest.requests().is_empty());
}

#[test]
fn the_history_is_shown_oldest_first_with_its_times_and_offers_nothing() {
    let mut guest = Fixture::connected(Writer::Person);
    let Event::Message(bot) = question() else {
        unreachable!("it is a message");
    };
    let mut own = (*bot).clone();
    own.from.kind = AuthorKind::Guest;
    own.direction = Direction::Inbound;
    own.content.clear();
    let page = |messages, page, count| Event::History(Box::new(HistoryPage::new(messages, page, count)));
    guest.event(page(vec![*bot.clone(), own], 1, 2));
    assert_eq!(
        guest.lines(),
        [
            "* what was said (/history 2 has what came before):",
            "2026-01-01 00:00 UTC you: Red or blue?",
            "2026-01-01 00:00 UTC Botty (bot): Red or blue? | - Red | - Blue"
        ]
    );
    guest.line("2");
    assert_eq!(guest.requests(), [Request::Say(Said::text("2"))]);
    guest.event(page(vec![], 1, 1));
    assert_eq!(guest.lines(), ["* nothing is known to have been said"]);
}

#[test]
fn what_was_said_elsewhere_is_shown_as_ones_own() {
    let mut guest = Fixture::connected(Writer::Person);
    guest.event(event_of(
        "StructuredMessage",
        r#"{"type":"Structured","text":"Red","direction":"Inbound","id":"m2","channel":{"messageId":"m2"},
           "content":[{"contentType":"ButtonResponse","buttonResponse":{"type":"QuickReply","text":"Red","payload":"r"}}]}"#,
    ));
    assert_eq!(guest.lines(), ["elsewhere you: Red"]);
}
