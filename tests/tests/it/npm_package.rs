//! The npm package of the browser client in Node: its own tests, and its import by an app.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use left_out::{Missing, leave_out};

/// Only the system's packages have it.
const NODE: Missing = Missing {
    program: "node",
    install: "apt-get install nodejs",
};

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/browser")
}

fn has_node() -> bool {
    Command::new(NODE.program).arg("--version").output().is_ok()
}

fn succeed(output: Output) -> String {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (printed, errors) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{printed}\n{errors}");
    printed
}

#[test]
fn browser_client_passes_its_tests_in_node() {
    if !has_node() {
        return leave_out("the tests of the browser client", NODE);
    }
    // Node 22 and later take no folder
    let tests = fs::read_dir(package().join("tests")).unwrap();
    let tests = tests.map(|file| file.unwrap().path());
    let tests = tests.filter(|path| path.to_string_lossy().ends_with(".test.js"));
    let printed = succeed(
        Command::new(NODE.program)
            .args(["--test", "--test-reporter=tap"])
            .args(tests)
            .current_dir(package())
            .output()
            .unwrap(),
    );
    // a folder without tests passes too
    let passed = printed.lines().find_map(|line| line.strip_prefix("# pass "));
    assert!(
        passed.is_some_and(|count| count.parse::<u32>().unwrap() >= 10),
        "{printed}"
    );
}

#[test]
fn browser_client_has_its_licenses_and_no_link_out_of_the_package() {
    let read = |path: &str| fs::read_to_string(package().join(path)).unwrap();
    for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
        assert_eq!(read(license), read(&format!("../../{license}")));
    }
    let manifest: Value = serde_json::from_str(&read("package.json")).unwrap();
    let readme = read("README.md");
    for link in readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        let shipped = manifest["files"].as_array().unwrap().contains(&link.into());
        assert!(shipped || link.starts_with("https://"), "{link}");
    }
}

#[test]
fn browser_client_is_imported_by_an_app_with_a_plain_manifest() {
    if !has_node() {
        return leave_out("the import of the browser client", NODE);
    }
    let app = tempfile::tempdir().unwrap();
    let installed = app.path().join("node_modules/guest-sessions");
    fs::create_dir_all(&installed).unwrap();
    let manifest = fs::read_to_string(package().join("package.json")).unwrap();
    let parsed: Value = serde_json::from_str(&manifest).unwrap();
    for file in parsed["files"].as_array().unwrap() {
        let file = file.as_str().unwrap();
        fs::copy(package().join(file), installed.join(file)).unwrap();
    }
    fs::write(installed.join("package.json"), manifest).unwrap();
    // neither `"type": "module"` nor any other field
    fs::write(app.path().join("package.json"), "{}").unwrap();
    let import = "import('guest-sessions').then((client) => console.log(Object.keys(client).join(' ')))";
    let printed = succeed(
        Command::new(NODE.program)
            .args(["--eval", import])
            .current_dir(app.path())
            .output()
            .unwrap(),
    );
    let exports: Vec<&str> = printed.split_whitespace().collect();
    for name in [
        "ACTIONS",
        "GuestConversation",
        "GuestSessionsError",
        "createSession",
    ] {
        assert!(exports.contains(&name), "{exports:?}");
    }
}
