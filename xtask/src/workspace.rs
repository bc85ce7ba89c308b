//! The packages and files of the workspace, and commands run in it.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use serde::Deserialize;

/// The folder of the root manifest.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// A package of the workspace.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) rust_version: Option<String>,
    /// The registries that it may be published to: an empty list allows none, no list allows any.
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

/// One dependency that a manifest names.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal dependency, else `"build"` or `"dev"`.
    pub(crate) kind: Option<String>,
    pub(crate) features: Vec<String>,
}

impl Dependency {
    pub(crate) fn is_for_tests(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// The packages of the workspace, in the order of their names.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>, Box<dyn Error>> {
    let output = tool(root, "cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "`cargo metadata` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
        .into());
    }
    let mut metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    metadata.packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(metadata.packages)
}

/// A path relative to the root, with `/` between its parts.
pub(crate) fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

/// Every file below `folder` with this extension, in a stable order, but for `target` and hidden folders.
pub(crate) fn files(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                if name != "target" && !name.to_string_lossy().starts_with('.') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The text of a file. A missing file reads as empty.
pub(crate) fn read_if_any(root: &Path, path: &str) -> io::Result<String> {
    match fs::read_to_string(root.join(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// A command at the root.
///
/// `cargo run` describes xtask in variables such as `CARGO_PKG_NAME`. A build script that watches them, as that of
/// `ring` does, would run again whenever a build started here follows one started in a shell. They are removed.
pub(crate) fn tool(root: &Path, program: &str) -> Command {
    let program = match program {
        "cargo" => env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        other => OsString::from(other),
    };
    let mut command = Command::new(program);
    command.current_dir(root);
    for (name, _) in env::vars_os() {
        if describes_xtask(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

fn describes_xtask(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_those_of_cargo() {
        let packages = packages(root()).unwrap();
        let own = packages.iter().find(|package| package.name == "xtask").unwrap();
        assert_eq!(relative(root(), &own.manifest_path), "xtask/Cargo.toml");
        assert!(
            own.dependencies
                .iter()
                .any(|dependency| dependency.name == "toml")
        );
    }

    #[test]
    fn files_are_found_below_a_folder_in_a_stable_order() {
        let found = files(&root().join("xtask"), "rs").unwrap();
        assert!(found.contains(&root().join("xtask/src/workspace.rs")));
        assert!(found.is_sorted());
    }

    #[test]
    fn tool_gets_no_variables_about_xtask() {
        let removed: Vec<_> = tool(root(), "cargo")
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.to_owned())
            .collect();
        assert!(removed.contains(&OsString::from("CARGO_PKG_NAME")));
        assert!(!removed.contains(&OsString::from("PATH")));
    }
}
