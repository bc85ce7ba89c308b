//! The types of the contract `guest-sessions` as a TypeScript declaration file, before those of the browser client.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

use serde_json::Value;

use super::browser_client::{callable, is_function};
use super::contract::{Action, Document, Frame, object, referred, strings};
use super::facts::Sources;
use super::{CLIENT_TYPES, CONTRACT_EVENTS, CONTRACT_FRAMES};

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let (document, codes) = Document::read(sources)?;
    let frames: Value = sources.json(CONTRACT_FRAMES)?;
    let mut events: Value = sources.json(CONTRACT_EVENTS)?;
    let shared = events["$defs"].take();

    let mut declared = BTreeMap::new();
    for schemas in [&document.0["components"]["schemas"], &frames["$defs"], &shared] {
        for (name, schema) in object(schemas)? {
            let text = declaration(name, schema)?;
            if declared
                .insert(name.clone(), text.clone())
                .is_some_and(|before| before != text)
            {
                return Err(format!("two documents of the contract define {name} differently").into());
            }
        }
    }
    declared.insert("WebhookEvent".to_owned(), declaration("WebhookEvent", &events)?);
    let listed = |has: &dyn Fn(&super::contract::Code) -> bool| {
        let codes = codes.iter().filter(|code| has(code));
        union(codes.map(|code| format!("{:?}", code.code)))
    };
    for (name, text) in [
        ("ErrorCode", listed(&|code| code.status.is_some())),
        ("FailureCode", listed(&|code| code.frame == Some(Frame::Failure))),
        ("RefusalCode", listed(&|code| code.frame == Some(Frame::Refusal))),
        (
            "Action",
            union(
                Action::ALL
                    .map(|action| format!("{:?}", action.name()))
                    .into_iter(),
            ),
        ),
    ] {
        declared.insert(name.to_owned(), format!("export type {name} ={text};\n"));
    }

    let mut code: String = declared.into_values().collect::<Vec<_>>().join("\n");
    code.push_str(
        "\n/** The reaction of a client to each code of the contract. */\n\
         export const ACTIONS: Readonly<Record<ErrorCode | FailureCode | RefusalCode, Action>>;\n\n",
    );
    code.push_str(sources.text(CLIENT_TYPES)?);
    for operation in callable(&document)?.iter().filter(is_function) {
        let mut parameters = "options: CallOptions".to_owned();
        if operation.path.contains("{id}") {
            parameters.push_str(", id: string");
        }
        let content = object(&operation.value["requestBody"]["content"]).ok();
        if let Some(body) = content.and_then(|content| content.values().next()) {
            write!(parameters, ", body: {}", type_of(&body["schema"], 0)?)?;
        }
        let query = document.query_parameters(operation)?;
        if !query.is_empty() {
            let properties: Result<Vec<String>, Box<dyn Error>> = query
                .iter()
                .map(|one| {
                    let name = one["name"].as_str().unwrap_or_default();
                    let optional = if one["required"] == true { "" } else { "?" };
                    Ok(format!("{name}{optional}: {}", type_of(&one["schema"], 0)?))
                })
                .collect();
            let is_required = query.iter().any(|one| one["required"] == true);
            let optional = if is_required { "" } else { "?" };
            write!(parameters, ", query{optional}: {{ {} }}", properties?.join("; "))?;
        }
        let mut answer = "void".to_owned();
        for (status, response) in object(&operation.value["responses"])? {
            let content = &document.resolve(response)?["content"];
            if let (true, Some(media)) = (
                status.starts_with('2'),
                content.as_object().and_then(|c| c.values().next()),
            ) {
                answer = type_of(&media["schema"], 0)?;
            }
        }
        let summary = operation.value["summary"].as_str().unwrap_or_default();
        write!(
            code,
            "\n/** {summary}. */\nexport function {}({parameters}): Promise<{answer}>;\n",
            operation.id
        )?;
    }
    Ok(code)
}

fn declaration(name: &str, schema: &Value) -> Result<String, Box<dyn Error>> {
    let comment = comment(schema, 0);
    let text = type_of(schema, 0)?;
    Ok(if text.starts_with("{\n") && schema["type"] == "object" {
        format!("{comment}export interface {name} {text}\n")
    } else {
        format!("{comment}export type {name} = {text};\n").replace("=  ", "= ")
    })
}

fn comment(schema: &Value, indent: usize) -> String {
    schema["description"]
        .as_str()
        .map(|text| format!("{}/** {text} */\n", " ".repeat(indent)))
        .unwrap_or_default()
}

/// A schema as a type. Rules that a type cannot express, such as lengths, are left out.
fn type_of(schema: &Value, indent: usize) -> Result<String, Box<dyn Error>> {
    if let Some(name) = referred(schema) {
        return Ok(name.to_owned());
    }
    if let Some(values) = schema["enum"].as_array() {
        return Ok(values
            .iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join(" | "));
    }
    if let Some(value) = schema.get("const") {
        return Ok(value.to_string());
    }
    if schema["x-unparsed"] == true {
        return Ok("unknown".to_owned());
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        // an open variant would hide the others from the compiler's checks
        let untyped =
            |variant: &Value| strings(&schema["x-untyped"]).any(|name| Some(name) == referred(variant));
        let variants = variants.iter().filter(|variant| !untyped(variant));
        let types: Result<Vec<_>, _> = variants.map(|variant| type_of(variant, indent)).collect();
        return Ok(types?.join(" | "));
    }
    let mut types = Vec::new();
    let one = schema["type"].as_str();
    for kind in one.into_iter().chain(strings(&schema["type"])) {
        types.push(match kind {
            "boolean" | "null" | "string" => kind.to_owned(),
            "integer" | "number" => "number".to_owned(),
            "array" if schema["items"].is_null() => "[]".to_owned(),
            "array" => match type_of(&schema["items"], indent)? {
                item if item.contains([' ', '{']) => format!("Array<{item}>"),
                item => format!("{item}[]"),
            },
            "object" => object_type(schema, indent)?,
            other => return Err(format!("unknown type {other}").into()),
        });
    }
    match types.is_empty() {
        true => Err(format!("this schema has no type: {schema}").into()),
        false => Ok(types.join(" | ")),
    }
}

fn object_type(schema: &Value, indent: usize) -> Result<String, Box<dyn Error>> {
    let others = match &schema["additionalProperties"] {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some("unknown".to_owned()),
        schema => Some(type_of(schema, indent)?),
    };
    let Some(properties) = schema["properties"]
        .as_object()
        .filter(|properties| !properties.is_empty())
    else {
        return Ok(format!(
            "Record<string, {}>",
            others.unwrap_or_else(|| "unknown".to_owned())
        ));
    };
    let pad = " ".repeat(indent + 2);
    let mut text = String::from("{\n");
    for (name, property) in properties {
        text.push_str(&comment(property, indent + 2));
        let optional = match strings(&schema["required"]).any(|required| required == name) {
            true => "",
            false => "?",
        };
        let key = match name.contains(['-', '.']) {
            true => format!("{name:?}"),
            false => name.clone(),
        };
        writeln!(text, "{pad}{key}{optional}: {};", type_of(property, indent + 2)?)?;
    }
    if let Some(others) = others {
        writeln!(text, "{pad}[name: string]: {others} | undefined;")?;
    }
    write!(text, "{}}}", " ".repeat(indent))?;
    Ok(text)
}

fn union(members: impl Iterator<Item = String>) -> String {
    members.map(|member| format!("\n  | {member}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schema_becomes_the_type_of_its_values() {
        for (schema, expected) in [
            (json!({ "$ref": "#/components/schemas/Id" }), "Id"),
            (json!({ "const": "ping" }), "\"ping\""),
            (json!({ "enum": ["a", "b"] }), "\"a\" | \"b\""),
            (json!({ "type": ["number", "null"] }), "number | null"),
            (
                json!({ "type": "array", "items": { "type": "integer" } }),
                "number[]",
            ),
            (
                json!({ "type": "array", "items": { "enum": [1, 2] } }),
                "Array<1 | 2>",
            ),
            (json!({ "type": "array", "maxItems": 0 }), "[]"),
            (json!({ "x-unparsed": true }), "unknown"),
            (
                json!({ "oneOf": [{ "$ref": "#/$defs/A" }, { "$ref": "#/$defs/B" }], "x-untyped": ["B"] }),
                "A",
            ),
            (
                json!({ "type": "object", "additionalProperties": { "type": "string" } }),
                "Record<string, string>",
            ),
            (
                json!({ "type": "object", "required": ["a"], "properties": {
                    "a": { "type": "string" }, "b-c": { "type": "boolean", "description": "The reason." },
                } }),
                "{\n  a: string;\n  /** The reason. */\n  \"b-c\"?: boolean;\n}",
            ),
        ] {
            assert_eq!(type_of(&schema, 0).unwrap(), expected, "{schema}");
        }
        for schema in [json!({}), json!({ "type": "tuple" })] {
            assert!(type_of(&schema, 0).is_err(), "{schema}");
        }
    }

    #[test]
    fn duplicate_type_name_is_refused() {
        let openapi = r##"{ "paths": {}, "x-elsewhere": {}, "components": { "schemas": { "A": { "type": "string" } } } }"##;
        let other = r##"{ "$defs": { "A": { "type": "number" } } }"##;
        let sources = Sources::of([
            (super::super::CONTRACT, openapi),
            (super::super::CONTRACT_ERRORS, "error = []"),
            (CONTRACT_FRAMES, other),
            (CONTRACT_EVENTS, r##"{ "type": "object", "$defs": {} }"##),
            (CLIENT_TYPES, ""),
        ]);
        let error = generate(&sources).unwrap_err().to_string();
        assert_eq!(error, "two documents of the contract define A differently");
    }
}
