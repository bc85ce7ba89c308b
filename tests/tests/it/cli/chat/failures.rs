//! Failures, ends, and the history.

use super::content::agent;
use super::*;

#[tokio::test]
async fn chat_loses_nothing_after_a_dropped_socket_and_explains_it() {
    let arguments = ["--sim", "--wait", "0s", "--fault", "drop:abrupt@3"];
    let ended = script(&arguments, "/why\nhi\n/wait\nagain\n/wait\n/why\n").await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    in_order(
        &ended.out,
        &[
            "> hi",
            "* reconnected",
            "Ann: You said: hi",
            "> again",
            "Ann: You said: again",
        ],
    );
    for once in ["✓ hi", "Ann: You said: hi", "✓ again", "! not connected: "] {
        let count = ended.out.lines().filter(|line| line.starts_with(once)).count();
        assert_eq!(count, 1, "{once}: {}", ended.out);
    }
    let output: Vec<_> = ended
        .out
        .lines()
        .filter(|line| line.contains(" state: "))
        .collect();
    assert_eq!(output.len(), 2, "{}", ended.out);
    assert!(
        output[0].starts_with("* The connection has not failed."),
        "{output:?}"
    );
    assert!(output[1].starts_with("* The connection broke"), "{output:?}");
    assert!(output[1].contains(" lost: "), "{output:?}");
}

#[tokio::test]
async fn chat_history_shows_messages_without_choices() {
    let ended = script(
        &["--sim", "--wait", "0s"],
        "/history\nhi\n/wait\n/history\n/ping\n",
    )
    .await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    in_order(
        &ended.out,
        &[
            "* the history is empty",
            "> hi",
            "> /history",
            "* history:",
            "> /ping",
        ],
    );
    let sent = |text: &str| ended.out.lines().filter(|line| line.ends_with(text)).count();
    assert_eq!(
        (sent(" UTC you: hi"), sent(" UTC Ann: You said: hi")),
        (1, 1),
        "{}",
        ended.out
    );
    let well = "* the service is healthy; the session expires in 3 days unless a message is sent";
    assert_eq!(sent(well), 1, "{}", ended.out);
}

#[tokio::test]
async fn chat_starts_anew_after_a_read_only_or_cleared_conversation() {
    let arguments = ["--sim", "--wait", "0s", "--agent", &agent("disconnects.yaml")];
    let ended = script(
        &arguments,
        "read only\n/wait\n/history\n/new\nhello\n/clear\n/new\nanew\n",
    )
    .await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    in_order(
        &ended.out,
        &[
            "* connected: a new conversation",
            "* the other side has left: the conversation is read-only, /new starts another one",
            "* history:",
            "> /new",
            "* connected: a new conversation",
            "> hello",
            "✓ hello",
            "* the conversation was cleared",
            "* the conversation has ended: /new starts another one, /quit leaves",
            "> /new",
            "* connected: a new conversation",
            "> anew",
            "✓ anew",
            "* you have left the conversation",
        ],
    );
}

#[tokio::test]
async fn chat_names_the_allowed_origins_to_a_refused_one() {
    let (sim, url, deployment) = simulator(&["--plain", "--allowed-domain", "shop.example"]).await;
    let common = ["--sim", &url, "--deployment", &deployment, "--wait", "0s"];
    let ended = script(&common, "").await;
    assert_eq!((ended.code, &*ended.out), (Some(2), ""));
    assert!(
        ended.error_line().contains("admits shop.example"),
        "{}",
        ended.err
    );
    let admitted = [&common[..], &["--origin", "https://www.shop.example"]].concat();
    let ended = script(&admitted, "hi\n").await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    assert_eq!(sim.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn chat_names_an_unreachable_proxy() {
    let arguments = [
        "chat",
        "--domain",
        "mypurecloud.ie",
        "--deployment",
        "00000000-0000-4000-8000-000000000000",
    ];
    for (proxy, code, output) in [
        ("http://127.0.0.1:1", 1, "cannot connect to the proxy 127.0.0.1:1"),
        (
            "socks5://127.0.0.1:1",
            2,
            "invalid proxy in HTTPS_PROXY: only plain HTTP is supported",
        ),
    ] {
        let mut command = command(arguments);
        command
            .env_remove("https_proxy")
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .env("HTTPS_PROXY", proxy);
        let ended = Process::start(command).ended().await;
        assert_eq!((ended.code, &*ended.out), (Some(code), ""), "{}", ended.err);
        assert!(ended.error_line().contains(output), "{}", ended.err);
    }
}

#[tokio::test]
async fn chat_exits_at_once_after_the_end() {
    let arguments = ["--sim", "--wait", "0s", "--fault", "refuse-handshake"];
    let ended = script(&arguments, "/wait\n/history\n/wait\n").await;
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    let output = "! cannot wait for an answer: the handshake was answered 403";
    let count = ended.out.lines().filter(|line| line.starts_with(output)).count();
    assert_eq!(count, 2, "{}", ended.out);
    assert!(!ended.out.contains("within 30 s"), "{}", ended.out);
}

#[tokio::test]
async fn chat_session_ends_by_a_moved_clock_and_no_timeout_fires() {
    let arguments = ["--sim", "--wait", "0s", "--fault", "clock:+80h@4"];
    let (mut guest, mut input) = chat(&arguments);
    writeln!(input, "hi").unwrap();
    let expired =
        "! the session has expired: start a new one (/new starts another conversation, /quit leaves)";
    until(&mut guest, expired).await;
    write!(input, "more\n/wait\n/why\n").unwrap();
    drop(input);
    let ended = guest.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    let output: Vec<_> = ended.out.lines().collect();
    assert!(!ended.out.contains("within 30 s"), "{}", ended.out);
    let why = output.last().unwrap();
    let dates: std::collections::BTreeSet<_> = why
        .split(" | ")
        .skip(1)
        .map(|entry| entry.split(' ').next().unwrap())
        .collect();
    assert!(dates.len() >= 2, "{why}");
}
