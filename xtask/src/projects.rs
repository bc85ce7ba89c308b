//! Generated packages below `target/`, built and run one by one, so that none gets a feature from another one.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use toml::{Table, Value};

use crate::workspace;

/// The longest run of a program.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// One package with one program.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    pub(crate) name: String,
    pub(crate) dependencies: Table,
    pub(crate) code: String,
}

/// A workspace of generated packages.
#[derive(Debug)]
pub(crate) struct Projects {
    root: PathBuf,
    folder: PathBuf,
}

impl Projects {
    /// Writes the packages, with the profiles and the lock file of our workspace. `patches` replace crates of the
    /// registry.
    pub(crate) fn generate(
        root: &Path,
        folder: &str,
        projects: &[Project],
        patches: Table,
    ) -> Result<Self, Box<dyn Error>> {
        let folder = root.join(folder);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let ours: Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
        let mut manifest = Table::new();
        if let Some(profile) = ours.get("profile") {
            manifest.insert("profile".to_owned(), profile.clone());
        }
        if !patches.is_empty() {
            let registry = Table::from_iter([("crates-io".to_owned(), Value::Table(patches))]);
            manifest.insert("patch".to_owned(), Value::Table(registry));
        }
        let members: Vec<&str> = projects.iter().map(|project| project.name.as_str()).collect();
        fs::write(
            folder.join("Cargo.toml"),
            format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n\n{manifest}"),
        )?;
        fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
        for project in projects {
            let package = folder.join(&project.name);
            let dependencies = Table::from_iter([(
                "dependencies".to_owned(),
                Value::Table(project.dependencies.clone()),
            )]);
            fs::create_dir_all(package.join("src"))?;
            fs::write(
                package.join("Cargo.toml"),
                format!(
                    "[package]\nname = \"example-{}\"\nedition = \"2024\"\n\n{dependencies}",
                    project.name
                ),
            )?;
            fs::write(package.join("src/main.rs"), &project.code)?;
        }
        Ok(Self {
            root: root.to_owned(),
            folder,
        })
    }

    /// Builds one package, with the artifacts of our workspace as far as they fit.
    pub(crate) fn build(&self, name: &str) -> Result<(), String> {
        let status = workspace::tool(&self.root, "cargo")
            .current_dir(&self.folder)
            .args(["build", "--quiet", "--package", &format!("example-{name}")])
            .env("CARGO_TARGET_DIR", self.root.join("target"))
            .status()
            .map_err(|error| error.to_string())?;
        if status.success() {
            return Ok(());
        }
        Err("the example does not compile as shown: see above".to_owned())
    }

    /// Runs the program of one package in its folder.
    pub(crate) fn run(&self, name: &str) -> Result<(), String> {
        let folder = self.folder.join(name);
        let program = self.root.join("target/debug").join(format!("example-{name}"));
        run_limited(Command::new(program).current_dir(&folder), &folder, TIME_LIMIT).map_err(|reason| {
            let output = fs::read_to_string(folder.join("output")).unwrap_or_default();
            format!("the example {reason}:\n{}", output.trim_end())
        })
    }
}

/// Runs a program with its output in the file `output` of `folder`.
fn run_limited(command: &mut Command, folder: &Path, limit: Duration) -> Result<(), String> {
    let output = File::create(folder.join("output")).map_err(|error| error.to_string())?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("does not start: {error}"))?;
    let step = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("ended with {status}")),
            None if waited >= limit => {
                child.kill().map_err(|error| error.to_string())?;
                child.wait().map_err(|error| error.to_string())?;
                return Err(format!("did not end within {} s", limit.as_secs()));
            }
            None => {
                thread::sleep(step);
                waited += step;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_that_fails_or_does_not_end_is_reported() {
        let folder = workspace::root().join("target/ci/run-limited");
        fs::create_dir_all(&folder).unwrap();
        let run = |program: &str, limit| run_limited(&mut Command::new(program), &folder, limit);
        assert_eq!(run("true", TIME_LIMIT), Ok(()));
        assert!(run("false", TIME_LIMIT).unwrap_err().contains("ended with"));
        assert!(run("yes", Duration::ZERO).unwrap_err().contains("within 0 s"));
        assert!(
            run("no-such-program", TIME_LIMIT)
                .unwrap_err()
                .contains("does not start")
        );
    }

    #[test]
    fn generated_workspace_has_profiles_and_patches() {
        let project = Project {
            name: "a".to_owned(),
            dependencies: "b.version = \"1\"".parse().unwrap(),
            code: "fn main() {}\n".to_owned(),
        };
        let patches = "b.path = \"/b\"".parse().unwrap();
        let projects =
            Projects::generate(workspace::root(), "target/ci/generated", &[project], patches).unwrap();
        let read = |path: &str| -> Table {
            fs::read_to_string(projects.folder.join(path))
                .unwrap()
                .parse()
                .unwrap()
        };
        let manifest = read("Cargo.toml");
        assert_eq!(manifest["patch"]["crates-io"]["b"]["path"].as_str(), Some("/b"));
        assert!(manifest["profile"].get("dev").is_some());
        let member = read("a/Cargo.toml");
        assert_eq!(member["package"]["name"].as_str(), Some("example-a"));
        assert_eq!(member["dependencies"]["b"]["version"].as_str(), Some("1"));
    }
}
