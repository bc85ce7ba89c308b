//! `release`: a dry run of a release. It plans the order, stages the manifests, packages every crate, and runs the
//! first example of each against its package. It publishes nothing.

mod plan;
mod stage;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use self::plan::Release;
use crate::ci::examples;
use crate::projects::{Project, Projects};
use crate::{readme, workspace};

/// Crates whose name on the registry differs from the one in the workspace, where the registry has another crate.
pub(crate) const RENAMED: [(&str, &str); 2] = [("audit", "guest-audit"), ("webhook", "guest-webhook")];

/// The staged workspace, with one folder for each crate.
const STAGING: &str = "target/staging";

/// The unpacked packages.
const UNPACKED: &str = "target/staging-unpacked";

/// The empty projects with the first examples.
const EXAMPLES: &str = "target/staging-examples";

/// Performs the dry run.
pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let releases = plan::order(&workspace::packages(root)?)?;
    println!("-- order of publication");
    for (at, release) in releases.iter().enumerate() {
        println!("{:3}  {} {}", at + 1, release.published, release.version);
    }
    println!("-- staging in {STAGING}");
    let staging = root.join(STAGING);
    stage::write(root, &staging, &releases)?;
    println!("-- packages");
    if root.join(UNPACKED).exists() {
        fs::remove_dir_all(root.join(UNPACKED))?;
    }
    let status = workspace::tool(root, "cargo")
        .current_dir(&staging)
        // the examples compile each package, and share what they build
        .args([
            "package",
            "--workspace",
            "--allow-dirty",
            "--no-verify",
            "--quiet",
        ])
        .env("CARGO_TARGET_DIR", root.join("target"))
        .status()?;
    if !status.success() {
        return Err(format!("`cargo package` in {STAGING} ended with {status}").into());
    }
    for release in &releases {
        let archive = root.join("target/package").join(release.file_name());
        let size = fs::metadata(&archive)
            .map_err(|error| format!("{}: {error}", archive.display()))?
            .len();
        println!("  {:6} KiB  {}", size.div_ceil(1024), release.file_name());
        unpack(root, &archive)?;
    }
    println!("-- first examples against the packages");
    run_examples(root, &releases)?;
    println!("nothing was published: RELEASING.md lists the remaining steps");
    Ok(())
}

fn unpack(root: &Path, archive: &Path) -> Result<(), Box<dyn Error>> {
    let folder = root.join(UNPACKED);
    fs::create_dir_all(&folder)?;
    let status = workspace::tool(root, "tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(&folder)
        .status()
        .map_err(|error| format!("cannot run tar: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{}: tar ended with {status}", archive.display()).into())
}

/// The folder of an unpacked package.
fn unpacked(root: &Path, release: &Release) -> PathBuf {
    root.join(UNPACKED)
        .join(format!("{}-{}", release.published, release.version))
}

fn run_examples(root: &Path, releases: &[Release]) -> Result<(), Box<dyn Error>> {
    let domains = examples::genesys_domains(root)?;
    let patches: Table = releases
        .iter()
        .map(|release| {
            let path = unpacked(root, release).display().to_string();
            let patch = Table::from_iter([("path".to_owned(), Value::String(path))]);
            (release.published.clone(), Value::Table(patch))
        })
        .collect();
    let mut failures = 0;
    for release in releases {
        match run_example(root, release, releases, &patches, &domains) {
            Ok(result) => println!("  {}: {result}", release.published),
            Err(error) => {
                failures += 1;
                println!("  {}: {error}", release.published);
            }
        }
    }
    if failures > 0 {
        return Err(format!("{failures} first examples fail against their packages").into());
    }
    Ok(())
}

fn run_example(
    root: &Path,
    release: &Release,
    releases: &[Release],
    patches: &Table,
    domains: &[String],
) -> Result<&'static str, Box<dyn Error>> {
    let readme = fs::read_to_string(unpacked(root, release).join("README.md"))?;
    let example = readme::first_example(&readme).map_err(|error| format!("README.md:{error}"))?;
    let project = Project {
        name: release.published.clone(),
        dependencies: example.dependencies.clone(),
        code: example.code.clone(),
    };
    let mut needed = patches.clone();
    needed.retain(|name, _| release.needs(name, releases, &example.dependencies));
    let folder = format!("{EXAMPLES}/{}", release.published);
    let projects = Projects::generate(root, &folder, &[project], needed)?;
    Ok(examples::build_and_run(
        &projects,
        &release.published,
        &example,
        domains,
    )?)
}

/// The name of a crate on the registry.
pub(crate) fn published(name: &str) -> &str {
    RENAMED
        .iter()
        .find(|(own, _)| *own == name)
        .map_or(name, |(_, published)| published)
}
