//! The first example of a crate's README, and the dependencies that the README lists for it.
//!
//! The block directly above the example lists the dependencies: `toml` with a table `[dependencies]`, or `sh` with
//! lines of `cargo add`.

use std::fmt;

use toml::{Table, Value};

/// The first Rust block of a README.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Example {
    /// The line of its fence, counted from 1.
    pub(crate) line: usize,
    pub(crate) code: String,
    /// A table as `[dependencies]` of a manifest holds it. Versions that the README leaves open are `*`.
    pub(crate) dependencies: Table,
}

/// An example that cannot be copied from the page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unusable {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) reason: String,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.reason)
    }
}

/// Reads the first example of a README.
pub(crate) fn first_example(readme: &str) -> Result<Example, Unusable> {
    let unusable = |line: usize, reason: &str| Unusable {
        line,
        reason: reason.to_owned(),
    };
    let blocks = blocks(readme);
    let at = blocks
        .iter()
        .position(|block| block.language() == "rust")
        .ok_or_else(|| unusable(1, "has no Rust block: show a first example"))?;
    let block = &blocks[at];
    if block.info.split([',', ' ']).any(is_not_run) {
        return Err(unusable(block.line, "the example is marked as one that fails"));
    }
    if let Some(hidden) = block.lines.iter().position(|line| is_hidden(line)) {
        return Err(unusable(
            block.line + 1 + hidden,
            "a hidden line: show it, or write the example so that it is not needed",
        ));
    }
    let code = block.lines.join("\n") + "\n";
    if !code.contains("fn main()") {
        return Err(unusable(
            block.line,
            "the example has no `fn main()`: a reader copies it into src/main.rs",
        ));
    }
    let dependencies = at
        .checked_sub(1)
        .and_then(|above| dependencies(&blocks[above]))
        .ok_or_else(|| {
            unusable(
                block.line,
                "no dependencies: the block directly above is `toml` with [dependencies], or `sh` with `cargo add`",
            )
        })?
        .map_err(|reason| unusable(blocks[at - 1].line, &reason))?;
    Ok(Example {
        line: block.line,
        code,
        dependencies,
    })
}

struct Block<'a> {
    /// Counted from 1.
    line: usize,
    info: &'a str,
    lines: Vec<&'a str>,
}

impl Block<'_> {
    fn language(&self) -> &str {
        self.info.split([',', ' ']).next().unwrap_or_default()
    }
}

fn blocks(readme: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut is_open = false;
    for (at, line) in readme.lines().enumerate() {
        match (line.strip_prefix("```"), blocks.last_mut()) {
            (Some(_), _) if is_open => is_open = false,
            (Some(info), _) => {
                is_open = true;
                blocks.push(Block {
                    line: at + 1,
                    info: info.trim(),
                    lines: Vec::new(),
                });
            }
            (None, Some(block)) if is_open => block.lines.push(line),
            _ => {}
        }
    }
    blocks
}

/// Whether rustdoc hides the line. `#[…]` and `#![…]` are attributes.
fn is_hidden(line: &str) -> bool {
    let line = line.trim_start();
    line == "#" || line.starts_with("# ")
}

fn is_not_run(attribute: &str) -> bool {
    ["ignore", "compile_fail", "should_panic"]
        .iter()
        .any(|wrong| attribute.starts_with(wrong))
}

/// The dependencies in a block, or `None` if it lists none.
fn dependencies(block: &Block<'_>) -> Option<Result<Table, String>> {
    match block.language() {
        "toml" => from_manifest(&block.lines.join("\n")),
        "" | "sh" | "bash" | "shell" | "console" => from_commands(&block.lines),
        _ => None,
    }
}

fn from_manifest(text: &str) -> Option<Result<Table, String>> {
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return Some(Err(format!("invalid TOML: {error}"))),
    };
    let mut dependencies = Table::new();
    for (name, value) in manifest.get("dependencies")?.as_table()? {
        let mut detailed = Table::new();
        match value {
            Value::String(version) => {
                detailed.insert("version".to_owned(), Value::String(version.clone()));
            }
            Value::Table(given) => detailed = given.clone(),
            _ => {
                return Some(Err(format!(
                    "invalid dependency `{name}`: neither version nor table"
                )));
            }
        }
        dependencies.insert(name.clone(), Value::Table(detailed));
    }
    Some(Ok(dependencies))
}

fn from_commands(lines: &[&str]) -> Option<Result<Table, String>> {
    let mut dependencies = Table::new();
    for line in lines {
        let command = line.split('#').next().unwrap_or(line);
        let command = command.trim().trim_start_matches("$ ");
        if let Some(arguments) = command.strip_prefix("cargo add ")
            && let Err(reason) = add(arguments, &mut dependencies)
        {
            return Some(Err(reason));
        }
    }
    (!dependencies.is_empty()).then_some(Ok(dependencies))
}

/// One `cargo add`, as far as READMEs use it.
fn add(arguments: &str, dependencies: &mut Table) -> Result<(), String> {
    let mut names = Vec::new();
    let mut features = Vec::new();
    let mut has_defaults = true;
    let mut words = arguments.split_whitespace();
    while let Some(word) = words.next() {
        let list = match word.split_once('=') {
            Some(("--features" | "-F", list)) => Some(list),
            _ if word == "--features" || word == "-F" => words.next(),
            _ => None,
        };
        if let Some(list) = list {
            features.extend(list.split(',').map(|name| Value::String(name.to_owned())));
        } else if word == "--no-default-features" {
            has_defaults = false;
        } else if word.starts_with('-') {
            return Err(format!("`cargo add` with `{word}`: write a toml block instead"));
        } else {
            names.push(word);
        }
    }
    if names.is_empty() || names.len() > 1 && !features.is_empty() {
        return Err("`cargo add` with features names one crate: use a line for each".to_owned());
    }
    for name in names {
        let (name, version) = name.split_once('@').unwrap_or((name, "*"));
        let mut detailed = Table::new();
        detailed.insert("version".to_owned(), Value::String(version.to_owned()));
        if !features.is_empty() {
            detailed.insert("features".to_owned(), Value::Array(features.clone()));
        }
        if !has_defaults {
            detailed.insert("default-features".to_owned(), Value::Boolean(false));
        }
        dependencies.insert(name.to_owned(), Value::Table(detailed));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "fn main() {\n    a::b();\n}\n";

    fn readme(above: &str, code: &str) -> String {
        format!("# a\n\nText.\n\n{above}\n\nText.\n\n```rust\n{code}```\n\n```rust\nsecond\n```\n")
    }

    fn reason(readme: &str) -> String {
        first_example(readme).unwrap_err().to_string()
    }

    #[test]
    fn example_is_first_rust_block_with_dependencies_of_block_above() {
        let manifest =
            "```toml\n[dependencies]\na = \"0.1\"\nb = { version = \"1\", features = [\"c\"] }\n```";
        let example = first_example(&readme(manifest, MAIN)).unwrap();
        assert_eq!((example.line, example.code.as_str()), (13, MAIN));
        let expected: Table = "a.version = \"0.1\"\nb = { version = \"1\", features = [\"c\"] }"
            .parse()
            .unwrap();
        assert_eq!(example.dependencies, expected);
    }

    #[test]
    fn cargo_add_lists_dependencies() {
        let commands =
            "```sh\ncargo new x\ncargo add a@0.1 b   # both\n$ cargo add c --no-default-features -F d,e\n```";
        let example = first_example(&readme(commands, MAIN)).unwrap();
        let expected: Table = "a.version = \"0.1\"\nb.version = \"*\"\n\
             c = { version = \"*\", features = [\"d\", \"e\"], default-features = false }"
            .parse()
            .unwrap();
        assert_eq!(example.dependencies, expected);
        for (command, wrong) in [
            ("cargo add a b --features c", "names one crate"),
            ("cargo add --features c", "names one crate"),
            ("cargo add a --git b", "`--git`"),
        ] {
            let found = reason(&readme(&format!("```sh\n{command}\n```"), MAIN));
            assert!(found.starts_with("5: ") && found.contains(wrong), "{found}");
        }
    }

    #[test]
    fn example_without_dependencies_directly_above_is_refused() {
        let list = "```toml\n[dependencies]\na = \"1\"\n```";
        for above in [
            "",
            "```toml\n[a]\n```",
            "```sh\ncargo run\n```",
            &format!("{list}\n\n```text\nb\n```"),
        ] {
            assert!(
                reason(&readme(above, MAIN)).contains("no dependencies"),
                "{above}"
            );
        }
        assert!(reason(&readme("```toml\n[\n```", MAIN)).contains("invalid TOML"));
        assert!(reason(&readme("```toml\n[dependencies]\na = 1\n```", MAIN)).contains("`a`"));
    }

    #[test]
    fn hidden_line_is_refused_and_attribute_is_not() {
        let list = "```sh\ncargo add a\n```";
        let hidden = "#![expect(x)]\n#[tokio::main]\nasync fn main() {\n    # use a;\n}\n";
        assert!(reason(&readme(list, hidden)).starts_with("15: a hidden line"));
        assert!(first_example(&readme(list, &hidden.replace("# use", "use"))).is_ok());
    }

    #[test]
    fn example_that_cannot_be_copied_is_refused() {
        let list = "```sh\ncargo add a\n```";
        assert!(reason("# a\n").contains("no Rust block"));
        assert!(reason(&readme(list, "let a = 1;\n")).contains("`fn main()`"));
        let marked = readme(list, MAIN).replacen("```rust", "```rust,compile_fail", 1);
        assert!(reason(&marked).contains("marked"));
        let built = readme(list, MAIN).replacen("```rust", "```rust,no_run", 1);
        assert!(first_example(&built).is_ok());
    }
}
