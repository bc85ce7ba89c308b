//! Regions of Genesys Cloud: AWS name, base domain, messenger environment.

use std::str::FromStr;

use crate::generated::regions::REGIONS;

/// One region. The base domain is what every host is derived from, see [`Hosts`](crate::Hosts).
///
/// A region cannot be guessed from another one: the wrong region's login host answers `invalid_client`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Region {
    /// Name of the AWS region, such as `eu-west-1`.
    pub aws: &'static str,
    /// Base domain, such as `mypurecloud.ie`.
    pub domain: &'static str,
    /// Further base domains of the same region.
    pub aliases: &'static [&'static str],
    /// What the messenger snippet calls the region, such as `prod-euw1`.
    pub environment: &'static str,
    /// The host to which guests upload files, and from which they download them. For some regions it is inferred from
    /// the others: `spec/regions.toml` says which.
    pub attachments: &'static str,
}

impl Region {
    /// Every region of the public SDKs' tables.
    pub const ALL: &'static [Self] = &REGIONS;
}

impl FromStr for Region {
    type Err = UnknownRegion;

    /// Accepts the AWS name, the base domain or the messenger environment, in any case.
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

/// The text names no region of Genesys Cloud.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "no region of Genesys Cloud is called {text:?}: give an AWS name such as \"eu-west-1\" or a base domain such as \"mypurecloud.ie\""
)]
pub struct UnknownRegion {
    /// What was given.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_found_by_each_of_its_names() {
        for name in ["us-east-1", "MYPURECLOUD.COM", "use1.pure.cloud", "prod"] {
            assert_eq!(
                name.parse::<Region>().map(|region| region.aws),
                Ok("us-east-1"),
                "{name}"
            );
        }
    }

    #[test]
    fn an_unknown_region_is_named_in_the_error() {
        let error = "atlantis".parse::<Region>().unwrap_err();
        assert!(error.to_string().contains("atlantis"));
    }

    #[test]
    fn no_two_regions_share_a_name() {
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
