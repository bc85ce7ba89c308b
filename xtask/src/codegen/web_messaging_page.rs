//! The reference page of `web-messaging`: the facts of Genesys' contract with their sources.

use std::error::Error;
use std::fmt::Write;

use super::facts::{Actions, Classes, ErrorCodes, Limits, Regions, Sources, capitalize};
use super::{ACTIONS, CLASSES, ERRORS, LIMITS, REGIONS};

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let mut page = String::from(
        "# web-messaging: reference\n\n\
         Genesys Cloud's own contract with a guest, as far as it is known. `guest-sessions` is another contract, of this\n\
         project. Each fact has its source: `official` is Genesys' source code or schemas, `documentation` its\n\
         Developer Center or help pages, `capture` published traffic, and `inference` is our conclusion without a\n\
         statement of Genesys.\n",
    );
    actions(&mut page, sources.toml(ACTIONS)?)?;
    classes(&mut page, sources.toml(CLASSES)?)?;
    errors(&mut page, sources.toml(ERRORS)?)?;
    limits(&mut page, sources.toml(LIMITS)?)?;
    regions(&mut page, sources.toml(REGIONS)?)?;
    Ok(page)
}

fn actions(page: &mut String, Actions { actions }: Actions) -> Result<(), Box<dyn Error>> {
    page.push_str(
        "\n## Actions\n\n\
         Requests of a guest. Every frame also has `action`, `token` and, optionally, `tracingId`. Arrays are\n\
         transparent in a path. `*` stands for any path below.\n",
    );
    for action in &actions {
        write!(
            page,
            "\n### {}\n\n{}. Answered by `{}`. Source: {} ({}).\n",
            action.name,
            capitalize(&action.meaning),
            action.answer,
            action.source,
            action.provenance.name()
        )?;
        if action.fields.is_empty() {
            continue;
        }
        page.push_str("\n| field | required | note |\n|---|---|---|\n");
        for field in &action.fields {
            let required = if field.required { "yes" } else { "" };
            let note = field.note.as_deref().unwrap_or_default();
            let doubt = match field.provenance {
                Some(provenance) => format!(" ({})", provenance.name()),
                None => String::new(),
            };
            writeln!(page, "| `{}` | {required} | {note}{doubt} |", field.path)?;
        }
    }
    Ok(())
}

fn classes(page: &mut String, Classes { classes }: Classes) -> Result<(), Box<dyn Error>> {
    page.push_str(
        "\n## Classes\n\n\
         Frames of the service. A `response` answers this socket's own request. A `message` goes to all sockets of\n\
         the session.\n\n| class | type | meaning | source |\n|---|---|---|---|\n",
    );
    for class in &classes {
        writeln!(
            page,
            "| `{}` | {} | {} | {} ({}) |",
            class.name,
            class.kind,
            class.meaning,
            class.source,
            class.provenance.name()
        )?;
    }
    Ok(())
}

fn errors(page: &mut String, ErrorCodes { errors }: ErrorCodes) -> Result<(), Box<dyn Error>> {
    page.push_str("\n## Error codes\n\n| code | name | meaning | reaction of the client | source |\n|---|---|---|---|---|\n");
    for error in &errors {
        writeln!(
            page,
            "| {} | `{}` | {} | {} | {} ({}) |",
            error.code,
            error.name,
            error.meaning,
            error.action.meaning(),
            error.source,
            error.provenance.name()
        )?;
    }
    Ok(())
}

fn limits(page: &mut String, Limits { limits }: Limits) -> Result<(), Box<dyn Error>> {
    page.push_str("\n## Limits\n\n| limit of | value | note | source |\n|---|---|---|---|\n");
    for limit in &limits {
        let name = limit.key.as_deref().unwrap_or(&limit.name);
        let period = limit
            .per
            .map(|period| format!(" a {}", period.name()))
            .unwrap_or_default();
        writeln!(
            page,
            "| `{name}`, for each {} | {}{period} | {} | {} ({}) |",
            limit.of,
            format!("{} {}", limit.value, limit.unit.name()).trim_end(),
            limit.note.as_deref().unwrap_or_default(),
            limit.source,
            limit.provenance.name()
        )?;
    }
    Ok(())
}

fn regions(page: &mut String, Regions { regions }: Regions) -> Result<(), Box<dyn Error>> {
    page.push_str(
        "\n## Regions\n\n\
         For a base domain D the hosts are `login.D`, `api.D`, `webmessaging.D` and `api-cdn.D`.\n\n\
         | AWS region | base domain | environment | files of guests | source |\n|---|---|---|---|---|\n",
    );
    for region in &regions {
        let domains: Vec<String> = std::iter::once(&region.domain)
            .chain(&region.aliases)
            .map(|domain| format!("`{domain}`"))
            .collect();
        writeln!(
            page,
            "| {} | {} | {} | `{}` ({}, {}) | {} ({}) |",
            region.aws,
            domains.join(", "),
            region.environment,
            region.attachments.host,
            region.attachments.source,
            region.attachments.provenance.name(),
            region.source,
            region.provenance.name()
        )?;
    }
    Ok(())
}
