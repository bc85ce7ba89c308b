//! The regions of Genesys Cloud, for `genesys-api`.

use std::error::Error;
use std::fmt::Write;

use super::REGIONS;
use super::facts::{Region, Regions, Sources};

/// The table as Rust, in the order of the file.
pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let Regions { regions } = sources.toml(REGIONS)?;
    let mut code = format!(
        "use crate::Region;\n\npub(crate) const REGIONS: [Region; {}] = [",
        regions.len()
    );
    for Region {
        aws,
        domain,
        aliases,
        environment,
        attachments,
        ..
    } in regions
    {
        write!(
            code,
            "Region {{ aws: {aws:?}, domain: {domain:?}, aliases: &{aliases:?}, environment: {environment:?}, \
             attachments: {:?} }},",
            attachments.host
        )?;
    }
    code.push_str("];\n");
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_is_one_row() {
        let spec = r#"
            [[region]]
            aws = "us-east-1"
            domain = "one.example"
            aliases = ["uno.example"]
            environment = "prod"
            provenance = "official"
            source = "here"
            attachments = { host = "files.one.example", provenance = "documentation", source = "there" }

            [[region]]
            aws = "eu-west-1"
            domain = "two.example"
            environment = "prod-euw1"
            provenance = "official"
            source = "here"
            attachments = { host = "files.two.example", provenance = "inference", source = "there" }
        "#;
        assert_eq!(
            generate(&Sources::of([(REGIONS, spec)])).unwrap(),
            "use crate::Region;\n\npub(crate) const REGIONS: [Region; 2] = [\
             Region { aws: \"us-east-1\", domain: \"one.example\", aliases: &[\"uno.example\"], environment: \"prod\", attachments: \"files.one.example\" },\
             Region { aws: \"eu-west-1\", domain: \"two.example\", aliases: &[], environment: \"prod-euw1\", attachments: \"files.two.example\" },\
             ];\n"
        );
    }

    #[test]
    fn misspelled_key_is_refused_by_name() {
        let spec = "[[region]]\naws = \"us-east-1\"\ndomian = \"one.example\"\nenvironment = \"prod\"\n";
        let error = generate(&Sources::of([(REGIONS, spec)])).unwrap_err().to_string();
        assert!(error.contains("domian") && error.contains(REGIONS), "{error}");
    }
}
