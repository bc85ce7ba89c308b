//! The browser client of the contract `guest-sessions`: its module `contract.js`, and all modules joined to one file.

use std::error::Error;
use std::fmt::Write;

use serde_json::Value;

use super::contract::{Document, Operation, strings};
use super::facts::Sources;

/// The modules, each after those that it needs when it is evaluated.
pub(super) const MODULES: &[&str] = &[
    super::CLIENT_CONTRACT,
    "clients/browser/src/platform.js",
    "clients/browser/src/http.js",
    "clients/browser/src/upload.js",
    "clients/browser/src/outbox.js",
    "clients/browser/src/message.js",
    "clients/browser/src/heartbeat.js",
    "clients/browser/src/session-access.js",
    "clients/browser/src/conversation.js",
    "clients/browser/src/stream.js",
    "clients/browser/src/shared-stream.js",
    "clients/browser/src/spa-client.js",
];

pub(super) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    join(MODULES, sources)
}

/// Joins modules, without their imports and their lists of exports, which are for the other modules. A declaration with
/// `export` is exported by the file too.
pub(super) fn join(modules: &[&str], sources: &Sources) -> Result<String, Box<dyn Error>> {
    let joined: Result<Vec<_>, Box<dyn Error>> = modules
        .iter()
        .map(|path| Ok(declarations(sources.text(path)?)))
        .collect();
    Ok(joined?.join("\n\n") + "\n")
}

fn declarations(module: &str) -> String {
    let is_for_modules = |line: &str| line.starts_with("import ") || line.starts_with("export {");
    let lines = module
        .lines()
        .filter(|line| !is_for_modules(line) && !line.starts_with("// Generated "));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The tables of the contract, and a function for each operation.
pub(super) fn contract(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let (document, codes) = Document::read(sources)?;
    let mut code = String::from(
        "import { call } from \"./http.js\";\n\n/** The reaction of a client to each code of the contract. */\nexport const ACTIONS = Object.freeze({\n",
    );
    for error in &codes {
        writeln!(code, "  {:?}: {:?},", error.code, error.action.name())?;
    }
    code.push_str("});\n\n/** Method, path and media type of each operation. */\nconst OPERATIONS = {\n");
    let operations = callable(&document)?;
    for operation in &operations {
        let method = operation.method.to_uppercase();
        let media = match media(operation.value) {
            Some(media) => format!(", {media:?}"),
            None => String::new(),
        };
        writeln!(
            code,
            "  {}: [{method:?}, {:?}{media}],",
            operation.id, operation.path
        )?;
    }
    code.push_str("};\n");
    for operation in operations.iter().filter(is_function) {
        let summary = operation.value["summary"].as_str().unwrap_or_default();
        let id = operation.id;
        let (mut parameters, mut given) = (vec!["options"], Vec::new());
        if operation.path.contains("{id}") {
            parameters.push("id");
            given.push("path: { id }");
        }
        if media(operation.value).is_some() {
            parameters.push("body");
            given.push("body");
        }
        if !document.query_parameters(operation)?.is_empty() {
            parameters.push("query");
            given.push("query");
        }
        let parameters = parameters.join(", ");
        let given = match given.join(", ") {
            given if given.is_empty() => "{}".to_owned(),
            given => format!("{{ {given} }}"),
        };
        write!(
            code,
            "\n/** {summary}. */\nexport function {id}({parameters}) {{\n  return call({id:?}, options, {given});\n}}\n"
        )?;
    }
    code.push_str("\nexport { OPERATIONS };\n");
    Ok(code)
}

/// The operations that `fetch` can make, without the component's file, which pages import, and without those of auditors: a
/// page may not read the whole log.
pub(super) fn callable(document: &Document) -> Result<Vec<Operation<'_>>, Box<dyn Error>> {
    let mut operations = document.operations()?;
    operations.retain(|operation| {
        let is_socket = operation.value["responses"].get("101").is_some();
        let is_script = operation.value["responses"]["200"]["content"]
            .get("text/javascript")
            .is_some();
        let is_audit = strings(&operation.value["security"][0]["oauth"]).any(|scope| scope == "audit:read");
        !is_socket && !is_script && !is_audit
    });
    Ok(operations)
}

/// Whether it is a function of its own. The conversation makes those about a part of a session and about its event stream.
pub(super) fn is_function(operation: &&Operation<'_>) -> bool {
    operation.path.matches('{').count() < 2 && !["openStream", "sendFrame"].contains(&operation.id)
}

fn media(operation: &Value) -> Option<&str> {
    let content = operation["requestBody"]["content"].as_object()?;
    content.keys().next().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_module_has_no_imports_and_only_the_exports_of_the_file() {
        let text =
            "import { a } from \"./a.js\";\n\nexport function b() {}\nfunction c() {}\n\nexport { c };\n";
        assert_eq!(declarations(text), "export function b() {}\nfunction c() {}");
    }
}
