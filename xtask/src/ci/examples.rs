//! The first example of each crate, built and run as its README shows it.
//!
//! Each example becomes a generated package with the dependencies that the README lists, read from the workspace.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use crate::projects::{Project, Projects};
use crate::readme::{self, Example};
use crate::release::RENAMED;
use crate::tidy::Source;
use crate::workspace::{self, Package};

/// The types that a first example may import.
const MAX_TYPES: usize = 5;

const FOLDER: &str = "target/ci/examples";

/// Checks, builds and runs the example of one crate, or of all if `only` is `None`.
pub(crate) fn run(root: &Path, only: Option<&str>) -> Result<(), Box<dyn Error>> {
    let crates: Vec<Package> = workspace::packages(root)?
        .into_iter()
        .filter(|package| workspace::relative(root, &package.manifest_path).starts_with("crates/"))
        .collect();
    let domains = genesys_domains(root)?;
    let mut findings = Vec::new();
    let mut projects = Vec::new();
    let mut examples = Vec::new();
    for package in crates
        .iter()
        .filter(|package| only.is_none_or(|only| package.name == only))
    {
        let page = format!("crates/{}/README.md", package.name);
        match prepare(root, &page, &crates) {
            Ok((example, dependencies)) => {
                projects.push(Project {
                    name: package.name.clone(),
                    dependencies,
                    code: example.code.clone(),
                });
                examples.push((page, example));
            }
            Err(found) => findings.extend(found),
        }
    }
    let generated = Projects::generate(root, FOLDER, &projects, Table::new())?;
    for (project, (page, example)) in projects.iter().zip(&examples) {
        match build_and_run(&generated, &project.name, example, &domains) {
            Ok(result) => println!(
                "{}: {} types, {result}",
                project.name,
                imported_types(example).len()
            ),
            Err(error) => findings.push(format!("{page}:{}: {error}", example.line)),
        }
    }
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(format!("{} findings in first examples", findings.len()).into())
}

/// Builds an example and runs it, but for one that names a host of Genesys Cloud. Returns the last step.
pub(crate) fn build_and_run(
    projects: &Projects,
    name: &str,
    example: &Example,
    domains: &[String],
) -> Result<&'static str, String> {
    projects.build(name)?;
    if domains.iter().any(|domain| example.code.contains(domain)) {
        return Ok("built");
    }
    projects.run(name)?;
    Ok("ran")
}

/// Reads an example and checks what needs no build. Returns it with the dependencies for the generated package.
fn prepare(root: &Path, page: &str, crates: &[Package]) -> Result<(Example, Table), Vec<String>> {
    let text = workspace::read_if_any(root, page).map_err(|error| vec![format!("{page}: {error}")])?;
    let example = readme::first_example(&text).map_err(|error| vec![format!("{page}:{error}")])?;
    let mut findings = Vec::new();
    let types = imported_types(&example);
    if types.len() > MAX_TYPES {
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        findings.push(format!(
            "{page}:{}: the example names {} types, at most {MAX_TYPES}: {}",
            example.line,
            types.len(),
            types.join(", ")
        ));
    }
    match local(root, &example.dependencies, crates) {
        Ok(dependencies) if findings.is_empty() => Ok((example, dependencies)),
        Ok(_) => Err(findings),
        Err(reason) => {
            findings.push(format!("{page}:{}: {reason}", example.line));
            Err(findings)
        }
    }
}

/// The types that an example imports, or names by a path into one of its dependencies.
fn imported_types(example: &Example) -> BTreeSet<String> {
    let code = Source::new(String::new(), example.code.clone()).code;
    let mut types = BTreeSet::new();
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        match statement.find("use ") {
            Some(at)
                if statement[..at].trim_end().is_empty()
                    || statement[..at].ends_with(['\n', ' ', '{', '}']) =>
            {
                rest.push_str(&statement[..at]);
                types.extend(
                    leaves(&statement[at + 4..])
                        .into_iter()
                        .filter(|name| is_type(name)),
                );
            }
            _ => rest.push_str(statement),
        }
    }
    for path in rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':') {
        let mut parts = path.split("::");
        let first = parts.next().unwrap_or_default();
        let is_dependency = example
            .dependencies
            .keys()
            .any(|name| library(name).replace('-', "_") == first);
        if is_dependency && let Some(name) = parts.find(|part| is_type(part)) {
            types.insert(name.to_owned());
        }
    }
    types
}

/// The last parts of the paths of a `use`: `B` and `D` of `a::{B, c::D as E};`.
fn leaves(tree: &str) -> Vec<String> {
    tree.split([',', '{', '}', ';'])
        .map(|path| path.split(" as ").next().unwrap_or(path))
        .filter_map(|path| path.trim().rsplit("::").next())
        .map(|leaf| leaf.trim().to_owned())
        .filter(|leaf| !leaf.is_empty())
        .collect()
}

/// Whether a name is written as types are. A glob counts, because a reader cannot count it.
fn is_type(name: &str) -> bool {
    let is_constant = name.len() > 1 && !name.contains(char::is_lowercase);
    name == "*" || name.starts_with(char::is_uppercase) && !is_constant
}

/// The name of the library of a crate on the registry.
fn library(published: &str) -> &str {
    RENAMED
        .iter()
        .find(|(_, renamed)| *renamed == published)
        .map_or(published, |(name, _)| name)
}

/// The listed dependencies, with those of the workspace read from their folders.
fn local(root: &Path, listed: &Table, crates: &[Package]) -> Result<Table, String> {
    let mut dependencies = Table::new();
    for (key, value) in listed {
        let mut detailed = value.as_table().cloned().unwrap_or_default();
        let published = match detailed.remove("package") {
            Some(package) => package.as_str().unwrap_or_default().to_owned(),
            None => key.clone(),
        };
        if let Some((_, renamed)) = RENAMED.iter().find(|(name, _)| *name == published) {
            return Err(format!(
                "lists `{published}`, which is another crate on the registry: ours is `{renamed}`"
            ));
        }
        let own = crates.iter().find(|package| package.name == library(&published));
        let Some(own) = own else {
            if published != *key {
                detailed.insert("package".to_owned(), Value::String(published));
            }
            dependencies.insert(key.clone(), Value::Table(detailed));
            continue;
        };
        let version = detailed.remove("version");
        let version = version.as_ref().and_then(Value::as_str).unwrap_or("*");
        if version != "*" && !own.version.starts_with(version.trim_start_matches(['^', '='])) {
            return Err(format!(
                "lists `{published}` {version}, and its version is {}",
                own.version
            ));
        }
        let folder = own.manifest_path.parent().unwrap_or(root);
        detailed.insert("path".to_owned(), Value::String(folder.display().to_string()));
        let key = if *key == published {
            own.name.clone()
        } else {
            key.clone()
        };
        detailed.insert("package".to_owned(), Value::String(own.name.clone()));
        dependencies.insert(key, Value::Table(detailed));
    }
    Ok(dependencies)
}

/// The domains of Genesys Cloud. An example that names one of them needs an account.
pub(crate) fn genesys_domains(root: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let regions: Table = fs::read_to_string(root.join("spec/regions.toml"))?.parse()?;
    let regions = regions.get("region").and_then(Value::as_array);
    Ok(regions
        .into_iter()
        .flatten()
        .filter_map(|region| Some(region.get("domain")?.as_str()?.to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(dependencies: &str, code: &str) -> Example {
        Example {
            line: 1,
            code: code.to_owned(),
            dependencies: dependencies.parse().unwrap(),
        }
    }

    fn types(code: &str) -> Vec<String> {
        let dependencies = "guest-webhook.version = \"1\"\ntoken-window.version = \"1\"";
        imported_types(&example(dependencies, code)).into_iter().collect()
    }

    #[test]
    fn imported_types_are_counted_once() {
        let code = "use std::time::{Duration, Instant};\nuse webhook::{self, Verifier as V, sign, MAX_SIZE};\n\
                    use x::prelude::*;\n\nfn main() {\n    // use a::B;\n    let because = \"use a::C;\";\n    \
                    Duration::ZERO;\n}\n";
        assert_eq!(types(code), ["*", "Duration", "Instant", "Verifier"]);
        assert_eq!(
            types("fn main() {\n    use a::B;\n    let reuse = C::d();\n}\n"),
            ["B"]
        );
    }

    #[test]
    fn types_named_by_path_into_a_dependency_are_counted() {
        let code = "fn main() -> Result<(), Box<dyn std::error::Error>> {\n    \
                    webhook::Verifier::new(token_window::sub::Window::default(), token_window::free());\n}\n";
        assert_eq!(types(code), ["Verifier", "Window"]);
    }

    #[test]
    fn dependencies_of_the_workspace_come_from_their_folders() {
        let root = workspace::root();
        let crates = workspace::packages(root).unwrap();
        let listed = "guest-webhook = { version = \"0.1\", features = [\"client\"] }\ntokio.version = \"1\"";
        let found = local(root, &listed.parse().unwrap(), &crates).unwrap();
        let webhook = found["webhook"].as_table().unwrap();
        assert_eq!(
            webhook["path"].as_str().unwrap(),
            root.join("crates/webhook").display().to_string()
        );
        assert_eq!(
            (webhook["package"].as_str(), webhook.get("version")),
            (Some("webhook"), None)
        );
        assert!(webhook.contains_key("features"));
        assert_eq!(found["tokio"]["version"].as_str(), Some("1"));
        for (listed, wrong) in [
            ("webhook.version = \"0.1\"", "`guest-webhook`"),
            ("token-window.version = \"9\"", "its version is"),
        ] {
            let error = local(root, &listed.parse().unwrap(), &crates).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn domains_of_genesys_are_known() {
        let domains = genesys_domains(workspace::root()).unwrap();
        assert!(domains.contains(&"mypurecloud.ie".to_owned()));
    }
}
