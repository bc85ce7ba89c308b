//! The first example of a crate's README, and the dependencies that the README lists for it.
//!
//! The block directly above the example lists the dependencies: `toml` with a table `[dependencies]`.

use std::fmt;

use toml::{Table, Value};

/// The first Rust block of a README.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Example {
    /// The line of its fence, counted from 1.
    pub(crate) line: usize,
    pub(crate) code: String,
    /// The table `[dependencies]` of the README.
    pub(crate) dependencies: Table,
}

/// An example that cannot be copied from the page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ExampleError {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) reason: String,
}

impl fmt::Display for ExampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.reason)
    }
}

/// Reads the first example of a README.
pub(crate) fn first_example(readme: &str) -> Result<Example, ExampleError> {
    let error = |line: usize, reason: &str| ExampleError {
        line,
        reason: reason.to_owned(),
    };
    let blocks = blocks(readme);
    let at = blocks
        .iter()
        .position(|block| block.language() == "rust")
        .ok_or_else(|| error(1, "has no Rust block: show a first example"))?;
    let block = &blocks[at];
    if block.info.split([',', ' ']).any(is_not_run) {
        return Err(error(block.line, "the example is marked as one that fails"));
    }
    if let Some(hidden) = block.lines.iter().position(|line| is_hidden(line)) {
        return Err(error(
            block.line + 1 + hidden,
            "a hidden line: show it, or write the example so that it is not needed",
        ));
    }
    let code = block.lines.join("\n") + "\n";
    if !code.contains("fn main()") {
        return Err(error(
            block.line,
            "the example has no `fn main()`: a reader copies it into src/main.rs",
        ));
    }
    let dependencies = at
        .checked_sub(1)
        .and_then(|above| dependencies(&blocks[above]))
        .ok_or_else(|| {
            error(
                block.line,
                "no dependencies: the block directly above must be `toml` with [dependencies]",
            )
        })?
        .map_err(|reason| error(blocks[at - 1].line, &reason))?;
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
    if block.language() != "toml" {
        return None;
    }
    let mut manifest: Table = match block.lines.join("\n").parse() {
        Ok(manifest) => manifest,
        Err(error) => return Some(Err(format!("invalid TOML: {error}"))),
    };
    let Some(Value::Table(mut dependencies)) = manifest.remove("dependencies") else {
        return None;
    };
    for (name, value) in &mut dependencies {
        match value {
            Value::String(version) => {
                let version = Value::String(std::mem::take(version));
                *value = Value::Table(Table::from_iter([("version".to_owned(), version)]));
            }
            Value::Table(_) => {}
            _ => {
                return Some(Err(format!(
                    "invalid dependency `{name}`: neither version nor table"
                )));
            }
        }
    }
    Some(Ok(dependencies))
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
        let list = "```toml\n[dependencies]\na = \"1\"\n```";
        let hidden = "#![expect(x)]\n#[tokio::main]\nasync fn main() {\n    # use a;\n}\n";
        assert!(reason(&readme(list, hidden)).starts_with("16: a hidden line"));
        assert!(first_example(&readme(list, &hidden.replace("# use", "use"))).is_ok());
    }

    #[test]
    fn example_that_cannot_be_copied_is_refused() {
        let list = "```toml\n[dependencies]\na = \"1\"\n```";
        assert!(reason("# a\n").contains("no Rust block"));
        assert!(reason(&readme(list, "let a = 1;\n")).contains("`fn main()`"));
        let marked = readme(list, MAIN).replacen("```rust", "```rust,compile_fail", 1);
        assert!(reason(&marked).contains("marked"));
        let built = readme(list, MAIN).replacen("```rust", "```rust,no_run", 1);
        assert!(first_example(&built).is_ok());
    }
}
