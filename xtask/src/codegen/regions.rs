//! The regions of Genesys Cloud, for `genesys-api`.

use std::error::Error;
use std::fmt::Write;

use serde::Deserialize;

/// The table as Rust, in the order of the file.
pub(crate) fn generate(spec: &str) -> Result<String, Box<dyn Error>> {
    let Spec { regions } = toml::from_str(spec)?;
    let mut code = format!(
        "use crate::Region;\n\npub(crate) const REGIONS: [Region; {}] = [",
        regions.len()
    );
    for Region {
        aws,
        domain,
        aliases,
        environment,
    } in regions
    {
        write!(
            code,
            "Region {{ aws: {aws:?}, domain: {domain:?}, aliases: &{aliases:?}, environment: {environment:?} }},"
        )?;
    }
    code.push_str("];\n");
    Ok(code)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    #[serde(rename = "region")]
    regions: Vec<Region>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Region {
    aws: String,
    domain: String,
    #[serde(default)]
    aliases: Vec<String>,
    environment: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_is_one_row() {
        let spec = r#"
            [[region]]
            aws = "us-east-1"
            domain = "one.example"
            aliases = ["uno.example"]
            environment = "prod"

            [[region]]
            aws = "eu-west-1"
            domain = "two.example"
            environment = "prod-euw1"
        "#;
        assert_eq!(
            generate(spec).unwrap(),
            "use crate::Region;\n\npub(crate) const REGIONS: [Region; 2] = [\
             Region { aws: \"us-east-1\", domain: \"one.example\", aliases: &[\"uno.example\"], environment: \"prod\" },\
             Region { aws: \"eu-west-1\", domain: \"two.example\", aliases: &[], environment: \"prod-euw1\" },\
             ];\n"
        );
    }

    #[test]
    fn a_misspelt_key_is_refused_by_name() {
        let spec = "[[region]]\naws = \"us-east-1\"\ndomian = \"one.example\"\nenvironment = \"prod\"\n";
        assert!(generate(spec).unwrap_err().to_string().contains("domian"));
    }
}
