//! The codes by which Genesys Cloud refuses, as an enum, for `web-messaging`.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;

use super::ERRORS;
use super::facts::{ErrorCodes, Sources};

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let ErrorCodes { errors } = sources.toml(ERRORS)?;
    let codes: BTreeSet<u16> = errors.iter().map(|error| error.code).collect();
    if codes.len() != errors.len() {
        return Err(format!("{ERRORS}: duplicate code").into());
    }
    let (mut variants, mut known, mut numbers) = (String::new(), String::new(), String::new());
    let mut remedies = String::new();
    for error in &errors {
        let (number, name) = (error.code, &error.name);
        write!(
            variants,
            "/// {number}: {}.\n///\n/// Source: {} ({}).\n{name},\n",
            error.meaning,
            error.source,
            error.provenance.name(),
        )?;
        writeln!(known, "{number} => Self::{name},")?;
        writeln!(numbers, "Self::{name} => {number},")?;
        writeln!(remedies, "Self::{name} => Remedy::{},", error.action.remedy())?;
    }
    Ok(format!(
        "use crate::Remedy;\n\n\
         /// The codes of refusals on the socket: HTTP statuses, and Genesys' own from 4000 on.\n///\n\
         /// Match on codes and not on texts, but for 403: see [`ErrorCode::remedy`].\n\
         #[derive(Clone, Copy, Debug, Eq, PartialEq)]\n\
         #[non_exhaustive]\n\
         pub enum ErrorCode {{\n{variants}/// Any other.\nOther(i64),\n}}\n\n\
         impl ErrorCode {{\n\
         /// The code of this number.\n#[must_use]\n\
         pub fn new(number: i64) -> Self {{\nmatch number {{\n{known}other => Self::Other(other),\n}}\n}}\n\n\
         /// The number on the wire.\n#[must_use]\n\
         pub fn number(self) -> i64 {{\nmatch self {{\n{numbers}Self::Other(number) => number,\n}}\n}}\n\n\
         /// The default remedy. The text of some errors overrides it.\n\
         pub(crate) fn usual_remedy(self) -> Remedy {{\nmatch self {{\n{remedies}\
         Self::Other(500..=599) => Remedy::Retry,\nSelf::Other(_) => Remedy::Report,\n}}\n}}\n}}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "[[error]]\ncode = 4006\nname = \"SessionExpired\"\nmeaning = \"its time has passed\"\n\
                        action = \"end\"\nprovenance = \"official\"\nsource = \"here\"\n";

    #[test]
    fn code_becomes_a_variant_with_its_remedy() {
        let code = generate(&Sources::of([(ERRORS, SPEC)])).unwrap();
        assert!(code.contains("4006 => Self::SessionExpired,"), "{code}");
        assert!(
            code.contains("Self::SessionExpired => Remedy::NewSession,"),
            "{code}"
        );
    }

    #[test]
    fn duplicate_code_is_refused() {
        let twice = format!("{SPEC}\n{}", SPEC.replace("SessionExpired", "Unexpected"));
        assert!(generate(&Sources::of([(ERRORS, &*twice)])).is_err());
    }
}
