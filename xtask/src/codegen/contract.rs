//! The contract `guest-sessions` as its documents describe it.

use std::collections::BTreeSet;
use std::error::Error;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::facts::{Sources, capitalize};
use super::{CONTRACT, CONTRACT_ERRORS};

/// The methods that a path item may have, in the order in which they are listed.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Codes {
    #[serde(rename = "error")]
    pub(crate) codes: Vec<Code>,
    #[serde(default, rename = "detail")]
    pub(crate) details: Vec<DetailCode>,
}

/// A code for one field of a body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetailCode {
    pub(crate) code: String,
    /// The code of the response.
    pub(crate) of: String,
    pub(crate) meaning: String,
}

/// The codes of details; each belongs to an error code of the same file.
pub(crate) fn details(sources: &Sources) -> Result<Vec<DetailCode>, Box<dyn Error>> {
    let Codes { codes, details } = sources.toml(CONTRACT_ERRORS)?;
    for detail in &details {
        if !codes
            .iter()
            .any(|code| code.code == detail.of && code.status.is_some())
        {
            return Err(format!(
                "{CONTRACT_ERRORS}: {}: no response has the code {}",
                detail.code, detail.of
            )
            .into());
        }
    }
    Ok(details)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    pub(crate) code: String,
    pub(crate) status: Option<u16>,
    pub(crate) frame: Option<Frame>,
    pub(crate) meaning: String,
    pub(crate) message: Option<String>,
    pub(crate) action: Action,
}

/// The frame that has a code.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Frame {
    Failure,
    Refusal,
}

/// The reaction of a client to a code.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Authenticate,
    Check,
    Create,
    End,
    Fix,
    Reconnect,
    Refresh,
    Report,
    Retry,
    Wait,
}

impl Action {
    pub(crate) const ALL: [Self; 10] = [
        Self::Authenticate,
        Self::Check,
        Self::Create,
        Self::End,
        Self::Fix,
        Self::Reconnect,
        Self::Refresh,
        Self::Report,
        Self::Retry,
        Self::Wait,
    ];

    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    /// A description for the reference page.
    pub(crate) fn meaning(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Authenticate => (
                "authenticate",
                "fetch a new credential: an access token with the required scope, an assertion or a ticket",
            ),
            Self::Check => ("check", "check whether the request took effect, then repeat it"),
            Self::Create => ("create", "create a session of the browser"),
            Self::End => ("end", "give up: the session has ended, or is refused permanently"),
            Self::Fix => (
                "fix",
                "change the request: sent again unchanged, it is refused again",
            ),
            Self::Reconnect => (
                "reconnect",
                "open another socket or stream, then repeat the request",
            ),
            Self::Refresh => ("refresh", "refresh the session's tokens, then repeat the request"),
            Self::Report => ("report", "inform the user, and continue"),
            Self::Retry => ("retry", "repeat the request"),
            Self::Wait => (
                "wait",
                "repeat the request after the time that the response names",
            ),
        }
    }
}

/// The document of the REST calls.
pub(crate) struct Document(pub(crate) Value);

pub(crate) struct Operation<'a> {
    pub(crate) id: &'a str,
    pub(crate) method: &'static str,
    pub(crate) path: &'a str,
    pub(crate) value: &'a Value,
}

impl Document {
    /// Reads it; each of its error codes must be one of [`CONTRACT_ERRORS`], and the other way round.
    pub(crate) fn read(sources: &Sources) -> Result<(Self, Vec<Code>), Box<dyn Error>> {
        let document = Self(sources.json(CONTRACT)?);
        let Codes { codes, .. } = sources.toml(CONTRACT_ERRORS)?;
        if !codes.is_sorted_by(|one, other| one.code < other.code) {
            return Err(format!("{CONTRACT_ERRORS}: the codes are not in order, or one is repeated").into());
        }
        let mut known: BTreeSet<(u16, &str)> = BTreeSet::new();
        for code in &codes {
            match (code.status, code.frame) {
                (Some(status), _) => drop(known.insert((status, &code.code))),
                (None, Some(_)) => {}
                (None, None) => {
                    return Err(format!(
                        "{CONTRACT_ERRORS}: {}: neither a response nor a frame has it",
                        code.code
                    )
                    .into());
                }
            }
        }
        let mut used = BTreeSet::new();
        let operations = document.operations()?;
        let elsewhere = std::iter::once(&document.0["x-elsewhere"]);
        for responses in operations
            .iter()
            .map(|operation| &operation.value["responses"])
            .chain(elsewhere)
        {
            for (status, response) in object(responses)? {
                for code in strings(&document.resolve(response)?["x-codes"]) {
                    used.insert((status.parse::<u16>()?, code));
                }
            }
        }
        if let Some((status, code)) = known.symmetric_difference(&used).next() {
            return Err(format!(
                "{code} with status {status} is in only one of {CONTRACT} and {CONTRACT_ERRORS}"
            )
            .into());
        }
        Ok((document, codes))
    }

    /// The operations, in the order of the document's paths.
    pub(crate) fn operations(&self) -> Result<Vec<Operation<'_>>, Box<dyn Error>> {
        let mut operations = Vec::new();
        for (path, item) in object(&self.0["paths"])? {
            for method in METHODS {
                if let Some(value) = item.get(method) {
                    let id = value["operationId"]
                        .as_str()
                        .ok_or_else(|| format!("{CONTRACT}: {method} {path} has no operationId"))?;
                    operations.push(Operation {
                        id,
                        method,
                        path,
                        value,
                    });
                }
            }
        }
        Ok(operations)
    }

    /// The query parameters of an operation.
    pub(crate) fn query_parameters<'a>(
        &'a self,
        operation: &Operation<'a>,
    ) -> Result<Vec<&'a Value>, Box<dyn Error>> {
        let mut parameters = Vec::new();
        for parameter in operation.value["parameters"].as_array().into_iter().flatten() {
            let parameter = self.resolve(parameter)?;
            if parameter["in"] == "query" {
                parameters.push(parameter);
            }
        }
        Ok(parameters)
    }

    /// Resolves a value that may be a reference within the document.
    pub(crate) fn resolve<'a>(&'a self, value: &'a Value) -> Result<&'a Value, Box<dyn Error>> {
        match value["$ref"].as_str() {
            None => Ok(value),
            Some(reference) => reference
                .strip_prefix('#')
                .and_then(|pointer| self.0.pointer(pointer))
                .ok_or_else(|| format!("{CONTRACT}: {reference} has no target").into()),
        }
    }
}

pub(crate) fn object(value: &Value) -> Result<&Map<String, Value>, Box<dyn Error>> {
    value
        .as_object()
        .ok_or_else(|| format!("not an object: {value}").into())
}

/// The texts of an array. Empty for any other value.
pub(crate) fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// `guest.id.in.use` and `fetchToken` as the name of a type.
pub(crate) fn pascal(name: &str) -> String {
    name.split(['.', '_', '-']).map(capitalize).collect()
}

/// The last part of a reference, which is the name of its target.
pub(crate) fn referred(value: &Value) -> Option<&str> {
    value["$ref"].as_str()?.rsplit('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(codes: &str, statuses: &str) -> Result<(), String> {
        let document = format!(
            r#"{{"paths": {{"/a": {{"get": {{"operationId": "a", "responses": {statuses}}}}}}}, "x-elsewhere": {{}}}}"#
        );
        let sources = Sources::of([(CONTRACT, document.as_str()), (CONTRACT_ERRORS, codes)]);
        Document::read(&sources)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn code_is_in_both_files_with_one_status() {
        let code = "[[error]]\ncode = \"not.found\"\nstatus = 404\nmeaning = \"m\"\naction = \"end\"\n";
        assert_eq!(read(code, r#"{"404": {"x-codes": ["not.found"]}}"#), Ok(()));
        for statuses in [
            "{}",
            r#"{"409": {"x-codes": ["not.found"]}}"#,
            r#"{"404": {"x-codes": ["not.found", "other"]}}"#,
        ] {
            assert!(
                read(code, statuses).unwrap_err().contains("is in only one"),
                "{statuses}"
            );
        }
        let twice = code.repeat(2);
        assert!(read(&twice, "{}").unwrap_err().contains("repeated"));
    }

    #[test]
    fn type_name_is_in_pascal_case() {
        assert_eq!(pascal("guest.id.in.use"), "GuestIdInUse");
        assert_eq!(pascal("fetchToken"), "FetchToken");
    }
}
