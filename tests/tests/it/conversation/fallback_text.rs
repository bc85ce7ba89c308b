//! Fallback texts of structured content.

use genesys_sim::Script;

use super::*;

#[tokio::test]
async fn structured_message_without_text_has_a_fallback_text() {
    let script = r#"
name: offers
rules:
  - {on: {text: card}, do: [{card: {title: A table, actions: [{text: Book, payload: BOOK}]}}]}
  - {on: {text: carousel}, do: [{carousel: [
      {title: One, actions: [{text: Take, payload: ONE}]}, {title: Two, actions: [{text: Take, payload: TWO}]}]}]}
  - {on: {text: date}, do: [{date_picker: {title: "When?", times: [{at: "2026-06-26T17:30:00.000Z", duration: 30m}]}}]}
  - {on: {text: list}, do: [{list_picker: {title: "What?", sections: [
      {title: Drinks, multiple: true, items: [{id: tea, title: Tea}]}]}}]}
  - {on: {text: file}, do: [{attachment: {name: prices.pdf, type: application/pdf, body: free}}]}
"#;
    let rules = Rules {
        agent: Agent::Scripts(vec![Script::parse("offers", script).unwrap()]),
        ..Rules::default()
    };
    let world = World::with(rules, "").await;
    let mut page = Page::of(&session(&world).await).await;
    for (sent, read) in [
        ("card", "A table"),
        ("carousel", "One\nTwo"),
        ("date", "When?"),
        ("list", "What?"),
        ("file", "prices.pdf"),
    ] {
        page.message(sent).await;
        assert_eq!(page.until("message").await["text"], read, "{sent}");
    }
    drop(page);
    world.stop().await;
}
