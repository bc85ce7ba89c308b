//! `policy`: output for authors and reviewers of policies.

use super::root;
use crate::process::run;

#[tokio::test]
async fn policy_explain_shows_the_decision_and_exits_with_1_on_refusal() {
    let arguments = "policy explain --policy purpose-scoped --jurisdiction US-CA --gpc --deny marketing";
    let ended = run(arguments.split(' ')).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(
        ended.out.contains("marketing is off: the guest refused it."),
        "{}",
        ended.out
    );
    assert!(
        ended.out.contains("sent an opt-out signal (GPC)"),
        "{}",
        ended.out
    );
    let ended = run(["policy", "explain", "--jurisdiction", "fr"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(
        ended.out.contains("tutorial-strict/EU/marketing"),
        "{}",
        ended.out
    );
}

#[tokio::test]
async fn shipped_policies_have_no_fatal_lint_and_pass_their_examples() {
    for id in ["tutorial-strict", "purpose-scoped"] {
        let file = root()
            .join(format!("crates/guest-payload/policies/{id}.toml"))
            .display()
            .to_string();
        for command in ["test", "lint", "show"] {
            let ended = run(["policy", command, &file]).await;
            assert_eq!(ended.code, Some(0), "{command} {id}: {} {}", ended.out, ended.err);
        }
        let ended = run(["policy", "diff", id, &file]).await;
        assert_eq!(ended.out, "No guest is treated differently.\n");
    }
}
