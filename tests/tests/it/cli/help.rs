//! `--help`.

use crate::process::run;

/// The names under `Commands:` of a help text, each with its description.
fn commands(help: &str) -> Vec<(String, String)> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    list.take_while(|line| line.starts_with("  "))
        .map(|line| {
            let (name, about) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            (name.to_owned(), about.trim().to_owned())
        })
        .collect()
}

/// Description of each option and argument, beside it or in the lines below it.
fn options(help: &str) -> Vec<(String, String)> {
    let mut options: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in help.lines() {
        let text = line.trim();
        if !line.starts_with(' ') && !text.is_empty() {
            inside = matches!(text, "Options:" | "Arguments:");
        } else if inside && (text.starts_with(['-', '<', '['])) && !line.starts_with("          ") {
            let (option, about) = text.split_once("  ").unwrap_or((text, ""));
            options.push((option.to_owned(), about.trim().to_owned()));
        } else if let Some((_, about)) = options.last_mut().filter(|_| inside) {
            about.push_str(text);
        }
    }
    options
}

#[tokio::test]
async fn help_describes_every_command_and_option() {
    let mut waiting = vec![Vec::<String>::new()];
    let mut seen = Vec::new();
    while let Some(path) = waiting.pop() {
        let arguments = path.iter().map(String::as_str).chain(["--help"]);
        let help = run(arguments).await;
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""), "{path:?}");
        let about = help.out.split("Usage:").next().unwrap();
        assert!(about.trim().len() > 40, "{path:?} says only {about:?}");
        for (option, about) in options(&help.out) {
            assert!(about.len() > 8, "{path:?} {option}: {about:?}");
        }
        for (name, about) in commands(&help.out) {
            assert!(about.len() > 20, "{path:?} {name}: {about:?}");
            if name != "help" {
                let mut longer = path.clone();
                longer.push(name);
                waiting.push(longer);
            }
        }
        seen.push((path.join(" "), options(&help.out).len()));
    }
    seen.sort();
    // each command has help and the form of the log among its options, and the program has its version
    assert_eq!(
        seen,
        [
            ("", 3),
            ("audit", 2),
            ("audit export", 9),
            ("audit key", 3),
            ("audit prove", 8),
            ("audit show", 6),
            ("audit tail", 7),
            ("audit verify", 6),
            ("chat", 14),
            ("config", 2),
            ("config check", 5),
            ("config example", 2),
            ("config show", 5),
            ("consent", 2),
            ("consent export", 8),
            ("demo", 4),
            ("doctor", 4),
            ("guest", 2),
            ("guest erase", 7),
            ("guest export", 7),
            ("guest show", 6),
            ("load", 12),
            ("policy", 2),
            ("policy diff", 5),
            ("policy explain", 11),
            ("policy lint", 5),
            ("policy list", 3),
            ("policy show", 4),
            ("policy test", 4),
            ("receive", 5),
            ("serve", 6),
            ("sim", 14),
            ("sim advance", 5),
            ("sim complaints", 4),
            ("sim fault", 6),
            ("sim state", 4),
            ("store", 2),
            ("store backup", 4),
            ("store check", 3),
            ("store create", 3),
            ("store move", 4),
            ("store rekey", 3),
            ("store restore", 5),
            ("store vacuum", 3),
            ("webhook", 2),
            ("webhook deliveries", 7),
            ("webhook list", 4),
            ("webhook pause", 5),
            ("webhook preview", 7),
            ("webhook replay", 7),
            ("webhook resume", 5),
            ("webhook rotate", 5),
            ("webhook show", 5),
            ("webhook test", 5),
        ]
        .map(|(path, options)| (path.to_owned(), options))
    );
}

/// A verifier key in the right form.
const SOME_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

#[tokio::test]
async fn invalid_arguments_exit_with_2_and_a_hint() {
    refused(vec![
        (vec![], "Usage:"),
        (vec!["serv"], "serve"),
        (vec!["serve"], "--config"),
        (vec!["serve", "--konfig", "x"], "--config"),
        (vec!["sim", "--listen", "everywhere"], "--listen"),
        (vec!["sim", "--plain", "--listen", "0.0.0.0:0"], "loopback"),
        (vec!["sim", "--seed", "xyz"], "1 to 64 hexadecimal digits"),
        (vec!["sim", "--fault", "explode"], "use one of clock, delay"),
        (vec!["sim", "--session-duration", "long"], "--session-duration"),
        (vec!["sim", "--agent", "/missing/ann.yaml"], "/missing/ann.yaml"),
        (vec!["sim", "advance"], "<TIME>"),
        (vec!["sim", "fault"], "<TEXT>"),
        (
            vec![
                "sim",
                "state",
                "--at",
                "https://127.0.0.1:1",
                "--ca",
                "/missing/ca.pem",
            ],
            "use --ca FILE",
        ),
        (vec!["chat"], "--sim"),
        (vec!["chat", "--deployment", "d"], "--domain"),
        (
            vec!["chat", "--domain", "mypurecloud.ie", "--deployment", "nope"],
            "invalid UUID nope",
        ),
        (vec!["chat", "--sim", "--wait", "25h"], "use at most 24h"),
        (vec!["chat", "--sim", "http://127.0.0.1:1"], "--deployment"),
        (vec!["chat", "--domain", "mypurecloud.ie"], "--deployment"),
        (
            vec!["chat", "--domain", "atlantis", "--deployment", "d"],
            "atlantis",
        ),
        (vec!["chat", "--sim", "--origin", "shop"], "--origin"),
        (
            vec!["chat", "--sim", "--ca", "/missing/ca.pem"],
            "/missing/ca.pem",
        ),
        (
            vec![
                "chat",
                "--sim",
                "http://127.0.0.1:1",
                "--deployment",
                "d",
                "--fault",
                "hang",
            ],
            "--fault",
        ),
        (
            vec!["chat", "--sim", "--agent", "/missing/a.yaml"],
            "/missing/a.yaml",
        ),
        (
            vec!["chat", "--sim", "--attach", "/missing/cat.png"],
            "/missing/cat.png",
        ),
        (vec!["audit"], "Usage:"),
        (vec!["audit", "verify", "x.jsonl"], "--key"),
        (vec!["audit", "verify", "x.jsonl", "--key", "none"], "--key"),
        (
            vec![
                "audit",
                "verify",
                "x.jsonl",
                "--key",
                SOME_KEY,
                "--witness",
                "none",
            ],
            "--witness",
        ),
        (vec!["audit", "export"], "--config"),
        (
            vec!["audit", "export", "--config", "x", "--url", "http://127.0.0.1:1"],
            "--url",
        ),
        (
            vec!["audit", "export", "--config", "x", "--since", "monday"],
            "RFC 3339",
        ),
        (vec!["demo", "more"], "Usage:"),
    ])
    .await;
}

#[tokio::test]
async fn invalid_policy_arguments_exit_with_2_and_a_hint() {
    refused(vec![
        (vec!["policy", "show", "lenient"], "tutorial-strict"),
        (vec!["policy", "test", "no.toml"], "no.toml"),
        (
            vec![
                "policy",
                "explain",
                "purpose-scoped",
                "--jurisdiction",
                "california",
            ],
            "US-CA",
        ),
        (vec!["policy", "explain"], "<POLICY>"),
        (
            vec![
                "policy",
                "explain",
                "tutorial-strict",
                "--grant",
                "marketing",
                "--deny",
                "marketing",
            ],
            "both",
        ),
    ])
    .await;
}

/// Each of these commands exits with 2 and this text on stderr.
async fn refused(commands: Vec<(Vec<&str>, &str)>) {
    for (arguments, hint) in commands {
        let ended = run(&arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(hint), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{arguments:?}");
    }
}
