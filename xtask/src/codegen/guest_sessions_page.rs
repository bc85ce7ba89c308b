//! The reference page of `guest-sessions`: operations, frames, deliveries and codes.

use std::error::Error;
use std::fmt::Write;

use serde_json::Value;

use super::contract::{self, Code, DetailCode, Document, Frame, object, referred, strings};
use super::facts::Sources;
use super::{CONTRACT_EVENTS, CONTRACT_FRAMES};

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let (document, codes) = Document::read(sources)?;
    let frames: Value = sources.json(CONTRACT_FRAMES)?;
    let events: Value = sources.json(CONTRACT_EVENTS)?;
    let mut page = format!(
        "# guest-sessions: reference\n\n{}\n\nThe gateway serves the contract as `/openapi.json`, `/frames.schema.json` and\n\
         `/events.schema.json`. `clients/browser` is a client for browsers.\n\n## Operations\n",
        text(&document.0["info"], "description")
    );
    for operation in document.operations()? {
        write!(
            page,
            "\n### {}\n\n`{} {}`\n\n{}\n",
            operation.id,
            operation.method.to_uppercase(),
            operation.path,
            format!(
                "{}. {}",
                text(operation.value, "summary"),
                text(operation.value, "description")
            )
            .trim_end()
        )?;
        let scopes: Vec<&str> = strings(&operation.value["security"][0]["oauth"]).collect();
        if !scopes.is_empty() {
            write!(page, "\nScope: `{}`.\n", scopes.join("`, `"))?;
        }
        for parameter in operation.value["parameters"].as_array().into_iter().flatten() {
            let parameter = document.resolve(parameter)?;
            write!(
                page,
                "\nParameter `{}` ({}): {}\n",
                text(parameter, "name"),
                text(parameter, "in"),
                text(parameter, "description")
            )?;
        }
        for (media, body) in operation.value["requestBody"]["content"]
            .as_object()
            .into_iter()
            .flatten()
        {
            write!(page, "\nBody: {}, as `{media}`.\n", kind(&body["schema"]))?;
        }
        page.push_str("\n| status | when | body | codes |\n|---|---|---|---|\n");
        for (status, response) in object(&operation.value["responses"])? {
            let response = document.resolve(response)?;
            let body = response["content"]
                .as_object()
                .and_then(|content| content.values().next());
            let codes: Vec<String> = strings(&response["x-codes"])
                .map(|code| format!("`{code}`"))
                .collect();
            writeln!(
                page,
                "| {status} | {} | {} | {} |",
                text(response, "description"),
                body.map(|body| kind(&body["schema"])).unwrap_or_default(),
                codes.join(", ")
            )?;
        }
    }
    page.push_str("\n## Bodies\n");
    for (name, schema) in object(&document.0["components"]["schemas"])? {
        describe(&mut page, name, schema)?;
    }
    write!(page, "\n## Frames\n\n{}\n", text(&frames, "title"))?;
    for direction in ["GuestFrame", "GatewayFrame"] {
        let frame = &frames["$defs"][direction];
        let names: Vec<&str> = frame["oneOf"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(referred)
            .collect();
        write!(page, "\n{} {}.\n", text(frame, "description"), names.join(", "))?;
    }
    for (name, schema) in object(&frames["$defs"])? {
        if !["GuestFrame", "GatewayFrame"].contains(&name.as_str()) {
            describe(&mut page, name, schema)?;
        }
    }
    write!(page, "\n## Deliveries\n\n{}\n", text(&events, "title"))?;
    for name in [
        "SessionDelivery",
        "SessionEvent",
        "ErasureDelivery",
        "ErasedSession",
        "SequenceRange",
    ] {
        describe(&mut page, name, &events["$defs"][name])?;
    }
    list(&mut page, &codes)?;
    details(&mut page, &contract::details(sources)?)?;
    Ok(page)
}

fn list(page: &mut String, codes: &[Code]) -> Result<(), Box<dyn Error>> {
    page.push_str(
        "\n## Codes\n\nThe gateway emits no other codes. A code with a status is in the body `Problem`, a code of a \
         frame in\n`error` or `delivery`.\n\n| code | status | frame | meaning | reaction of the client |\n|---|---|---|---|---|\n",
    );
    for code in codes {
        let frame = match code.frame {
            Some(Frame::Failure) => "`delivery`",
            Some(Frame::Refusal) => "`error`",
            None => "",
        };
        let status = code.status.map(|status| status.to_string()).unwrap_or_default();
        writeln!(
            page,
            "| `{}` | {status} | {frame} | {} | {} |",
            code.code,
            code.meaning,
            code.action.meaning()
        )?;
    }
    Ok(())
}

fn details(page: &mut String, details: &[DetailCode]) -> Result<(), Box<dyn Error>> {
    page.push_str(
        "\n## Codes of details\n\nThe same mistake has the same code and the same code of its detail at every endpoint. \
         Other details repeat the\ncode of the response, or name the rule of a policy.\n\n\
         | errorCode of the detail | code of the response | meaning |\n|---|---|---|\n",
    );
    for detail in details {
        writeln!(
            page,
            "| `{}` | `{}` | {} |",
            detail.code, detail.of, detail.meaning
        )?;
    }
    Ok(())
}

fn describe(page: &mut String, name: &str, schema: &Value) -> Result<(), Box<dyn Error>> {
    write!(page, "\n### {name}\n")?;
    let about = text(schema, "description");
    if !about.is_empty() {
        write!(page, "\n{about}\n")?;
    }
    let Some(properties) = schema["properties"].as_object() else {
        write!(page, "\n{}.\n", kind(schema))?;
        return Ok(());
    };
    page.push_str("\n| field | type | required | note |\n|---|---|---|---|\n");
    for (field, property) in properties {
        let required = match strings(&schema["required"]).any(|required| required == field) {
            true => "yes",
            false => "",
        };
        writeln!(
            page,
            "| `{field}` | {} | {required} | {} |",
            kind(property),
            text(property, "description")
        )?;
    }
    Ok(())
}

/// A schema's type in few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = referred(schema) {
        return name.to_owned();
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        return variants.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if schema["x-unparsed"] == true {
        return "any JSON".to_owned();
    }
    if schema["type"] == "array" && !schema["items"].is_null() {
        return format!("list of {}", kind(&schema["items"]));
    }
    let one = schema["type"].as_str();
    let kinds: Vec<&str> = one.into_iter().chain(strings(&schema["type"])).collect();
    match schema["format"].as_str() {
        Some(format) => format!("{} ({format})", kinds.join(" or ")),
        None => kinds.join(" or "),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
