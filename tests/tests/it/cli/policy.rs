//! `policy`: output for authors and reviewers of policies.

use super::root;
use crate::process::run;

#[tokio::test]
async fn policy_explain_shows_the_decision_and_exits_with_1_on_refusal() {
    let arguments = "policy explain purpose-scoped --jurisdiction US-CA --gpc --deny marketing";
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
    let ended = run(["policy", "explain", "tutorial-strict", "--jurisdiction", "fr"]).await;
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
        let ended = run(["policy", "test", id]).await;
        assert_eq!(ended.code, Some(0), "by its id: {} {}", ended.out, ended.err);
        let ended = run(["policy", "show", &file]).await;
        assert!(ended.out.lines().next().unwrap().contains(&file), "{}", ended.out);
        let ended = run(["policy", "diff", id, &file]).await;
        assert_eq!(ended.out, "No guest is treated differently.\n");
    }
}

#[tokio::test]
async fn policy_commands_refuse_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zero.toml");
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    let name = path.display().to_string();
    for arguments in [
        vec!["show", &name],
        vec!["lint", &name],
        vec!["test", &name],
        vec!["diff", "tutorial-strict", &name],
    ] {
        let ended = run(["policy"].into_iter().chain(arguments)).await;
        assert_eq!(ended.code, Some(2), "{}", ended.out);
        assert!(
            ended
                .err
                .contains("zero.toml: cannot read the policy: it is not a regular file"),
            "{}",
            ended.err
        );
    }
}

#[tokio::test]
async fn policy_explain_names_sources_doubts_and_changes() {
    let arguments = "policy explain purpose-scoped --jurisdiction US-WA --attribute diagnosis";
    let ended = run(arguments.split(' ')).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for part in [
        "health data is off: it needs an agreement first",
        "source: My Health My Data Act, Wash. Rev. Code, § 19.373.030.",
        "It would be on if the guest agrees.",
        "- the attribute diagnosis, for personalization, with health data, may not be sent",
        "\nSources:\n",
        "§ 19.373.030, https://",
        "\nDoubts:\n",
    ] {
        assert!(ended.out.contains(part), "{part}: {}", ended.out);
    }
    let granted = format!("{arguments} --grant health");
    let ended = run(granted.split(' ')).await;
    assert!(
        ended
            .out
            .contains("- the attribute diagnosis, for personalization, with health data, may be sent"),
        "{}",
        ended.out
    );
    let arguments = "policy explain purpose-scoped --jurisdiction JP --age 14";
    let ended = run(arguments.split(' ')).await;
    assert!(
        ended.out.contains(
            "It would be on if the guest agrees and there is evidence that a parent or guardian agreed."
        ),
        "{}",
        ended.out
    );
    assert!(!ended.out.contains("GDPR"), "{}", ended.out);
    let ended = run("policy explain tutorial-strict --grant health --jurisdiction US".split(' ')).await;
    assert!(
        ended
            .out
            .contains("- health data is off: the policy has no rule about it."),
        "{}",
        ended.out
    );
}

#[tokio::test]
async fn every_policy_command_prints_json() {
    for arguments in [
        "list",
        "show purpose-scoped",
        "explain purpose-scoped --jurisdiction US-CA --gpc --attribute hasDiabetes",
        "lint purpose-scoped --attribute hasDiabetes",
        "test tutorial-strict",
        "diff tutorial-strict purpose-scoped",
    ] {
        let whole = format!("policy {arguments} --json");
        let ended = run(whole.split(' ')).await;
        assert_eq!(ended.code, Some(0), "{arguments}: {}", ended.err);
        let value: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        match arguments.split(' ').next().unwrap() {
            "list" => assert_eq!(value[1]["id"], "purpose-scoped"),
            "show" => {
                assert_eq!(value["attributes"]["diagnosis"], "health");
                assert!(value["rules"].as_array().unwrap().len() > 300);
                assert_eq!(value["rules"][0]["ages"]["consentFrom"], 16);
            }
            "explain" => {
                assert_eq!(
                    value["subjects"][0]["wouldBeOnIf"],
                    serde_json::json!(["no-signal"])
                );
                assert_eq!(value["subjects"][0]["sources"][0]["article"], "§ 7025");
                assert_eq!(value["attributes"][0]["category"], serde_json::Value::Null);
                assert_eq!(value["attributes"][0]["purpose"], "personalization");
                assert_eq!(value["withoutRule"], serde_json::json!([]));
                assert!(
                    value["attributes"][0]["warning"]
                        .as_str()
                        .unwrap()
                        .contains("health data")
                );
            }
            "lint" => {
                assert_eq!(value["attributes"][0]["category"], "health");
                let first = &value["objections"][0];
                assert_eq!(first["kind"], "doubtful");
                assert_eq!(first["doubt"], "several states are changing this age");
                assert_eq!(first["rule"], "purpose-scoped/EU/marketing");
            }
            "test" => assert_eq!(value["failures"], serde_json::json!([])),
            _ => {
                let summary = value["summary"].as_array().unwrap();
                assert!(summary.len() <= 6, "{summary:?}");
                assert_eq!(summary[0]["isStricter"], true);
            }
        }
    }
    let ended = run("policy explain tutorial-strict --jurisdiction FR --json".split(' ')).await;
    assert_eq!(ended.code, Some(1));
    let value: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(value["missing"][0]["id"], "tutorial-strict/EU/marketing");
}

#[tokio::test]
async fn policy_diff_begins_with_a_summary() {
    let ended = run(["policy", "diff", "tutorial-strict", "purpose-scoped"]).await;
    let mut lines = ended.out.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("Only purpose-scoped 2.0.0 has rules about health,"),
        "{}",
        ended.out
    );
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("tutorial-strict 1.0.0 -> purpose-scoped 2.0.0: "),
        "{}",
        ended.out
    );
    assert!(
        lines.next().unwrap().starts_with("- marketing: stricter in "),
        "{}",
        ended.out
    );
    assert!(ended.out.len() < 20_000, "{} bytes", ended.out.len());
}

#[tokio::test]
async fn policy_lint_prints_each_doubt_once_with_its_rules() {
    let ended = run(["policy", "lint", "purpose-scoped"]).await;
    let wide = ended.out.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None);
    let objections = ended.out.replace("\n    ", " ");
    let mut lines: Vec<&str> = objections.lines().collect();
    assert_eq!(
        lines[0],
        "doubtful: several states are changing this age [52 rules: EU, EEA-13, EU-14, EU-15, EU-more, EEA-13-more, \
         EU-14-more, EU-15-more]"
    );
    assert!(
        lines.contains(&"doubtful: Norway is raising it to 15 [3 rules: EEA-13]"),
        "{objections}"
    );
    assert!(
        lines.contains(
            &"doubtful: own statistics may be exempt under the Data (Use and Access) Act 2025 [GB/analytics]"
        ),
        "{objections}"
    );
    let printed = lines.len();
    lines.sort_unstable();
    lines.dedup_by_key(|line| line.split(" [").next());
    assert_eq!(printed, lines.len());
}
