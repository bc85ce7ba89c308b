//! Regions of Genesys Cloud: AWS name, base domain, messenger environment.

use std::str::FromStr;

use crate::generated::regions::REGIONS;

/// A region of Genesys Cloud. [`Hosts`](crate::Hosts) are derived from its base domain.
///
/// The login host of another region responds with `invalid_client`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Region {
    /// Name of the AWS region, such as `eu-west-1`.
    pub aws: &'static str,
    /// Base domain, such as `mypurecloud.ie`.
    pub domain: &'static str,
    /// Further base domains of the same region.
    pub aliases: &'static [&'static str],
    /// Name in the messenger snippet, such as `prod-euw1`.
    pub environment: &'static str,
    /// Host of uploaded and downloaded files. Inferred for some regions, which `spec/regions.toml` names.
    pub attachments: &'static str,
}

impl Region {
    /// All regions of the public SDKs.
    pub const ALL: &'static [Self] = &REGIONS;
}

impl FromStr for Region {
    type Err = UnknownRegion;

    /// Parses the AWS name, the base domain or the messenger environment, ignoring case.
    fn from_str(text: &str) -> Result<Self, UnknownRegion> {
        let wanted = text.trim().to_ascii_lowercase();
        REGIONS
            .iter()
            .find(|region| {
                region.aws == wanted
                    || region.domain == wanted
                    || region.environment == wanted
                    || region.aliases.contains(&wanted.as_str())
            })
            .copied()
            .ok_or(UnknownRegion {
                text: text.to_owned(),
            })
    }
}

/// An unknown region.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "unknown region {text:?}: give an AWS name such as \"eu-west-1\" or a base domain such as \"mypurecloud.ie\""
)]
pub struct UnknownRegion {
    /// The given text.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_parses_from_each_of_its_names() {
        for name in ["us-east-1", "MYPURECLOUD.COM", "use1.pure.cloud", "prod"] {
            assert_eq!(
                name.parse::<Region>().map(|region| region.aws),
                Ok("us-east-1"),
                "{name}"
            );
        }
    }

    #[test]
    fn unknown_region_is_named_in_error() {
        let error = "atlantis".parse::<Region>().unwrap_err();
        assert!(error.to_string().contains("atlantis"));
    }

    #[test]
    fn region_names_are_unique() {
        let mut names: Vec<&str> = Region::ALL
            .iter()
            .flat_map(|region| {
                [region.aws, region.domain, region.environment]
                    .into_iter()
                    .chain(region.aliases.iter().copied())
            })
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
