//! The staged workspace: a copy of the crates with the manifests that are published.

use std::error::Error;
use std::path::Path;
use std::{fs, io};

use toml::{Table, Value};

use super::plan::Release;

/// Folders of a crate that a package leaves out: its tests need crates that are published later.
const LEFT_OUT: [&str; 2] = ["tests", "benches"];

/// Writes the staged workspace.
pub(crate) fn write(root: &Path, staging: &Path, releases: &[Release]) -> Result<(), Box<dyn Error>> {
    if staging.exists() {
        fs::remove_dir_all(staging)?;
    }
    fs::create_dir_all(staging)?;
    let ours: Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
    fs::write(
        staging.join("Cargo.toml"),
        workspace_manifest(&ours, releases)?.to_string(),
    )?;
    fs::copy(root.join("Cargo.lock"), staging.join("Cargo.lock"))?;
    for release in releases {
        let from = root.join("crates").join(&release.name);
        let to = staging.join(&release.published);
        copy(&from, &to)?;
        for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
            fs::copy(root.join(license), to.join(license))?;
        }
        let manifest: Table = fs::read_to_string(from.join("Cargo.toml"))?.parse()?;
        fs::write(
            to.join("Cargo.toml"),
            crate_manifest(&manifest, release, releases).to_string(),
        )?;
    }
    Ok(())
}

/// The root manifest: the crates under their published names, and nothing that forbids publication.
fn workspace_manifest(ours: &Table, releases: &[Release]) -> Result<Table, Box<dyn Error>> {
    let mut manifest = ours.clone();
    let workspace = manifest
        .get_mut("workspace")
        .and_then(Value::as_table_mut)
        .ok_or("Cargo.toml has no [workspace]")?;
    workspace.remove("default-members");
    let members = releases
        .iter()
        .map(|release| Value::String(release.published.clone()));
    workspace.insert("members".to_owned(), Value::Array(members.collect()));
    if let Some(package) = workspace.get_mut("package").and_then(Value::as_table_mut) {
        package.remove("publish");
    }
    let dependencies = workspace.get_mut("dependencies").and_then(Value::as_table_mut);
    for (name, dependency) in dependencies.into_iter().flatten() {
        if let Some(release) = releases.iter().find(|release| release.name == *name)
            && let Some(dependency) = dependency.as_table_mut()
        {
            dependency.insert("path".to_owned(), Value::String(release.published.clone()));
            dependency.insert("package".to_owned(), Value::String(release.published.clone()));
        }
    }
    Ok(manifest)
}

/// The manifest of a crate: renamed, publishable, and without the dependencies of its tests on our crates.
fn crate_manifest(ours: &Table, release: &Release, releases: &[Release]) -> Table {
    let mut manifest = ours.clone();
    if let Some(package) = manifest.get_mut("package").and_then(Value::as_table_mut) {
        package.insert("name".to_owned(), Value::String(release.published.clone()));
        package.remove("publish");
    }
    if release.name != release.published {
        let library = manifest
            .entry("lib")
            .or_insert_with(|| Value::Table(Table::new()));
        if let Some(library) = library.as_table_mut() {
            library.insert("name".to_owned(), Value::String(release.name.replace('-', "_")));
        }
    }
    if let Some(dependencies) = manifest.get_mut("dev-dependencies").and_then(Value::as_table_mut) {
        dependencies.retain(|name, _| releases.iter().all(|release| release.name != *name));
    }
    manifest.remove("test");
    manifest.remove("bench");
    manifest
}

/// Copies a crate without its tests.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if LEFT_OUT.iter().any(|folder| name == *folder) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(name))?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn releases() -> Vec<Release> {
        ["webhook", "genesys-api"]
            .map(|name| Release {
                name: name.to_owned(),
                published: super::super::published(name).to_owned(),
                version: "0.1.0".to_owned(),
                dependencies: BTreeSet::new(),
            })
            .into()
    }

    #[test]
    fn staged_workspace_names_published_crates() {
        let ours = "[workspace]\nmembers = [\"crates/webhook\", \"xtask\"]\ndefault-members = [\"x\"]\n\
                    [workspace.package]\nversion = \"0.1.0\"\npublish = false\n\
                    [workspace.dependencies]\nserde = \"1\"\n\
                    webhook = { path = \"crates/webhook\", version = \"0.1.0\" }\n";
        let staged = workspace_manifest(&ours.parse().unwrap(), &releases()).unwrap();
        let expected = "[workspace]\nmembers = [\"guest-webhook\", \"genesys-api\"]\n\
                        [workspace.package]\nversion = \"0.1.0\"\n\
                        [workspace.dependencies]\nserde = \"1\"\n\
                        webhook = { path = \"guest-webhook\", version = \"0.1.0\", package = \"guest-webhook\" }\n";
        assert_eq!(staged, expected.parse().unwrap());
        assert!(workspace_manifest(&Table::new(), &[]).is_err());
    }

    #[test]
    fn renamed_crate_keeps_the_name_of_its_library() {
        let ours = "[package]\nname = \"webhook\"\npublish.workspace = true\n[dependencies]\ngenesys-api = \"1\"\n\
                    [dev-dependencies]\ngenesys-api = \"1\"\nproptest = \"1\"\n[[test]]\nname = \"it\"\n";
        let staged = crate_manifest(&ours.parse().unwrap(), &releases()[0], &releases());
        let expected = "[package]\nname = \"guest-webhook\"\n[lib]\nname = \"webhook\"\n\
                        [dependencies]\ngenesys-api = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n";
        assert_eq!(staged, expected.parse().unwrap());
    }
}
