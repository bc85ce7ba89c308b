//! `tidy`: rules of the repository that neither the compiler nor clippy checks. Each is a function from plain inputs to
//! findings, with a test in which it is broken.

mod exceptions;
mod language;
mod layers;
mod manifests;
mod modules;
mod policies;
mod server;
mod source;
mod text;

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::{fs, io};

use time::OffsetDateTime;

use self::language::Vocabulary;
use self::manifests::Manifest;
pub(crate) use self::source::Source;
use crate::{codegen, workspace};

/// A violation of a rule.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) wrong: String,
    pub(crate) remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.wrong, self.remedy)
    }
}

/// Prints every finding, and fails if there is one.
pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let sources = sources(root)?;
    let manifests = manifests(root)?;
    let mut findings = Vec::new();
    for source in &sources {
        modules::check(source, &mut findings);
        text::check(source, &mut findings);
        exceptions::check(source, &mut findings);
    }
    for manifest in &manifests {
        manifests::check(manifest, &mut findings);
    }
    layers::check(&manifests, &mut findings);
    layers::check_table(&manifests, &mut findings);
    server::check(root, &manifests, &mut findings)?;
    check_pages(root, &manifests, &mut findings)?;
    check_policies(root, &mut findings)?;
    check_generated(root, &sources, &mut findings)?;
    findings.extend(
        language_findings(root, &sources)?
            .into_iter()
            .filter(|finding| language::covers(&finding.path)),
    );

    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, no findings", sources.len() + manifests.len());
        return Ok(());
    }
    Err(format!("tidy: {} findings", findings.len()).into())
}

fn language_findings(root: &Path, sources: &[Source]) -> Result<Vec<Finding>, Box<dyn Error>> {
    let vocabulary = Vocabulary::parse(include_str!("tidy/vocabulary.toml"))?;
    let mut findings = Vec::new();
    for source in sources {
        // the rules have to name the words in their tests
        if source.path != "xtask/src/tidy/language.rs" {
            language::check(source, &vocabulary, &mut findings);
        }
    }
    for extension in ["md", "toml", "js", "ts"] {
        for path in workspace::files(root, extension)? {
            let name = workspace::relative(root, &path);
            if name != "xtask/src/tidy/vocabulary.toml" {
                language::check_prose(&name, &fs::read_to_string(&path)?, &vocabulary, &mut findings);
            }
        }
    }
    Ok(findings)
}

fn sources(root: &Path) -> io::Result<Vec<Source>> {
    workspace::files(root, "rs")?
        .iter()
        .map(|path| {
            Ok(Source::new(
                workspace::relative(root, path),
                fs::read_to_string(path)?,
            ))
        })
        .collect()
}

fn manifests(root: &Path) -> Result<Vec<Manifest>, Box<dyn Error>> {
    let mut manifests = Vec::new();
    for package in workspace::packages(root)? {
        let path = workspace::relative(root, &package.manifest_path);
        let text = fs::read_to_string(&package.manifest_path)?;
        manifests.push(Manifest { path, text, package });
    }
    Ok(manifests)
}

/// The files that are neither Rust nor the manifest of a package.
fn check_pages(
    root: &Path,
    manifests: &[Manifest],
    findings: &mut Vec<Finding>,
) -> Result<(), Box<dyn Error>> {
    let rust_version = manifests
        .iter()
        .find_map(|manifest| manifest.package.rust_version.as_deref())
        .ok_or("no package has a rust-version: set it in [workspace.package]")?;
    text::check_readme(
        &workspace::read_if_any(root, "README.md")?,
        rust_version,
        findings,
    );
    exceptions::check_deny(
        "deny.toml",
        &fs::read_to_string(root.join("deny.toml"))?,
        findings,
    )?;
    exceptions::check_lints(
        "Cargo.toml",
        &fs::read_to_string(root.join("Cargo.toml"))?,
        findings,
    );
    for manifest in manifests {
        exceptions::check_lints(&manifest.path, &manifest.text, findings);
        if let Some(folder) = manifest.folder_of_crate() {
            let readme = workspace::read_if_any(root, &format!("{folder}/README.md"))?;
            let library = workspace::read_if_any(root, &format!("{folder}/src/lib.rs"))?;
            manifests::check_page(folder, &readme, &library, findings);
        }
    }
    for path in workspace::files(root, "md")? {
        exceptions::check_doctests(
            &workspace::relative(root, &path),
            &fs::read_to_string(&path)?,
            findings,
        );
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a policy ends on a day: this tool is its own driver, and its rules take the day"
)]
fn check_policies(root: &Path, findings: &mut Vec<Finding>) -> io::Result<()> {
    let today = OffsetDateTime::now_utc().date();
    for path in workspace::files(&root.join("crates/guest-payload/policies"), "toml")? {
        let text = fs::read_to_string(&path)?;
        policies::check(&workspace::relative(root, &path), &text, today, findings);
    }
    Ok(())
}

fn check_generated(
    root: &Path,
    sources: &[Source],
    findings: &mut Vec<Finding>,
) -> Result<(), Box<dyn Error>> {
    for (artifact, _) in codegen::stale(root, codegen::ARTIFACTS)? {
        findings.push(Finding {
            path: artifact.output.to_owned(),
            line: 1,
            wrong: format!("stale: it is not what {} generates", artifact.sources.join(", ")),
            remedy: "run `cargo xtask codegen`".to_owned(),
        });
    }
    let outputs: Vec<&str> = codegen::ARTIFACTS
        .iter()
        .map(|artifact| artifact.output)
        .collect();
    for source in sources {
        modules::check_orphan(source, &outputs, findings);
    }
    Ok(())
}
