//! The paths and methods of the contract `guest-sessions`, for its server and its client.

use std::error::Error;
use std::fmt::Write;

use super::contract::{Document, pascal};
use super::facts::Sources;

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let (document, _) = Document::read(sources)?;
    let operations = document.operations()?;
    let mut code = String::from(
        "use http::Method;\n\n/// An operation of the contract, by its operationId.\n\
         #[derive(Clone, Copy, Debug, Eq, PartialEq)]\npub enum Operation {",
    );
    for operation in &operations {
        let (method, path) = (operation.method.to_uppercase(), operation.path);
        write!(code, "/// `{method} {path}`.\n{},", pascal(operation.id))?;
    }
    code.push_str("}\n\nimpl Operation {\n/// The method of its requests.\n#[must_use]\npub fn method(self) -> Method { match self {");
    for operation in &operations {
        let method = operation.method.to_uppercase();
        write!(code, "Self::{} => Method::{method},", pascal(operation.id))?;
    }
    code.push_str("} }\n\n/// Its path, with `{id}` in place of an id.\n#[must_use]\npub fn path(self) -> &'static str { match self {");
    for operation in &operations {
        write!(code, "Self::{} => {:?},", pascal(operation.id), operation.path)?;
    }
    code.push_str(
        "} }\n\n/// The parameters that its query may have.\n#[must_use]\n\
         pub fn query(self) -> &'static [&'static str] { match self {",
    );
    for operation in &operations {
        let names = document.query_parameters(operation)?;
        let names: Vec<&str> = names.into_iter().filter_map(|one| one["name"].as_str()).collect();
        if !names.is_empty() {
            write!(code, "Self::{} => &{names:?},", pascal(operation.id))?;
        }
    }
    code.push_str("_ => &[], } } ");
    code.push_str(
        "}\n\n/// A path with its operations.\n#[derive(Debug)]\npub struct Route {\n\
         /// The path, with `{id}` for an id.\npub path: &'static str,\n\
         /// Its methods, as `Allow` lists them.\npub allow: &'static str,\n\
         /// An operation for each method.\npub operations: &'static [(Method, Operation)],\n}\n\n\
         /// Every path.\npub static ROUTES: &[Route] = &[",
    );
    for at_path in operations.chunk_by(|one, other| one.path == other.path) {
        let methods: Vec<String> = at_path
            .iter()
            .map(|operation| operation.method.to_uppercase())
            .collect();
        write!(
            code,
            "Route {{ path: {:?}, allow: {:?}, operations: &[",
            at_path[0].path,
            methods.join(", ")
        )?;
        for (operation, method) in at_path.iter().zip(&methods) {
            write!(code, "(Method::{method}, Operation::{}),", pascal(operation.id))?;
        }
        code.push_str("] },");
    }
    code.push_str("];\n");
    Ok(code)
}
