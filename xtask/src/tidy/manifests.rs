//! Rules on the manifest of a package, and on its README.

use toml::Table;

use super::Finding;
use crate::workspace::Package;

/// A package and the text of its manifest.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// Relative to the root.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) package: Package,
}

impl Manifest {
    /// The line that names a dependency, or the first.
    pub(crate) fn line_of(&self, dependency: &str) -> usize {
        let names = |line: &str| {
            line.strip_prefix(dependency)
                .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
        };
        self.text.lines().position(names).map_or(1, |at| at + 1)
    }

    /// Its folder, if it is one of the crates, and not the end-to-end tests or the tooling.
    pub(crate) fn folder_of_crate(&self) -> Option<&str> {
        let folder = self.path.strip_suffix("/Cargo.toml")?;
        folder.starts_with("crates/").then_some(folder)
    }
}

pub(crate) fn check(manifest: &Manifest, findings: &mut Vec<Finding>) {
    if manifest.package.publish != Some(Vec::new()) {
        findings.push(Finding {
            path: manifest.path.clone(),
            line: 1,
            wrong: "the package could be published by accident".to_owned(),
            remedy: "write `publish.workspace = true`: the release tool lifts it".to_owned(),
        });
    }
    if !inherits_lints(&manifest.text) {
        findings.push(Finding {
            path: manifest.path.clone(),
            line: 1,
            wrong: "the package does not take the lints of the workspace".to_owned(),
            remedy: "write `[lints]` and `workspace = true`".to_owned(),
        });
    }
}

fn inherits_lints(manifest: &str) -> bool {
    manifest
        .parse::<Table>()
        .ok()
        .and_then(|manifest| manifest.get("lints")?.get("workspace")?.as_bool())
        .unwrap_or(false)
}

/// The page of a crate is its documentation. `readme` and `library` are the texts of its `README.md` and `lib.rs`.
pub(crate) fn check_page(folder: &str, readme: &str, library: &str, findings: &mut Vec<Finding>) {
    if !readme.starts_with("# ") {
        findings.push(Finding {
            path: format!("{folder}/README.md"),
            line: 1,
            wrong: "the crate has no page that begins with its title".to_owned(),
            remedy: "write one: purpose, a first example, limits".to_owned(),
        });
    }
    if !library.starts_with("#![doc = include_str!(\"../README.md\")]\n") {
        findings.push(Finding {
            path: format!("{folder}/src/lib.rs"),
            line: 1,
            wrong: "the page of the crate is not its documentation".to_owned(),
            remedy: "begin with `#![doc = include_str!(\"../README.md\")]`".to_owned(),
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::workspace::Dependency;

    /// A manifest of crate `name` with dependencies such as `"hyper"`, `"dev hyper"` or `"tokio+net"`.
    pub(crate) fn manifest(name: &str, dependencies: &[&str]) -> Manifest {
        let mut text = format!("[package]\nname = {name:?}\n\n[dependencies]\n");
        let mut parsed = Vec::new();
        for dependency in dependencies {
            let (kind, dependency) = match dependency.split_once(' ') {
                Some((kind, dependency)) => (Some(kind.to_owned()), dependency),
                None => (None, *dependency),
            };
            let mut parts = dependency.split('+').map(str::to_owned);
            let name = parts.next().unwrap();
            text += &format!("{name} = {{ workspace = true }}\n");
            parsed.push(Dependency {
                name,
                kind,
                features: parts.collect(),
            });
        }
        Manifest {
            path: format!("crates/{name}/Cargo.toml"),
            text: text + "\n[lints]\nworkspace = true\n",
            package: Package {
                name: name.to_owned(),
                version: "0.1.0".to_owned(),
                manifest_path: format!("/crates/{name}/Cargo.toml").into(),
                rust_version: Some("1.95".to_owned()),
                publish: Some(Vec::new()),
                dependencies: parsed,
                features: BTreeMap::new(),
            },
        }
    }

    fn found(manifest: &Manifest) -> Vec<String> {
        let mut findings = Vec::new();
        check(manifest, &mut findings);
        findings.into_iter().map(|finding| finding.wrong).collect()
    }

    #[test]
    fn publishable_package_is_refused() {
        let mut audit = manifest("audit", &[]);
        assert_eq!(found(&audit), [""; 0]);
        audit.package.publish = None;
        assert_eq!(found(&audit).len(), 1);
        audit.package.publish = Some(vec!["some-registry".to_owned()]);
        assert_eq!(found(&audit).len(), 1);
    }

    #[test]
    fn package_without_workspace_lints_is_refused() {
        let wrong = ["the package does not take the lints of the workspace"];
        let mut audit = manifest("audit", &[]);
        audit.text = "[package]\nname = \"audit\"\n".to_owned();
        assert_eq!(found(&audit), wrong);
        audit.text = "[lints.rust]\nmissing_docs = \"warn\"\n".to_owned();
        assert_eq!(found(&audit), wrong);
        audit.text = "lints.workspace = true\n".to_owned();
        assert_eq!(found(&audit), [""; 0]);
    }

    #[test]
    fn readme_of_a_crate_is_its_documentation() {
        let found = |readme: &str, library: &str| {
            let mut findings = Vec::new();
            check_page("crates/audit", readme, library, &mut findings);
            findings
                .into_iter()
                .map(|finding| finding.path)
                .collect::<Vec<_>>()
        };
        let library = "#![doc = include_str!(\"../README.md\")]\n\nmod tree;\n";
        assert_eq!(found("# audit\n", library), [""; 0]);
        assert_eq!(found("", library), ["crates/audit/README.md"]);
        assert_eq!(found("# audit\n", "//! Audit.\n"), ["crates/audit/src/lib.rs"]);
    }

    #[test]
    fn line_of_a_dependency_is_found() {
        let audit = manifest("audit", &["tokio-rustls", "tokio"]);
        assert_eq!(audit.line_of("tokio"), 6);
        assert_eq!(audit.line_of("absent"), 1);
    }
}
