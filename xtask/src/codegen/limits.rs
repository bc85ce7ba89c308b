//! The numbers of `web-messaging` as constants, for `genesys-api`.

use std::error::Error;
use std::fmt::Write;

use super::LIMITS;
use super::facts::{Limit, Limits, Sources, Unit};

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let Limits { limits } = sources.toml(LIMITS)?;
    let mut code = String::from("use std::time::Duration;\n\n");
    for limit in &limits {
        for line in documentation(limit) {
            writeln!(code, "/// {line}")?;
        }
        let Limit { name, value, .. } = limit;
        match (limit.unit, name.strip_suffix("_SECONDS")) {
            (Unit::Seconds, Some(name)) => {
                writeln!(
                    code,
                    "pub const {name}: Duration = Duration::from_secs({value});\n"
                )?;
            }
            (Unit::Seconds, None) => return Err(format!("{LIMITS}: {name}: seconds end in _SECONDS").into()),
            (Unit::Count | Unit::Kilobytes, _) => writeln!(code, "pub const {name}: u32 = {value};\n")?,
            (Unit::Bytes | Unit::Characters, _) => {
                writeln!(code, "pub const {name}: usize = {value};\n")?;
            }
        }
    }
    Ok(code)
}

fn documentation(limit: &Limit) -> Vec<String> {
    let Limit { of, source, .. } = limit;
    let mut lines = vec![match limit.per {
        Some(period) => format!("For each {of}, in a {}.", period.name()),
        None => format!(
            "For each {of}{}.",
            match limit.unit {
                Unit::Count | Unit::Seconds => String::new(),
                unit => format!(", in {}", unit.name()),
            }
        ),
    }];
    if let Some(note) = &limit.note {
        lines.push(note.clone());
    }
    lines.push(String::new());
    let key = limit
        .key
        .as_ref()
        .map(|key| format!("`{key}`; "))
        .unwrap_or_default();
    lines.push(format!("Source: {key}{source} ({}).", limit.provenance.name()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_a_constant_with_the_type_of_its_unit() {
        let spec = "[[limit]]\nname = \"PING_SECONDS\"\nvalue = 15\nunit = \"seconds\"\nof = \"connection\"\n\
                    provenance = \"official\"\nsource = \"here\"\n";
        let code = generate(&Sources::of([(LIMITS, spec)])).unwrap();
        assert!(
            code.contains("pub const PING: Duration = Duration::from_secs(15);"),
            "{code}"
        );
        assert!(code.contains("/// Source: here (official)."), "{code}");
        let nameless = spec.replace("PING_SECONDS", "PING");
        assert!(generate(&Sources::of([(LIMITS, nameless.as_str())])).is_err());
    }
}
