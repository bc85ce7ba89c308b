//! The files that a configuration names.

use std::os::unix::fs::PermissionsExt as _;

use secrecy::ExposeSecret as _;

use super::super::Example;
use super::check;
use crate::process::{Process, command, run};

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
        let ended = run(["config", "check", "--config", &config]).await;
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
async fn ended_old_secret_and_pages_of_another_site_are_named() {
    let mut example = Example::new();
    let config = example.write();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();
    let secret = "secret = \"your_service_account_client_secret\"";
    let until = |year: u16| {
        format!("{secret}\nold_secret = {{ secret = \"a\", until = \"{year}-06-01T00:00:00Z\" }}")
    };
    let pages = ["--set", "spa.client=your_service_account_client_id", "--set"];
    let (same_site, public_url) = (
        "spa.embedding=same-site",
        "listen.public_url=https://chat.yourdomain.com",
    );
    let (of_secret, of_pages) = (
        "`old_secret` of [[client]]",
        "set `embedding = \"cross-site\"` of [spa]",
    );
    example.change(secret, &until(9001));
    for (is_ended, flags, expected) in [
        (false, &[][..], ""),
        (false, &[same_site], of_pages),
        (false, &["spa.embedding=cross-site"], ""),
        (false, &[same_site, "--set", public_url], ""),
        (true, &[][..], of_secret),
    ] {
        if is_ended {
            example.change(&until(9001), &until(2001));
            example.write();
        }
        let flags = pages
            .iter()
            .take(if flags.is_empty() { 0 } else { 3 })
            .chain(flags);
        let ended = run(["config", "check", "--config", &config]
            .into_iter()
            .chain(flags.copied()))
        .await;
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let warnings: Vec<_> = ended
            .out
            .lines()
            .filter(|line| line.starts_with("warning: "))
            .collect();
        assert_eq!(warnings.len(), usize::from(!expected.is_empty()), "{warnings:?}");
        assert!(
            warnings.iter().all(|warning| warning.contains(expected)),
            "{warnings:?}"
        );
    }
}

#[tokio::test]
async fn certificate_and_key_of_two_pairs_are_refused() {
    let example = Example::new();
    let config = example.write();
    let pairs = [(), ()].map(|()| genesys_sim::throwaway_ca(&genesys_sim::LOOPBACK).unwrap());
    let (certificate, key) = (example.path("cert.pem"), example.path("key.pem"));
    std::fs::write(&certificate, &pairs[0].cert_pem).unwrap();
    for (pair, code) in [(&pairs[0], 0), (&pairs[1], 2)] {
        std::fs::write(&key, pair.key_pem.expose_secret()).unwrap();
        for [of_certificate, of_key] in [
            ["listen.certificate", "listen.key"],
            ["genesys.client_certificate", "genesys.client_key"],
        ] {
            let certificate = format!("{of_certificate}={}", certificate.display());
            let key = format!("{of_key}={}", key.display());
            for command in [&["config", "check"][..], &["serve"]] {
                if code == 0 && command == ["serve"] {
                    continue;
                }
                let arguments = [
                    command,
                    &["--config", &config, "--set", &certificate, "--set", &key],
                ]
                .concat();
                let ended = run(arguments).await;
                assert_eq!(ended.code, Some(code), "{}", ended.err);
                let expected = if code == 0 {
                    ""
                } else {
                    "does not match the certificate"
                };
                assert!(ended.error_line().contains(expected), "{}", ended.error_line());
            }
        }
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
        for arguments in [vec!["config", "check"], vec!["serve"]] {
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
async fn store_needs_a_folder() {
    let mut example = Example::new();
    std::fs::write(example.path("file"), "").unwrap();
    for name in ["guest-gateway.db", "guest-gateway.keys"] {
        let text = example.text.clone();
        for (folder, reason) in [("missing", "cannot find the folder"), ("file", "is not a folder")] {
            example.change(&format!("/{name}\""), &format!("/{folder}/{name}\""));
            let path = example.write();
            let line = example.text[..example.text.find(&format!("/{folder}/")).unwrap()]
                .matches('\n')
                .count()
                + 1;
            for arguments in [&["config", "check", "--config"][..], &["serve", "--config"]] {
                let ended = run([arguments, &[&path]].concat()).await;
                assert_eq!(ended.code, Some(2), "{}", ended.err);
                for part in [&format!("{path}: line {line}: "), reason] {
                    assert!(ended.error_line().contains(part), "{}", ended.error_line());
                }
            }
            example.text.clone_from(&text);
        }
    }
}

#[tokio::test]
async fn store_without_a_file_and_listeners_of_one_address_are_refused() {
    let example = Example::new();
    let config = example.write();
    let folder = format!("store.path={}", example.folder.path().display());
    for (flags, expected) in [
        (["--set", "store.path="].as_slice(), "invalid path: empty"),
        (&["--set", "store.path=/"], "`path`: names no file"),
        (&["--set", "store.path=:memory:"], "would erase the sessions"),
        (&["--set", &folder], "it is a folder, name a file in it"),
        (&["--set", "store.keys="], "invalid keys: empty"),
        (
            &["--listen", "127.0.0.2:9", "--set", "admin.address=127.0.0.2:9"],
            "`address` 127.0.0.2:9: taken by [listen]",
        ),
    ] {
        for command in [&["config", "check"][..], &["serve"]] {
            let ended = run([command, &["--config", &config], flags].concat()).await;
            assert_eq!(ended.code, Some(2), "{flags:?}: {}", ended.err);
            assert!(ended.error_line().contains(expected), "{}", ended.error_line());
        }
    }
}

#[tokio::test]
async fn trust_in_each_address_is_named() {
    let example = Example::new();
    for (network, is_named) in [("0.0.0.0/0", true), ("::/0", true), ("10.0.0.0/8", false)] {
        let proxies = format!("listen.trusted_proxies=[\"192.0.2.1/32\", {network:?}]");
        let ended = run(["config", "check", "--config", &example.write(), "--set", &proxies]).await;
        let expected = format!("`trusted_proxies` of [listen] has {network}");
        assert_eq!(ended.out.contains(&expected), is_named, "{}", ended.out);
    }
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
        for arguments in [&["config", "check", "--config"][..], &["serve", "--config"]] {
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
