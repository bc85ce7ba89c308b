//! The paths and methods of the contract `guest-sessions`, for the router of `guest-gateway`.

use std::error::Error;
use std::fmt::Write;

use super::contract::{Document, pascal};
use super::facts::Sources;

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let (document, _) = Document::read(sources)?;
    let operations = document.operations()?;
    let mut code = String::from(
        "use http::Method;\n\n/// What the contract offers, by operationId.\n\
         #[derive(Clone, Copy, Debug, Eq, PartialEq)]\npub(crate) enum Operation {",
    );
    for operation in &operations {
        let (method, path) = (operation.method.to_uppercase(), operation.path);
        write!(code, "/// `{method} {path}`.\n{},", pascal(operation.id))?;
    }
    code.push_str(
        "}\n\n/// A path with its operations.\n#[derive(Debug)]\npub(crate) struct Route {\n\
         pub(crate) path: &'static str,\n\
         /// Its methods, as `Allow` lists them.\npub(crate) allow: &'static str,\n\
         pub(crate) operations: &'static [(Method, Operation)],\n}\n\n\
         /// Every path.\npub(crate) static ROUTES: &[Route] = &[",
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
