//! The layers of a configuration, and the example with all settings.

use super::super::{Example, root};
use crate::process::{Process, command, run};

#[tokio::test]
async fn example_configuration_names_every_setting() {
    let printed = run(["config", "example"]).await;
    assert_eq!((printed.code, &*printed.err), (Some(0), ""));
    assert_eq!(
        printed.out,
        std::fs::read_to_string(root().join("gateway.example.toml")).unwrap()
    );
    // a key, or a section by its path, at the start of a line or of its comment
    let is_named = |section: &str, name: &str| {
        printed.out.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ', '[']);
            let line = line.strip_prefix(&format!("{section}.")).unwrap_or(line);
            let rest = line.strip_prefix(name).map(str::trim_start);
            rest.is_some_and(|rest| rest.starts_with(['=', ']']))
        })
    };
    let sections = [
        "",
        "listen",
        "store",
        "genesys",
        "sessions",
        "webhooks",
        "admin",
        "audit",
        "spa",
        "client.0",
        "channel.0",
        "spa.assertion_key.0",
    ];
    for section in sections {
        let mut example = Example::new();
        example.text = example.text.replace(
            "\n[webhooks]\n",
            "\n[spa]\nclient = \"c\"\n[[spa.assertion_key]]\nid = \"a\"\n[webhooks]\n",
        );
        let setting = format!("{section}.no_such_setting=1")
            .trim_start_matches('.')
            .to_owned();
        let ended = run(["config", "check", "--config", &example.write(), "--set", &setting]).await;
        // a refusal names what is valid
        let (_, known) = ended.error_line().split_once("expected ").expect(section);
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        assert!(!known.is_empty(), "{}", ended.error_line());
        for name in known {
            let shown_elsewhere = [
                (
                    "genesys",
                    ["api", "messaging", "cdn", "host", "region"].as_slice(),
                ),
                ("store", &["postgres", "postgres_file"]),
                ("admin", &["certificate", "key", "token_file", "token_env"]),
                ("client.0", &["secret_file", "secret_env"]),
                ("spa.assertion_key.0", &["secret", "secret_file", "secret_env"]),
            ];
            let in_a_comment = shown_elsewhere
                .iter()
                .any(|(of, names)| *of == section && names.contains(&name));
            assert!(
                is_named(section, name) || (in_a_comment && printed.out.contains(name)),
                "{section} {name} is not in the example"
            );
        }
    }
}

#[tokio::test]
async fn environment_replaces_values_of_the_file_and_flags_both() {
    let example = Example::new();
    let config = example.write();
    let show = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut show = command([&["config", "show", "--config", &config], flags].concat());
        show.envs(variables.iter().copied());
        Process::start(show).ended()
    };
    let variables = [
        ("GUEST_GATEWAY__LISTEN__ADDRESS", "127.0.0.1:81"),
        ("GUEST_GATEWAY__LISTEN__CONNECTIONS", "7"),
        (
            "GUEST_GATEWAY__SESSIONS__ALLOWED_ORIGINS",
            "[\"https://a.example\"]",
        ),
        ("GUEST_GATEWAY__SESSIONS__RETENTION", "7d"),
        ("GUEST_GATEWAY__GENESYS__MIN_TLS_VERSION", "1.3"),
        (
            "GUEST_GATEWAY__AUDIT__CHECKPOINT_URL",
            "https://archive.example/c?key=canary",
        ),
        ("GUEST_GATEWAY__CLIENT__0__SECRET", "canary"),
    ];
    let flags = ["--set", "sessions.retention=2d", "--listen", "127.0.0.1:82"];
    let ended = show(&variables, &flags).await;
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
    let shown = |text: &str| {
        let (key, place) = text.split_once(" # ").unwrap();
        let is_line = |line: &str| line.starts_with(key) && line.ends_with(&format!("# {place}"));
        assert!(ended.out.lines().any(is_line), "{text}: {}", ended.out);
    };
    for text in [
        "address = \"127.0.0.1:82\" # flag --listen",
        "connections = 7 # environment variable GUEST_GATEWAY__LISTEN__CONNECTIONS",
        "retention = \"2days\" # flag --set sessions.retention",
        "min_tls_version = \"1.3\" # environment variable GUEST_GATEWAY__GENESYS__MIN_TLS_VERSION",
        "secret = \"[redacted]\" # environment variable GUEST_GATEWAY__CLIENT__0__SECRET",
        "limit = 100000 # default",
        "allowed_origins = [\"https://a.example\"] # environment",
    ] {
        if text.ends_with("# environment") {
            assert!(ended.out.contains(text.split_once(" #").unwrap().0));
        } else {
            shown(text);
        }
    }
    let line = example.text[..example.text.find("policy = ").unwrap()]
        .matches('\n')
        .count()
        + 1;
    shown(&format!("policy = \"tutorial-strict\" # line {line}"));
    assert!(!ended.out.contains("canary"), "{}", ended.out);

    // what is shown is a configuration
    let shown_config = example.path("shown.toml");
    std::fs::write(&shown_config, &ended.out).unwrap();
    let shown_config = shown_config.display().to_string();
    let token = "admin.token=of-more-than-20-bytes";
    let again = run(["config", "check", "--config", &shown_config, "--set", token]).await;
    assert_eq!((again.code, &*again.err), (Some(0), ""));

    for (name, value, expected) in [
        (
            "GUEST_GATEWAY__LISTEN__ADDRESSX",
            "x",
            "environment variable GUEST_GATEWAY__LISTEN__ADDRESSX: unknown field `addressx`, expected one of `address`",
        ),
        (
            "GUEST_GATEWAY__LISTEN__ADDRESSX",
            "x",
            "; did you mean `address`?",
        ),
        ("GUEST_GATEWAY__LISTN__ADDRESS", "x", "; did you mean `listen`?"),
        (
            "GUEST_GATEWAY__LISTEN__CONNECTIONS",
            "0",
            "environment variable GUEST_GATEWAY__LISTEN__CONNECTIONS: invalid number: must be at least 1",
        ),
        (
            "GUEST_GATEWAY__LISTEN__",
            "x",
            "GUEST_GATEWAY__LISTEN__: invalid name",
        ),
        (
            "GUEST_GATEWAY__CLIENT__7__SECRET",
            "canary",
            "cannot set a value in `client`",
        ),
        (
            "GUEST_GATEWAY__SESSIONS__IDLE_TIMEOUT",
            "30m",
            "environment variable GUEST_GATEWAY__SESSIONS__IDLE_TIMEOUT: invalid [sessions] `idle_timeout`",
        ),
    ] {
        let ended = show(&[(name, value)], &[]).await;
        assert_eq!(ended.code, Some(2), "{name}");
        assert!(ended.error_line().contains(expected), "{}", ended.error_line());
        assert!(!ended.err.contains("canary"), "{}", ended.err);
    }
}

#[tokio::test]
async fn error_of_a_flag_names_it_and_suggests_the_nearest_value() {
    let example = Example::new();
    let config = example.write();
    let setting = "sessions.policy=tutorial-strct";
    let ended = run(["config", "show", "--config", &config, "--set", setting]).await;
    let expected = "flag --set sessions.policy: invalid policy \"tutorial-strct\"";
    assert!(ended.error_line().contains(expected), "{}", ended.error_line());
    assert!(
        ended.error_line().ends_with("did you mean `tutorial-strict`?"),
        "{}",
        ended.error_line()
    );
}
