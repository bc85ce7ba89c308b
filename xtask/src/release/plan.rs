//! The crates of a release, in the order in which they are published.

use std::collections::BTreeSet;

use toml::Table;

use super::published;
use crate::workspace::Package;

/// One crate of a release.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Release {
    /// The name in the workspace.
    pub(crate) name: String,
    /// The name on the registry.
    pub(crate) published: String,
    pub(crate) version: String,
    /// The crates of the workspace that it is built with, by their names there.
    pub(crate) dependencies: BTreeSet<String>,
}

impl Release {
    /// The name of its archive.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}.crate", self.published, self.version)
    }

    /// Whether a project with these dependencies needs the crate `published`, directly or indirectly.
    pub(crate) fn needs(&self, published: &str, releases: &[Self], dependencies: &Table) -> bool {
        let mut open: Vec<&Self> = releases
            .iter()
            .filter(|release| dependencies.contains_key(&release.published))
            .collect();
        open.push(self);
        let mut seen = BTreeSet::new();
        while let Some(release) = open.pop() {
            if !seen.insert(release.published.as_str()) {
                continue;
            }
            open.extend(
                releases
                    .iter()
                    .filter(|other| release.dependencies.contains(&other.name)),
            );
        }
        seen.contains(published)
    }
}

/// The crates in an order in which each comes after its dependencies.
pub(crate) fn order(packages: &[Package]) -> Result<Vec<Release>, String> {
    let crates: Vec<&Package> = packages
        .iter()
        .filter(|package| {
            package
                .manifest_path
                .parent()
                .and_then(|folder| folder.parent())
                .is_some_and(|parent| parent.ends_with("crates"))
        })
        .collect();
    let names: BTreeSet<&str> = crates.iter().map(|package| package.name.as_str()).collect();
    let mut waiting: Vec<Release> = crates
        .iter()
        .map(|package| Release {
            name: package.name.clone(),
            published: published(&package.name).to_owned(),
            version: package.version.clone(),
            dependencies: package
                .dependencies
                .iter()
                .filter(|dependency| !dependency.is_for_tests() && names.contains(dependency.name.as_str()))
                .map(|dependency| dependency.name.clone())
                .collect(),
        })
        .collect();
    let mut ordered: Vec<Release> = Vec::new();
    while !waiting.is_empty() {
        let is_ready = |release: &Release| {
            release
                .dependencies
                .iter()
                .all(|name| ordered.iter().any(|done| done.name == *name))
        };
        let Some(at) = waiting.iter().position(is_ready) else {
            let names: Vec<&str> = waiting.iter().map(|release| release.name.as_str()).collect();
            return Err(format!("crates depend on each other: {}", names.join(", ")));
        };
        ordered.push(waiting.remove(at));
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn crate_is_published_after_its_dependencies() {
        let packages = workspace::packages(workspace::root()).unwrap();
        let ordered = order(&packages).unwrap();
        let at = |published: &str| {
            ordered
                .iter()
                .position(|release| release.published == published)
                .unwrap()
        };
        assert!(at("genesys-api") < at("guest-audit") && at("guest-audit") < at("guest-store"));
        assert!(at("guest-suite") < at("guest-gateway"));
        assert!(ordered.iter().all(|release| release.name != "xtask"));
    }

    #[test]
    fn circle_is_reported() {
        let mut packages = workspace::packages(workspace::root()).unwrap();
        let on_suite = packages
            .iter()
            .find(|package| package.name == "guest-gateway")
            .unwrap()
            .dependencies
            .iter()
            .find(|dependency| dependency.name == "guest-suite")
            .unwrap()
            .clone();
        let api = packages.iter_mut().find(|package| package.name == "genesys-api");
        api.unwrap().dependencies.push(on_suite);
        assert!(order(&packages).unwrap_err().contains("guest-suite"));
    }

    #[test]
    fn need_follows_dependencies() {
        let packages = workspace::packages(workspace::root()).unwrap();
        let ordered = order(&packages).unwrap();
        let audit = ordered.iter().find(|release| release.name == "audit").unwrap();
        let needs =
            |published: &str, listed: &str| audit.needs(published, &ordered, &listed.parse().unwrap());
        assert!(needs("guest-audit", "") && needs("genesys-api", ""));
        assert!(!needs("guest-store", "") && needs("guest-store", "guest-store.version = \"0.1\""));
    }
}
