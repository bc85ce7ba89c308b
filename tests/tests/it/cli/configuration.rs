//! `serve --config` and `serve --check`: an invalid configuration is refused, with file and line.

use std::os::unix::fs::PermissionsExt as _;

use super::{Example, root};
use crate::process::{Process, command, run};

async fn check(example: &Example) -> crate::process::Ended {
    run(["serve", "--check", "--config", &example.write()]).await
}

#[tokio::test]
async fn example_configuration_is_valid() {
    let path = root().join("gateway.example.toml");
    let ended = run(["serve", "--check", "--config", path.to_str().unwrap()]).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(ended.out.contains("is valid"), "{}", ended.out);
}

#[tokio::test]
async fn files_with_secrets_that_others_can_read_are_named() {
    let mut example = Example::new();
    let config = example.write();
    let secret = example.path("secret").display().to_string();
    std::fs::write(&secret, "canary-of-20-bytes-or-more").unwrap();
    let set_mode = |path: &str, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for mode in [0o640, 0o604, 0o644] {
        set_mode(&config, mode);
        let ended = run(["serve", "--check", "--config", &config]).await;
        let expected = format!(
            "{config} is valid\nwarning: invalid permissions of {config}: others can access it; run `chmod 600 {config}`\n"
        );
        assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), &*expected, ""));
    }
    set_mode(&config, 0o600);
    assert_eq!(check(&example).await.out, format!("{config} is valid\n"));
    example.change(
        "secret = \"your_service_account_client_secret\"",
        &format!("secret_file = {secret:?}"),
    );
    example.change(
        "token = \"your_admin_token_of_20_bytes_or_more\"",
        &format!("token_file = {secret:?}"),
    );
    // the configuration has no secret of its own now
    for (mode, is_named) in [(0o644, true), (0o400, false)] {
        example.write();
        set_mode(&config, 0o644);
        set_mode(&secret, mode);
        let ended = check(&example).await;
        let named = ended.out.contains(&format!("chmod 600 {secret}`"));
        assert_eq!(
            (named, ended.out.contains("canary")),
            (is_named, false),
            "{}",
            ended.out
        );
        assert!(!ended.out.contains(&format!("chmod 600 {config}`")));
    }
}

#[tokio::test]
async fn example_configuration_names_every_setting() {
    for table in [
        "[listen]",
        "[store]",
        "[genesys]",
        "[sessions]",
        "[webhooks]",
        "[spa]",
        "[[client]]",
        "[[channel]]",
    ] {
        let mut example = Example::new();
        if table == "[spa]" {
            example.change("\n[webhooks]\n", "\n[spa]\n[webhooks]\n");
        }
        example.change(
            &format!("\n{table}\n"),
            &format!("\n{table}\nno_such_setting = 1\n"),
        );
        let ended = check(&example).await;
        // a refusal names what is valid
        let (_, known) = ended.error_line().split_once("expected ").unwrap();
        let mut known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        known.retain(|name| !name.is_empty());
        assert!(!known.is_empty(), "{}", ended.error_line());
        for name in known {
            assert!(
                example.text.contains(name),
                "{table} {name} is not in the example"
            );
        }
    }
}

/// First line of the example's only client.
const CLIENT: &str = "[[client]]\nid = \"your_service_account_client_id\"";

/// A change, the line of the error, and a part of its message.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("[sessions]", "[sessions", "[sessions", ""),
    ("[sessions]", "[session]", "[session]", "session"),
    (
        "idle_timeout = \"24h\"",
        "idle_timout = \"24h\"",
        "idle_timout",
        "idle_timeout",
    ),
    (
        "idle_timeout = \"24h\"",
        "idle_timeout = 24",
        "idle_timeout",
        "string",
    ),
    (
        "idle_timeout = \"24h\"",
        "idle_timeout = \"a day\"",
        "idle_timeout",
        "1h",
    ),
    (
        "idle_timeout = \"24h\"",
        "idle_timeout = \"30m\"",
        "idle_timeout",
        "access_token_lifetime",
    ),
    (
        "idle_timeout = \"24h\"",
        "idle_timeout = \"300years\"",
        "idle_timeout",
        "ten years",
    ),
    (
        "access_token_lifetime = \"1h\"",
        "access_token_lifetime = \"59s\"",
        "access_token_lifetime",
        "a minute",
    ),
    (
        "\"tutorial-strict\"",
        "\"tutorial-lax\"",
        "policy =",
        "tutorial-strict",
    ),
    (
        "\"https://yourdomain.com\", \"https://www",
        "\"yourdomain.com\", \"https://www",
        "allowed_origins",
        "https://yourdomain.com",
    ),
    (
        "token_in_query = true",
        "token_in_query = \"yes\"",
        "token_in_query",
        "boolean",
    ),
    ("\"127.0.0.1:0\"", "\"localhost\"", "address", "address"),
    ("\"127.0.0.1:0\"", "\"0.0.0.0:0\"", "address", "certificate"),
    (
        "\"127.0.0.1:0\"",
        "\"127.0.0.1:0\"\nkey = \"gateway.key\"",
        "key =",
        "certificate",
    ),
    (
        "\"127.0.0.1:0\"",
        "\"127.0.0.1:0\"\nrequests_per_minute = 0",
        "requests_per_minute",
        "at least 1",
    ),
    ("simulator = true", "region = \"eu-west-9\"", "region", ""),
    (
        "simulator = true",
        "simulator = true\nproxy = \"socks5://proxy.example\"",
        "proxy = \"socks5",
        "http://host:port",
    ),
    (
        "simulator = true",
        "simulator = true\nmessaging = \"https://ws.example\"",
        "messaging = \"",
        "region",
    ),
    (
        "simulator = true",
        "simulator = false",
        "[genesys]",
        "exactly one",
    ),
    (
        "simulator = true",
        "simulator = true\nregion = \"eu-west-1\"",
        "[genesys]",
        "exactly one",
    ),
    (
        "simulator = true",
        "host = \"https://sim.example\"",
        "[[channel]]",
        "deployment",
    ),
    ("simulator = true", "host = \"http://sim.example\"", "host", ""),
    (
        "allow_networks = []",
        "allow_networks = [\"10/8\"]",
        "allow_networks",
        "invalid network \"10/8\": use an IP address",
    ),
    (
        "[listen]\n",
        "[listen]\ntrusted_proxies = [\"proxy.example\"]\n",
        "trusted_proxies",
        "invalid network \"proxy.example\"",
    ),
    ("allow_networks = []", "queue = 0", "queue = 0", "at least 1"),
    ("[store]\n", "[store]\nmax_size = \"5 GB\"\n", "max_size", "GiB"),
    ("\"webhooks:readwrite\"]", "\"web hooks\\u0000\"]", "scopes", ""),
    (CLIENT, "[[client]]\nid = \"a b\"", "id = \"a b\"", ""),
    (CLIENT, "[[client]]", "[[client]]", "id"),
    (
        "secret = \"your_service_account_client_secret\"",
        "secret = \"\"",
        "secret =",
        "empty",
    ),
    (
        "secret = \"your_service_account_client_secret\"",
        "secret = \"a\"\nsecret_env = \"B\"",
        "[[client]]",
        "exactly one",
    ),
    (
        "secret = \"your_service_account_client_secret\"",
        "",
        "[[client]]",
        "exactly one",
    ),
    (
        CLIENT,
        "[[client]]\nid = \"your_service_account_client_id\"\nsecret = \"a\"\nscopes = []\n[[client]]\nid = \"your_service_account_client_id\"",
        "[[client]]\nid = \"your_service_account_client_id\"\nsecret = \"your",
        "duplicate",
    ),
    (
        "[webhooks]\n",
        "[spa]\nclient = \"other\"\n[webhooks]\n",
        "client = \"other\"",
        "[spa] `client`",
    ),
    (
        "[webhooks]\n",
        "[spa]\nclient = \"your_service_account_client_id\"\nchannel = \"other\"\n[webhooks]\n",
        "channel = \"other\"",
        "[spa] `channel`",
    ),
    (
        "[webhooks]\n",
        "[spa]\nclient = \"your_service_account_client_id\"\nlifetime = \"2h\"\n[webhooks]\n",
        "lifetime = \"2h\"",
        "idle_timeout",
    ),
    (
        "[webhooks]\n",
        "[spa]\nclient = \"your_service_account_client_id\"\nanonymous = false\n[webhooks]\n",
        "anonymous = false",
        "assertion_key",
    ),
    (
        "[webhooks]\n",
        "[spa]\nclient = \"your_service_account_client_id\"\n[[spa.assertion_key]]\nid = \"a\"\n[webhooks]\n",
        "[[spa.assertion_key]]",
        "exactly one of `public_key`",
    ),
    (
        "[webhooks]\n",
        "[spa]\nclient = \"your_service_account_client_id\"\nanonymous = false\ndemo_page = true\n\
         [[spa.assertion_key]]\nid = \"a\"\nsecret = \"b\"\n[webhooks]\n",
        "demo_page = true",
        "no assertions",
    ),
];

#[tokio::test]
async fn configuration_error_names_file_and_line() {
    for &(old, new, at, hint) in WRONG {
        let mut example = Example::new();
        example.change(old, new);
        let ended = check(&example).await;
        assert_eq!(ended.code, Some(2), "{new}: {}", ended.err);
        let start = example.text.find(at).unwrap();
        let line = example.text[..start].matches('\n').count() + 1;
        let place = format!("{}: line {line}: ", example.path("gateway.toml").display());
        assert!(
            ended.error_line().contains(&place),
            "{new}: {} names not {place}",
            ended.error_line()
        );
        assert!(
            ended.error_line().contains(hint),
            "{new}: {} does not contain {hint}",
            ended.error_line()
        );
        assert_eq!(ended.out, "");
    }
}

#[tokio::test]
async fn configuration_error_hides_a_secret_of_the_wrong_type() {
    for secret in ["20261122", "[\"20261122\"]", "{ is = \"20261122\" }"] {
        let mut example = Example::new();
        example.change("\"your_service_account_client_secret\"", secret);
        let ended = check(&example).await;
        assert_eq!(ended.code, Some(2));
        assert!(ended.error_line().contains("invalid secret"), "{}", ended.err);
        assert!(!ended.err.contains("20261122"), "{}", ended.err);
    }
}

#[tokio::test]
async fn configuration_needs_the_files_that_it_names() {
    let secret = "secret = \"your_service_account_client_secret\"";
    for (old, new, hint) in [
        (secret, "secret_file = \"/missing/secret\"", "/missing/secret"),
        (
            secret,
            "secret_env = \"GUEST_SUITE_NO_SUCH\"",
            "GUEST_SUITE_NO_SUCH",
        ),
        (
            "\"127.0.0.1:0\"",
            "\"127.0.0.1:0\"\ncertificate = \"/missing/c.pem\"\nkey = \"/missing/k.pem\"",
            "/missing/c.pem",
        ),
        (
            "simulator = true",
            "simulator = true\nextra_ca = \"/missing/ca.pem\"",
            "/missing/ca.pem",
        ),
        (
            "simulator = true",
            "simulator = true\nclient_certificate = \"/missing/client.pem\"\nclient_key = \"/missing/client.key\"",
            "/missing/client.pem",
        ),
        (
            "simulator = true",
            "simulator = true\nclient_key = \"client.key\"",
            "one of `client_certificate` and `client_key` is missing",
        ),
        (
            "simulator = true",
            "simulator = true\nmin_tls_version = \"1.1\"",
            "invalid version of TLS \"1.1\"",
        ),
    ] {
        let mut example = Example::new();
        example.change(old, new);
        let path = example.write();
        for arguments in [vec!["serve", "--check"], vec!["serve"]] {
            let ended = run(arguments.iter().chain(&["--config", &path])).await;
            assert_eq!(ended.code, Some(2), "{arguments:?} {new}: {}", ended.err);
            assert!(
                ended.error_line().contains(hint),
                "{arguments:?}: {}",
                ended.error_line()
            );
        }
    }
    let ended = run(["serve", "--config", "/missing/gateway.toml"]).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.error_line().contains("/missing/gateway.toml"),
        "{}",
        ended.error_line()
    );
}

#[tokio::test]
async fn proxy_of_the_environment_is_validated_unless_disabled() {
    let mut example = Example::new();
    let asked = async |arguments: &[&str], path: &str| {
        let mut serve = command(arguments.iter().copied().chain(["--config", path]));
        serve.env("HTTPS_PROXY", "socks5://jo:canary@proxy.example");
        Process::start(serve).ended().await
    };
    let path = example.write();
    for arguments in [&["serve", "--check"][..], &["serve"]] {
        let ended = asked(arguments, &path).await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains("HTTPS_PROXY"), "{}", ended.err);
        assert!(!ended.err.contains("canary"), "{}", ended.err);
    }
    example.change("simulator = true", "simulator = true\nproxy = \"off\"");
    let ended = asked(&["serve", "--check"], &example.write()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[tokio::test]
async fn second_gateway_on_the_same_store_or_port_is_refused() {
    let first = Example::new();
    let serving = first.serve().await;
    let second = Process::start(command(["serve", "--config", &first.write()]));
    let ended = second.ended().await;
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(
        ended.error_line().contains("in use by another process"),
        "{}",
        ended.error_line()
    );

    let mut other = Example::new();
    let address = serving.url.trim_start_matches("http://");
    other.change("127.0.0.1:0", address);
    let ended = run(["serve", "--config", &other.write()]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.error_line().contains(address), "{}", ended.error_line());
    for name in ["guest-gateway.db", "guest-gateway.keys"] {
        assert!(
            !other.path(name).exists(),
            "{name} was created by a gateway that did not start"
        );
    }
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn checkpoint_file_is_checked_before_the_start() {
    let mut example = Example::new();
    std::fs::create_dir(example.path("folder")).unwrap();
    example.text = format!("audit.checkpoint_file = \"FILE\"\n{}", example.text);
    let file = example.path("FILE").display().to_string();
    example.change("\"FILE\"", &format!("{file:?}"));
    let text = example.text.clone();
    for (name, named) in [
        ("guest-gateway.keys", "the store or its key file uses it"),
        ("guest-gateway.db", "the store or its key file uses it"),
        ("./guest-gateway.db-wal", "the store or its key file uses it"),
        ("folder", "not a regular file"),
        ("missing/kept", "create its folder"),
    ] {
        example.text = text.replace("/FILE", &format!("/{name}"));
        for arguments in [&["serve", "--check", "--config"][..], &["serve", "--config"]] {
            let path = example.write();
            let ended = run([arguments, &[&path]].concat()).await;
            assert_eq!(ended.code, Some(2), "{name}: {}", ended.err);
            let error = ended.error_line();
            assert!(
                error.contains("checkpoint_file") && error.contains(named),
                "{error}"
            );
        }
    }
    assert!(!example.path("guest-gateway.db").exists());
    example.text = text;
    assert_eq!(check(&example).await.code, Some(0));
    assert!(!example.path("FILE").exists());
}

#[tokio::test]
async fn client_certificate_is_parsed_at_the_start() {
    let mut example = Example::new();
    let pem = example.path("client.pem").display().to_string();
    std::fs::write(&pem, "canary").unwrap();
    let keys = format!("simulator = true\nclient_certificate = {pem:?}\nclient_key = {pem:?}");
    example.change("simulator = true", &keys);
    let ended = run(["serve", "--config", &example.write()]).await;
    assert_ne!(ended.code, Some(0));
    let expected = "cannot use `client_certificate` and `client_key` of [genesys]: invalid certificate";
    assert!(ended.err.contains(expected), "{}", ended.err);
    assert!(!ended.err.contains("canary"), "{}", ended.err);
}
