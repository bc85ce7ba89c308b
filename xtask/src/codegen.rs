//! `codegen`: turns the facts of `spec/` into code and pages. Its output is committed. Each generator is one file below
//! `codegen/`.

mod actions;
mod browser_client;
mod consent_page;
mod contract;
mod error_codes;
mod facts;
mod guest_chat;
mod guest_sessions_page;
mod limits;
mod refusals;
mod regions;
mod routes;
mod served_contract;
mod type_script;
mod web_messaging_page;

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::{fs, thread};

use self::facts::Sources;
use crate::workspace;

/// One generated file. Its extension says which language it is written in.
pub(crate) struct Artifact {
    /// Paths of its inputs, relative to the root.
    pub(crate) sources: &'static [&'static str],
    /// Path of the file that it writes, relative to the root.
    pub(crate) output: &'static str,
    /// Returns the file's content, without preamble and unformatted.
    generate: fn(&Sources) -> Result<String, Box<dyn Error>>,
}

const BROWSER_CLIENT: &str = "clients/browser/guest-sessions.js";
/// The module of the browser client that is generated.
const CLIENT_CONTRACT: &str = "clients/browser/src/contract.js";
/// The handwritten types of the browser client.
const CLIENT_TYPES: &str = "clients/browser/src/guest-sessions.d.ts";
const CONTRACT: &str = "spec/guest-sessions/openapi.json";
const CONTRACT_ERRORS: &str = "spec/guest-sessions/errors.toml";
const CONTRACT_EVENTS: &str = "spec/guest-sessions/events.schema.json";
const CONTRACT_FRAMES: &str = "spec/guest-sessions/frames.schema.json";

/// The configuration that `guest-gateway config example` prints: a package has no files of the root.
const EXAMPLE: &str = "gateway.example.toml";

const PURPOSE_SCOPED: &str = "crates/guest-payload/policies/purpose-scoped.toml";
const TUTORIAL_STRICT: &str = "crates/guest-payload/policies/tutorial-strict.toml";

const ACTIONS: &str = "spec/web-messaging/actions.toml";
const CLASSES: &str = "spec/web-messaging/classes.toml";
const ERRORS: &str = "spec/web-messaging/errors.toml";
const LIMITS: &str = "spec/web-messaging/limits.toml";
const REGIONS: &str = "spec/regions.toml";

/// Each after those that are its sources.
pub(crate) const ARTIFACTS: &[Artifact] = &[
    Artifact {
        sources: &[REGIONS],
        output: "crates/genesys-api/src/generated/regions.rs",
        generate: regions::generate,
    },
    Artifact {
        sources: &[LIMITS],
        output: "crates/genesys-api/src/generated/limits.rs",
        generate: limits::generate,
    },
    Artifact {
        sources: &[ACTIONS],
        output: "crates/genesys-sim/src/generated/actions.rs",
        generate: actions::generate,
    },
    Artifact {
        sources: &[ERRORS],
        output: "crates/web-messaging/src/generated/error_code.rs",
        generate: refusals::generate,
    },
    Artifact {
        sources: &[REGIONS, ACTIONS, CLASSES, ERRORS, LIMITS],
        output: "docs/web-messaging.md",
        generate: web_messaging_page::generate,
    },
    Artifact {
        sources: &[CONTRACT, CONTRACT_ERRORS],
        output: "crates/guest-sessions/src/generated/error_code.rs",
        generate: error_codes::generate,
    },
    Artifact {
        sources: &[CONTRACT, CONTRACT_ERRORS],
        output: "crates/guest-sessions/src/generated/routes.rs",
        generate: routes::generate,
    },
    Artifact {
        sources: &[CONTRACT, CONTRACT_ERRORS],
        output: "crates/guest-gateway/src/generated/openapi.json",
        generate: served_contract::openapi,
    },
    Artifact {
        sources: &[CONTRACT, CONTRACT_ERRORS, CONTRACT_FRAMES],
        output: "crates/guest-gateway/src/generated/frames.schema.json",
        generate: served_contract::frames,
    },
    Artifact {
        sources: &[CONTRACT_EVENTS],
        output: "crates/guest-gateway/src/generated/events.schema.json",
        generate: served_contract::events,
    },
    Artifact {
        sources: &[EXAMPLE],
        output: "crates/guest-gateway/src/generated/gateway.example.toml",
        generate: |sources| Ok(sources.text(EXAMPLE)?.trim_end().to_owned()),
    },
    Artifact {
        sources: &[CONTRACT, CONTRACT_ERRORS],
        output: CLIENT_CONTRACT,
        generate: browser_client::contract,
    },
    Artifact {
        sources: browser_client::MODULES,
        output: BROWSER_CLIENT,
        generate: browser_client::generate,
    },
    Artifact {
        sources: guest_chat::SOURCES,
        output: "clients/browser/guest-chat.js",
        generate: guest_chat::generate,
    },
    Artifact {
        sources: &[
            CONTRACT,
            CONTRACT_ERRORS,
            CONTRACT_EVENTS,
            CONTRACT_FRAMES,
            CLIENT_TYPES,
        ],
        output: "clients/browser/guest-sessions.d.ts",
        generate: type_script::generate,
    },
    Artifact {
        sources: &[CONTRACT, CONTRACT_ERRORS, CONTRACT_EVENTS, CONTRACT_FRAMES],
        output: "docs/guest-sessions.md",
        generate: guest_sessions_page::generate,
    },
    Artifact {
        sources: &[PURPOSE_SCOPED, TUTORIAL_STRICT],
        output: "docs/consent.md",
        generate: consent_page::generate,
    },
];

/// Writes the stale files.
pub(crate) fn write(root: &Path) -> Result<(), Box<dyn Error>> {
    for artifact in ARTIFACTS {
        let fresh = fresh(root, artifact)?;
        if workspace::read_if_any(root, artifact.output)? == fresh {
            continue;
        }
        let output = root.join(artifact.output);
        if let Some(folder) = output.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(output, fresh)?;
        println!("codegen: wrote {}", artifact.output);
    }
    check(root)
}

/// Fails if a generated file is stale.
pub(crate) fn check(root: &Path) -> Result<(), Box<dyn Error>> {
    let stale = stale(root, ARTIFACTS)?;
    if stale.is_empty() {
        println!("codegen: all {} files are fresh", ARTIFACTS.len());
        return Ok(());
    }
    let outputs: Vec<&str> = stale.iter().map(|(artifact, _)| artifact.output).collect();
    Err(format!("stale: {}: run `cargo xtask codegen`", outputs.join(", ")).into())
}

/// The artifacts whose file differs from the generator's output, each with that output.
pub(crate) fn stale<'a>(
    root: &Path,
    artifacts: &'a [Artifact],
) -> Result<Vec<(&'a Artifact, String)>, Box<dyn Error>> {
    let mut stale = Vec::new();
    for artifact in artifacts {
        let fresh = fresh(root, artifact)?;
        if workspace::read_if_any(root, artifact.output)? != fresh {
            stale.push((artifact, fresh));
        }
    }
    Ok(stale)
}

fn fresh(root: &Path, artifact: &Artifact) -> Result<String, Box<dyn Error>> {
    let body = (artifact.generate)(&Sources::read(root, artifact.sources)?)?;
    let notice = format!(
        "Generated by `cargo xtask codegen` from `{}`; do not edit by hand.",
        artifact.sources.join("`, `")
    );
    match artifact.output.rsplit_once('.') {
        Some((_, "rs")) => format(root, format!("//! {notice}\n\n{body}")),
        // JSON has no comments, and the example is for people: the folder is called `generated`
        Some((_, "json" | "toml")) => Ok(format!("{body}\n")),
        Some((_, "md")) => Ok(format!("<!-- {notice} -->\n\n{body}")),
        Some((_, "js" | "ts")) => Ok(format!("// {notice}\n\n{body}")),
        _ => Err(format!("{}: no preamble is known for this language", artifact.output).into()),
    }
}

fn format(root: &Path, code: String) -> Result<String, Box<dyn Error>> {
    let mut rustfmt = workspace::tool(root, "rustfmt")
        .args(["--edition", "2024", "--config-path", "rustfmt.toml"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start rustfmt: {error}: run `rustup component add rustfmt`"))?;
    let mut input = rustfmt.stdin.take().ok_or("rustfmt has no standard input")?;
    // written beside the read, so that neither pipe can fill up and stop both
    let writer = thread::spawn(move || input.write_all(code.as_bytes()));
    let output = rustfmt.wait_with_output()?;
    writer
        .join()
        .map_err(|_| "the thread that feeds rustfmt panicked")??;
    if !output.status.success() {
        return Err(format!(
            "rustfmt refuses the generated code: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
        .into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_files_match_their_generators() {
        check(workspace::root()).unwrap();
    }

    #[test]
    fn differing_file_is_stale() {
        for output in ["crates/genesys-api/src/region.rs", "no/such/file.rs"] {
            let other = [Artifact {
                output,
                ..ARTIFACTS[0]
            }];
            let stale = stale(workspace::root(), &other).unwrap();
            assert_eq!(stale.len(), 1, "{output}");
            assert!(stale[0].1.starts_with("//! Generated by `cargo xtask codegen`"));
        }
    }

    #[test]
    fn unparsable_code_is_refused() {
        let error = format(workspace::root(), "pub const".to_owned()).unwrap_err();
        assert!(error.to_string().contains("expected identifier"), "{error}");
    }
}
