//! `config` and `serve`: an invalid configuration is refused, with the place of the value.

mod files;
mod layers;

use super::{Example, root};
use crate::process::{Process, command, run};

async fn check(example: &Example) -> crate::process::Ended {
    run(["config", "check", "--config", &example.write()]).await
}

#[tokio::test]
async fn example_configuration_is_valid() {
    let path = root().join("gateway.example.toml");
    let ended = run(["config", "check", "--config", path.to_str().unwrap()]).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(ended.out.contains("is valid"), "{}", ended.out);
}

#[tokio::test]
async fn plain_http_beyond_loopback_needs_its_setting_and_a_proxy() {
    let example = Example::new();
    let config = example.write();
    let mut settings = vec!["listen.address=0.0.0.0:0"];
    for (refusal, correction) in [
        ("`address` 0.0.0.0:0", "listen.plain_http=behind-proxy"),
        ("`public_url`", "listen.public_url=https://chat.example"),
        ("`trusted_proxies`", "listen.trusted_proxies=[\"10.0.0.0/8\"]"),
        ("", ""),
    ] {
        let flags = settings.iter().flat_map(|setting| ["--set", setting]);
        let ended = run(["config", "check", "--config", &config].into_iter().chain(flags)).await;
        let expected = if refusal.is_empty() { 0 } else { 2 };
        assert_eq!(ended.code, Some(expected), "{}", ended.err);
        assert!(ended.error_line().contains(refusal), "{}", ended.error_line());
        settings.push(correction);
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
    ("\"127.0.0.1:0\"", "\"0.0.0.0:0\"", "address", "0.0.0.0:0"),
    (
        "\"127.0.0.1:0\"",
        "\"0.0.0.0:0\"",
        "address",
        "plain_http = \"behind-proxy\"",
    ),
    (
        "\"https://yourdomain.com\", \"https://www.yourdomain.com\"",
        "",
        "allowed_origins",
        "empty",
    ),
    (
        "# deployment = \"…\"",
        "deployment = \"not-a-uuid\"",
        "deployment = \"not",
        "invalid deployment \"not-a-uuid\": not a UUID",
    ),
    (
        "secret = \"your_service_account_client_secret\"",
        "secret = \"${MY_SECRET}\"",
        "secret = \"$",
        "use `secret_env = \"MY_SECRET\"`",
    ),
    (
        "secret = \"your_service_account_client_secret\"",
        "secret = \"$MY_SECRET\"",
        "secret = \"$",
        "invalid secret: variables are not replaced in values, use `secret_env`",
    ),
    (
        "secret = \"your_service_account_client_secret\"",
        "secret_env = \"$MY_SECRET\"",
        "secret_env =",
        "use `secret_env = \"MY_SECRET\"`",
    ),
    (
        "secret = \"your_service_account_client_secret\"",
        "secret_env = \"\"",
        "secret_env =",
        "invalid secret_env: empty",
    ),
    (
        "secret = \"your_service_account_client_secret\"",
        "secret_file = \" \"",
        "secret_file =",
        "invalid secret_file: empty",
    ),
    (
        "token = \"your_admin_token_of_20_bytes_or_more\"",
        "token = \"$ADMIN_TOKEN\"",
        "token = \"$",
        "invalid token: variables are not replaced in values, use `token_env`",
    ),
    (
        "token = \"your_admin_token_of_20_bytes_or_more\"",
        "token_env = \"\"",
        "token_env =",
        "invalid token_env: empty",
    ),
    (
        "simulator = true",
        "simulator = true\nextra_ca = \"\"",
        "extra_ca =",
        "invalid extra_ca: empty",
    ),
    (
        "simulator = true",
        "simulator = true\nproxy = \"${PROXY}\"",
        "proxy = \"$",
        "set the environment variable GUEST_GATEWAY__GENESYS__PROXY",
    ),
    (
        "allow_networks = []",
        "allow_networks = [\"::ffff:10.0.0.0/104\"]",
        "allow_networks",
        "use \"10.0.0.0/8\"",
    ),
    (
        "[listen]\n",
        "[listen]\ntrusted_proxies = [\"::ffff:192.0.2.7/128\"]\n",
        "trusted_proxies",
        "use \"192.0.2.7/32\"",
    ),
    (
        "[[channel]]\n",
        "[[channel]]\nid = \"your_web_messaging_channel_config_id\"\n[[channel]]\n",
        "[[channel]]\nid = \"your_web_messaging_channel_config_id\"\n# dep",
        "duplicate",
    ),
    (
        "[webhooks]\n",
        "[spa]\nclient = \"your_service_account_client_id\"\nembedding = \"cross-sites\"\n[webhooks]\n",
        "embedding = \"cross-sites",
        "did you mean `cross-site`?",
    ),
    (
        "simulator = true",
        "region = \"eu-west-11\"",
        "region",
        "did you mean `eu-west-1`?",
    ),
    (
        "\"webhooks:readwrite\"]",
        "\"webhook:readwrite\"]",
        "scopes",
        "did you mean `webhooks:readwrite`?",
    ),
    (
        "[webhooks]\n",
        "[audit]\ncheckpoint_url = \"archive.example/c\"\n[webhooks]\n",
        "checkpoint_url = \"archive",
        "invalid checkpoint_url \"archive.example/c\"",
    ),
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
        "simulator = true\nproxy = \"https://proxy.example\"",
        "proxy = \"https",
        "invalid proxy: only plain HTTP",
    ),
    (
        "\norigin = \"https://yourdomain.com\"",
        "\norigin = \"yourdomain.com\"",
        "origin = \"yourdomain",
        "invalid origin \"yourdomain.com\": it has no scheme",
    ),
    (
        "token = \"your_admin_token_of_20_bytes_or_more\"",
        "token = \"your admin token of 20 bytes or more\"",
        "[admin]",
        "the token cannot be sent in a header",
    ),
    (
        "secret = \"your_service_account_client_secret\"",
        "secret = \"a line\\nand another\"",
        "[[client]]",
        "the secret cannot be sent by a client",
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
    (
        "allow_networks = []",
        "retries = [\"5s\", \"8days\"]",
        "retries",
        "invalid schedule: the wait at position 1, from 0, is not between 1 second and 7 days",
    ),
    (
        "allow_networks = []",
        "retries = []",
        "retries",
        "give 1 to 32 waits",
    ),
    (
        "allow_networks = []",
        "retries = [\"5\"]",
        "retries",
        "invalid duration \"5\"",
    ),
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
async fn proxy_of_the_environment_is_validated_unless_disabled() {
    let mut example = Example::new();
    let asked = async |arguments: &[&str], path: &str| {
        let mut serve = command(arguments.iter().copied().chain(["--config", path]));
        serve.env("HTTPS_PROXY", "socks5://jo:canary@proxy.example");
        Process::start(serve).ended().await
    };
    let path = example.write();
    for arguments in [&["config", "check"][..], &["serve"]] {
        let ended = asked(arguments, &path).await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains("HTTPS_PROXY"), "{}", ended.err);
        assert!(!ended.err.contains("canary"), "{}", ended.err);
    }
    example.change("simulator = true", "simulator = true\nproxy = \"off\"");
    let ended = asked(&["config", "check"], &example.write()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}
