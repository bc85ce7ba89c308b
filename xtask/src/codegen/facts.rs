//! The facts of `spec/` as parsed from its files. A misspelled key is refused by name.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The source texts of an artifact, by path relative to the root.
pub(crate) struct Sources(BTreeMap<&'static str, String>);

impl Sources {
    pub(crate) fn read(root: &Path, paths: &'static [&'static str]) -> Result<Self, Box<dyn Error>> {
        let read = |path: &&'static str| {
            let text = fs::read_to_string(root.join(path))
                .map_err(|error| format!("cannot read {path}: {error}"))?;
            Ok((*path, text))
        };
        paths.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// One of them, read as TOML.
    pub(crate) fn toml<T: DeserializeOwned>(&self, path: &str) -> Result<T, Box<dyn Error>> {
        toml::from_str(self.text(path)?).map_err(|error| format!("{path}: {error}").into())
    }

    /// One of them, read as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Box<dyn Error>> {
        serde_json::from_str(self.text(path)?).map_err(|error| format!("{path}: {error}").into())
    }

    /// One of them, as it is.
    pub(crate) fn text(&self, path: &str) -> Result<&str, Box<dyn Error>> {
        let text = self.0.get(path).map(String::as_str);
        text.ok_or_else(|| format!("{path} is not a source of this artifact").into())
    }

    /// Each of them with its path.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(path, text)| (*path, text.as_str()))
    }

    #[cfg(test)]
    pub(crate) fn of<'t>(texts: impl IntoIterator<Item = (&'static str, &'t str)>) -> Self {
        Self(
            texts
                .into_iter()
                .map(|(path, text)| (path, text.to_owned()))
                .collect(),
        )
    }
}

/// A text with a capital first letter.
pub(crate) fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// The origin of a fact.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Provenance {
    Capture,
    Documentation,
    Inference,
    Official,
}

impl Provenance {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Documentation => "documentation",
            Self::Inference => "inference",
            Self::Official => "official",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Regions {
    #[serde(rename = "region")]
    pub(crate) regions: Vec<Region>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Region {
    pub(crate) aws: String,
    pub(crate) domain: String,
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    pub(crate) environment: String,
    pub(crate) provenance: Provenance,
    pub(crate) source: String,
    pub(crate) attachments: AttachmentHost,
}

/// The host with the files of a region's guests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttachmentHost {
    pub(crate) host: String,
    pub(crate) provenance: Provenance,
    pub(crate) source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    #[serde(rename = "limit")]
    pub(crate) limits: Vec<Limit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    pub(crate) value: u64,
    pub(crate) unit: Unit,
    pub(crate) per: Option<Period>,
    pub(crate) of: String,
    pub(crate) note: Option<String>,
    pub(crate) provenance: Provenance,
    pub(crate) source: String,
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Bytes,
    Characters,
    Count,
    Kilobytes,
    Seconds,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Characters => "characters",
            Self::Count => "",
            Self::Kilobytes => "KiB",
            Self::Seconds => "s",
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Period {
    Minute,
    Second,
}

impl Period {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Second => "second",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorCodes {
    #[serde(rename = "error")]
    pub(crate) errors: Vec<ErrorCode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorCode {
    pub(crate) code: u16,
    pub(crate) name: String,
    pub(crate) meaning: String,
    pub(crate) action: ClientAction,
    pub(crate) provenance: Provenance,
    pub(crate) source: String,
}

/// The client's reaction to an error.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClientAction {
    DropAttributes,
    End,
    FailAttachment,
    FailMessage,
    ReadOnly,
    Refused,
    RenewLink,
    Report,
    Retry,
    SignIn,
    Wait,
}

impl ClientAction {
    /// The corresponding `Remedy` of `web-messaging`. That crate reports the failure of one message or file.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::DropAttributes => "DropAttributes",
            Self::End => "NewSession",
            Self::FailAttachment | Self::FailMessage | Self::Refused | Self::Report => "Report",
            Self::ReadOnly => "StopSending",
            Self::RenewLink => "FreshLink",
            Self::Retry => "Retry",
            Self::SignIn => "RefreshJwt",
            Self::Wait => "Wait",
        }
    }

    /// A description for the reference page.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::DropAttributes => "the message has failed, and its custom attributes are not sent again",
            Self::End => "the session has ended: a new one needs a new token",
            Self::FailAttachment => "the attachment has failed",
            Self::FailMessage => "the message has failed",
            Self::ReadOnly => "sending stops, and a new conversation may be started",
            Self::Refused => {
                "while the session is being configured it ends the conversation, later it is reported"
            }
            Self::RenewLink => "another link to the attachment is requested",
            Self::Report => "it is reported to the application",
            Self::Retry => "it may be temporary: the request is retried",
            Self::SignIn => "a signed-in guest's token is refreshed, any other conversation ends",
            Self::Wait => "sending pauses for the requested time, then the message is sent again",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Actions {
    #[serde(rename = "action")]
    pub(crate) actions: Vec<Action>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Action {
    pub(crate) name: String,
    pub(crate) answer: String,
    pub(crate) meaning: String,
    pub(crate) provenance: Provenance,
    pub(crate) source: String,
    pub(crate) fields: Vec<Field>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) required: bool,
    pub(crate) note: Option<String>,
    pub(crate) provenance: Option<Provenance>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Classes {
    #[serde(rename = "class")]
    pub(crate) classes: Vec<Class>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Class {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) meaning: String,
    pub(crate) provenance: Provenance,
    pub(crate) source: String,
}
