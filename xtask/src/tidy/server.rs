//! The rule on the server's binary: without the features `sim` and `chat` it links neither simulator nor terminal client.

use std::error::Error;
use std::path::Path;

use super::Finding;
use super::manifests::Manifest;
use crate::workspace;

const SERVER: &str = "guest-gateway";

/// The optional crates, each with the feature that adds it.
const OPTIONAL: [(&str, &str); 2] = [("genesys-sim", "sim"), ("guest-chat", "chat")];

pub(crate) fn check(
    root: &Path,
    manifests: &[Manifest],
    findings: &mut Vec<Finding>,
) -> Result<(), Box<dyn Error>> {
    let Some(server) = manifests.iter().find(|manifest| manifest.package.name == SERVER) else {
        return Ok(());
    };
    features(server, findings);
    let output = workspace::tool(root, "cargo")
        .args(["tree", "--offline", "--package", SERVER, "--no-default-features"])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .output()?;
    if !output.status.success() {
        return Err(format!("`cargo tree`: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    linked(server, &String::from_utf8_lossy(&output.stdout), findings);
    Ok(())
}

/// The features exist and are on by default.
fn features(server: &Manifest, findings: &mut Vec<Finding>) {
    let features = &server.package.features;
    for (name, feature) in OPTIONAL {
        let is_default = features
            .get("default")
            .is_some_and(|default| default.iter().any(|named| named == feature));
        if !features.contains_key(feature) || !is_default {
            findings.push(Finding {
                path: server.path.clone(),
                line: 1,
                wrong: format!("`{feature}` is not a default feature"),
                remedy: format!("add it to [features], with `dep:{name}`"),
            });
        }
    }
}

fn linked(server: &Manifest, tree: &str, findings: &mut Vec<Finding>) {
    for (name, feature) in OPTIONAL {
        if tree.lines().any(|line| line.split(' ').next() == Some(name)) {
            findings.push(Finding {
                path: server.path.clone(),
                line: server.line_of(name),
                wrong: format!("the server links `{name}` without the feature `{feature}`"),
                remedy: format!("make the dependency optional, behind `{feature}`"),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifests::tests::manifest;
    use super::*;

    #[test]
    fn linked_simulator_is_found() {
        let server = manifest(SERVER, &["genesys-sim"]);
        let found = |tree: &str| {
            let mut findings = Vec::new();
            linked(&server, tree, &mut findings);
            findings
                .into_iter()
                .map(|finding| finding.wrong)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            found("guest-gateway v0.1.0 (/a)\ngenesys-sim-data v1.0.0\n"),
            [""; 0]
        );
        assert_eq!(
            found("guest-gateway v0.1.0 (/a)\ngenesys-sim v0.1.0 (/b) (*)\n"),
            ["the server links `genesys-sim` without the feature `sim`"]
        );
    }

    #[test]
    fn missing_default_feature_is_found() {
        let mut server = manifest(SERVER, &[]);
        let mut findings = Vec::new();
        features(&server, &mut findings);
        assert_eq!(findings.len(), 2);
        let named = [
            ("default", vec!["sim", "chat"]),
            ("sim", vec![]),
            ("chat", vec![]),
        ];
        server.package.features = named
            .map(|(name, list)| (name.to_owned(), list.into_iter().map(str::to_owned).collect()))
            .into();
        findings.clear();
        features(&server, &mut findings);
        assert_eq!(findings, []);
    }
}
