//! The documents that `guest-gateway` serves: those of `spec/guest-sessions`, with the lists of codes filled in.

use std::error::Error;

use serde_json::{Value, json};

use super::contract::{Code, Document, Frame};
use super::facts::Sources;
use super::{CONTRACT_EVENTS, CONTRACT_FRAMES};

pub(crate) fn openapi(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let (Document(mut document), codes) = Document::read(sources)?;
    fill(&mut document, "/components/schemas/ErrorCode", &codes, |code| {
        code.status.is_some()
    })?;
    Ok(document.to_string())
}

pub(crate) fn frames(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let (_, codes) = Document::read(sources)?;
    let mut schema: Value = sources.json(CONTRACT_FRAMES)?;
    fill(&mut schema, "/$defs/RefusalCode", &codes, |code| {
        code.frame == Some(Frame::Refusal)
    })?;
    fill(&mut schema, "/$defs/FailureCode", &codes, |code| {
        code.frame == Some(Frame::Failure)
    })?;
    Ok(schema.to_string())
}

pub(crate) fn events(sources: &Sources) -> Result<String, Box<dyn Error>> {
    Ok(sources.json::<Value>(CONTRACT_EVENTS)?.to_string())
}

fn fill(
    document: &mut Value,
    pointer: &str,
    codes: &[Code],
    has: impl Fn(&Code) -> bool,
) -> Result<(), Box<dyn Error>> {
    let schema = document
        .pointer_mut(pointer)
        .ok_or_else(|| format!("there is no schema {pointer}"))?;
    let codes: Vec<&str> = codes
        .iter()
        .filter(|code| has(code))
        .map(|code| code.code.as_str())
        .collect();
    schema["enum"] = json!(codes);
    Ok(())
}
