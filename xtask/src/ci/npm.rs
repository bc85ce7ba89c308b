//! The npm package of the browser client: `npm pack` takes the files that its manifest exports, and no others, and its
//! version is that of the crates.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::workspace;

const PACKAGE: &str = "clients/browser";

/// Files that npm takes beyond the exported ones.
const ALWAYS: [&str; 4] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "package.json"];

pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let folder = root.join(PACKAGE);
    let manifest: Value = serde_json::from_str(&fs::read_to_string(folder.join("package.json"))?)?;
    let output = workspace::tool(&folder, "npm")
        .args(["pack", "--dry-run", "--json", "--offline", "--ignore-scripts"])
        .output()
        .map_err(|error| {
            format!("cannot run npm: {error}: `.ci/run npm` installs it, as does `apt-get install npm`")
        })?;
    if !output.status.success() {
        return Err(format!("npm pack: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let packed = packed_files(&serde_json::from_slice(&output.stdout)?)?;
    let expected = exported_files(&manifest);
    if packed != expected {
        return Err(format!(
            "{PACKAGE}: `npm pack` takes {packed:?}, and the exports need {expected:?}: correct `files` in package.json"
        )
        .into());
    }
    let version = workspace::packages(root)?
        .into_iter()
        .find(|package| package.name == "guest-gateway")
        .map(|package| package.version)
        .ok_or("no package guest-gateway in the workspace")?;
    if manifest["version"] != version {
        return Err(format!(
            "{PACKAGE}/package.json: version {}, and the crates have {version}: make them agree",
            manifest["version"]
        )
        .into());
    }
    println!("{PACKAGE} {version}: {}", Vec::from_iter(packed).join(", "));
    Ok(())
}

/// The paths in the answer of `npm pack --json`, a list with one package.
fn packed_files(answer: &Value) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let files = answer[0]["files"]
        .as_array()
        .ok_or("npm pack returned no list of files")?;
    Ok(files
        .iter()
        .filter_map(|file| file["path"].as_str())
        .map(str::to_owned)
        .collect())
}

/// The targets of all exports and their conditions, and what npm always takes.
fn exported_files(manifest: &Value) -> BTreeSet<String> {
    let mut files: BTreeSet<String> = ALWAYS.map(str::to_owned).into();
    let mut rest = vec![&manifest["exports"]];
    while let Some(value) = rest.pop() {
        match value {
            Value::String(path) => {
                files.insert(path.trim_start_matches("./").to_owned());
            }
            Value::Object(conditions) => rest.extend(conditions.values()),
            _ => {}
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn exported_files_are_the_targets_of_all_conditions() {
        let manifest =
            json!({ "exports": { ".": { "types": "./a.d.ts", "default": "./a.js" }, "./b": "./b.js" } });
        let files = Vec::from_iter(exported_files(&manifest));
        let licenses = ["LICENSE-APACHE", "LICENSE-MIT"];
        let rest = ["README.md", "a.d.ts", "a.js", "b.js", "package.json"];
        assert_eq!(files, [&licenses[..], &rest].concat());
    }

    #[test]
    fn packed_files_are_the_paths_of_the_answer() {
        let answer = json!([{ "files": [{ "path": "a.js", "size": 1 }] }]);
        assert_eq!(Vec::from_iter(packed_files(&answer).unwrap()), ["a.js"]);
        assert!(packed_files(&json!([])).is_err());
    }
}
