//! Structured content: choices by number, and files.

use super::*;
use crate::cli::root;

/// The path of an agent that ships with the simulator.
pub(super) fn agent(name: &str) -> String {
    let path = root().join("crates/genesys-sim/agents").join(name);
    path.display().to_string()
}

#[tokio::test]
async fn chat_chooses_a_quick_reply_by_number() {
    let arguments = ["--sim", "--wait", "0s", "--agent", &agent("shop-survey.yaml")];
    let ended = script(&arguments, "/wait\n2\n/wait\n").await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    in_order(
        &ended.out,
        &[
            "Shop Bot (bot): How was your order? | [1] Good | [2] Bad",
            "> 2",
            "✓ Bad",
            "Shop Bot (bot): I am sorry. Ann takes over.",
        ],
    );
}

#[tokio::test]
async fn chat_answers_cards_times_and_lists_by_number() {
    let lines = "card\n/wait\n1\n/wait\ndate\n/wait\n1\nlist\n/wait\n1\n";
    let arguments = ["--sim", "--wait", "0s", "--agent", &agent("card.yaml")];
    let ended = script(&arguments, lines).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    in_order(
        &ended.out,
        &[
            "Ann (bot): [card] A table by the window | For two | [1] Book | Look: https://example.com/",
            "✓ Book",
            "Ann (bot): Booked.",
            "Ann (bot): When? | [1] Friday 26 June 2026, 17:30 UTC, for 30 min",
            "✓ Friday 26 June 2026, 17:30 UTC",
            "Ann (bot): What? | Drinks: | [1] Tea",
            "✓ Tea",
        ],
    );
}

#[tokio::test]
async fn chat_sends_files_and_hides_links_until_requested() {
    let folder = tempfile::tempdir().unwrap();
    let [cat, none] = ["cat.png", "none.png"].map(|name| folder.path().join(name).display().to_string());
    std::fs::write(&cat, [7; 2_048]).unwrap();
    let lines = format!("hi\n/attach {cat}\n/wait\n/attach {none}\n/history\n/open 1\n");
    let ended = script(&["--sim", "--wait", "0s", "--attach", &cat], &lines).await;
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert_eq!(ended.error_line(), "guest-gateway: a message was not delivered");
    in_order(
        &ended.out,
        &[
            "* connected: a new conversation",
            "* uploading cat.png, 2.0 KiB",
            "* uploaded cat.png",
            "> hi",
            "* uploading cat.png, 2.0 KiB",
            "* uploaded cat.png",
            "* history:",
            "> /open 1",
            "* anybody with this link can read the file until it expires in about ten minutes:",
        ],
    );
    assert_eq!(ended.out.matches("✓ cat.png").count(), 2, "{}", ended.out);
    let missing = format!("! /attach failed: cannot read {none}: ");
    assert!(ended.out.contains(&missing), "{}", ended.out);
    let file = "you: [picture] cat.png, image/png, 2.0 KiB (/open 1 shows its link)";
    assert!(ended.out.contains(file), "{}", ended.out);
    assert_eq!(ended.out.matches("signature=").count(), 1, "{}", ended.out);
}

#[tokio::test]
async fn chat_reports_a_failed_upload_and_continues() {
    let folder = tempfile::tempdir().unwrap();
    let cat = folder.path().join("cat.png").display().to_string();
    std::fs::write(&cat, "meow").unwrap();
    let arguments = [
        "--sim",
        "--wait",
        "0s",
        "--fault",
        "upload-failure",
        "--attach",
        &cat,
    ];
    let ended = script(&arguments, "hi\n").await;
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    in_order(&ended.out, &["* uploading cat.png, 4 bytes", "> hi", "✓ hi"]);
    assert!(ended.out.contains("✗ cat.png (not delivered: "), "{}", ended.out);
}
