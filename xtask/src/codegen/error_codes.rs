//! The error codes of the contract `guest-sessions`, for its server and its client.

use std::error::Error;
use std::fmt::Write;

use super::contract::{self, Document, pascal};
use super::facts::{Sources, capitalize};

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let (_, codes) = Document::read(sources)?;
    let details = contract::details(sources)?;
    let (mut variants, mut names, mut known) = (String::new(), String::new(), String::new());
    let (mut statuses, mut messages) = (String::new(), String::new());
    for error in &codes {
        let variant = pascal(&error.code);
        write!(variants, "/// {}.\n{variant},", capitalize(&error.meaning))?;
        write!(names, "Self::{variant} => {:?},", error.code)?;
        write!(known, "{:?} => Self::{variant},", error.code)?;
        if let Some(status) = error.status {
            write!(statuses, "Self::{variant} => {status},")?;
        }
        if let Some(message) = &error.message {
            write!(messages, "Self::{variant} => {message:?},")?;
        }
    }
    let (mut detail_variants, mut detail_names, mut parents) = (String::new(), String::new(), String::new());
    for detail in &details {
        let variant = pascal(&detail.code);
        write!(
            detail_variants,
            "/// {}.\n{variant},",
            capitalize(&detail.meaning)
        )?;
        write!(detail_names, "Self::{variant} => {:?},", detail.code)?;
        write!(parents, "Self::{variant} => ErrorCode::{},", pascal(&detail.of))?;
    }
    Ok(format!(
        "/// The code of a refusal, in a response or a frame.\n\
         #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]\n\
         #[non_exhaustive]\n\
         pub enum ErrorCode {{ {variants} }}\n\n\
         impl ErrorCode {{\n\
         /// The code of this name.\n#[must_use]\n\
         pub fn from_name(name: &str) -> Option<Self> {{ Some(match name {{ {known} _ => return None }}) }}\n\n\
         /// Its name on the wire.\n#[must_use]\n\
         pub fn as_str(self) -> &'static str {{ match self {{ {names} }} }}\n\n\
         /// The HTTP status of a response with it; 500 for a code that only frames have.\n#[must_use]\n\
         pub fn status(self) -> u16 {{ match self {{ {statuses} _ => 500 }} }}\n\n\
         /// The message of a refusal with it, with the remedy. The name of a code that does not decide the message.\n#[must_use]\n\
         pub fn message(self) -> &'static str {{ match self {{ {messages} other => other.as_str() }} }}\n}}\n\n\
         /// The code of a detail: what is wrong with one field of a body.\n\
         #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]\n\
         #[non_exhaustive]\n\
         pub enum DetailCode {{ {detail_variants} }}\n\n\
         impl DetailCode {{\n\
         /// Its name on the wire.\n#[must_use]\n\
         pub fn as_str(self) -> &'static str {{ match self {{ {detail_names} }} }}\n\n\
         /// The code of the response that has such a detail.\n#[must_use]\n\
         pub fn error_code(self) -> ErrorCode {{ match self {{ {parents} }} }}\n}}\n"
    ))
}
