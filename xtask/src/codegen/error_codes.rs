//! The codes of the contract `guest-sessions`, for `guest-gateway`.

use std::error::Error;
use std::fmt::Write;

use super::contract::{Document, pascal};
use super::facts::Sources;

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let (_, codes) = Document::read(sources)?;
    let mut code = String::from(
        "use http::StatusCode;\n\n/// What an answer or a frame calls a refusal.\n\
         #[derive(Clone, Copy, Debug, Eq, PartialEq)]\npub(crate) enum ErrorCode {",
    );
    let (mut names, mut statuses, mut known) = (String::new(), String::new(), String::new());
    for error in &codes {
        let variant = pascal(&error.code);
        write!(code, "/// {}.\n{variant},", capital(&error.meaning))?;
        write!(names, "Self::{variant} => {:?},", error.code)?;
        write!(known, "{:?} => Self::{variant},", error.code)?;
        if let Some(status) = error.status {
            write!(statuses, "Self::{variant} => {status},")?;
        }
    }
    write!(
        code,
        "}}\n\nimpl ErrorCode {{\n\
         /// The code of this name.\n\
         pub(crate) fn of(name: &str) -> Option<Self> {{ Some(match name {{ {known} _ => return None }}) }}\n\n\
         /// Its name on the wire.\n\
         pub(crate) fn name(self) -> &'static str {{ match self {{ {names} }} }}\n\n\
         /// The status of an answer with it. Those that only frames have count as faults of the gateway.\n\
         pub(crate) fn status(self) -> StatusCode {{\n\
         let status = match self {{ {statuses} _ => 500 }};\n\
         StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)\n}}\n}}\n"
    )?;
    Ok(code)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
