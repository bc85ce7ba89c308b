//! The crates that are used alone have few dependencies.

use std::error::Error;
use std::path::Path;

use crate::workspace;

/// Measured without default features.
const LEAVES: [&str; 2] = ["guest-payload", "token-window"];

/// Each has fewer dependencies, direct and indirect, than this.
const BUDGET: usize = 25;

pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    for leaf in LEAVES {
        let output = workspace::tool(root, "cargo")
            .args(["tree", "--package", leaf, "--no-default-features"])
            .args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
            .output()?;
        if !output.status.success() {
            return Err(format!("`cargo tree`: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
        }
        let dependencies = dependencies(&String::from_utf8_lossy(&output.stdout));
        println!(
            "{leaf}: {} dependencies, budget under {BUDGET}",
            dependencies.len()
        );
        within_budget(leaf, &dependencies)?;
    }
    Ok(())
}

/// The crates below the first line of a tree, each once. Cargo marks repetitions with `(*)`.
fn dependencies(tree: &str) -> Vec<String> {
    let mut crates: Vec<String> = tree
        .lines()
        .skip(1)
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    crates.sort();
    crates.dedup();
    crates
}

fn within_budget(leaf: &str, dependencies: &[String]) -> Result<(), Box<dyn Error>> {
    if dependencies.len() < BUDGET {
        return Ok(());
    }
    Err(format!(
        "{leaf} alone depends on {} crates, and the budget is under {BUDGET}: make one optional, or drop it:\n  {}",
        dependencies.len(),
        dependencies.join("\n  ")
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependency_counts_once_and_the_leaf_not_at_all() {
        let tree = "a v1.0.0 (/a)\nb v1.0.0\nc v1.0.0 (proc-macro)\nb v1.0.0 (*)\nb v2.0.0\n\n";
        assert_eq!(
            dependencies(tree),
            ["b v1.0.0", "b v2.0.0", "c v1.0.0 (proc-macro)"]
        );
    }

    #[test]
    fn tree_over_the_budget_is_refused() {
        let crates: Vec<String> = (0..25).map(|at| format!("crate-{at}")).collect();
        assert!(within_budget("a", &crates[..24]).is_ok());
        let error = within_budget("a", &crates).unwrap_err().to_string();
        assert!(
            error.contains("25 crates") && error.contains("crate-24"),
            "{error}"
        );
    }
}
