//! The layers of a configuration: the file, the environment over it, flags over both.
//!
//! They are merged before they are parsed. Each layer has byte offsets of its own, so that an error of the parser leads to
//! the file's line, the variable or the flag.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::suggestion::with_suggestion;

/// Prefix of the environment variables that set a value, as in `GUEST_GATEWAY__LISTEN__ADDRESS`.
const PREFIX: &str = "GUEST_GATEWAY__";

/// The place of a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// A line of the file.
    Line(usize),
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The places of all values and tables by their paths, such as `client.0.id`.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    file: Option<PathBuf>,
    by_path: BTreeMap<String, Origin>,
}

impl Origins {
    /// Returns the place where this value was set, or `None` for a default.
    pub(crate) fn get(&self, path: &str) -> Option<&Origin> {
        self.by_path.get(path)
    }

    /// The file, if there is one.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// An error with the place of a value, or of the table that lacks it.
    pub(crate) fn error(&self, path: &str, what: impl fmt::Display) -> ConfigError {
        let mut path = path;
        while self.get(path).is_none()
            && let Some((parent, _)) = path.rsplit_once('.')
        {
            path = parent;
        }
        self.error_at(self.get(path), what)
    }

    fn error_at(&self, origin: Option<&Origin>, what: impl fmt::Display) -> ConfigError {
        let file = self
            .file
            .as_ref()
            .map_or_else(String::new, |file| format!("{}: ", file.display()));
        ConfigError(match origin {
            Some(line @ Origin::Line(_)) => format!("{file}{line}: {what}"),
            Some(origin) => format!("{origin}: {what}"),
            None => format!("{file}{what}"),
        })
    }
}

/// The layers of one configuration.
#[derive(Debug)]
pub(super) struct Layers {
    text: String,
    settings: Vec<Setting>,
    origins: Origins,
}

/// One value of the environment or of a flag.
#[derive(Debug)]
struct Setting {
    origin: Origin,
    keys: Vec<String>,
    /// Offset of the value, behind the file and earlier settings.
    start: usize,
    /// An assignment of the value as TOML, at its offset.
    assignment: String,
    /// Whether the value is text even if it is TOML.
    is_text: bool,
}

impl Layers {
    pub(super) fn new(text: &str, file: Option<PathBuf>) -> Self {
        Self {
            text: text.to_owned(),
            settings: Vec::new(),
            origins: Origins {
                file,
                by_path: BTreeMap::new(),
            },
        }
    }

    /// Adds the variables of the environment that have the prefix.
    pub(super) fn add_environment(&mut self) -> Result<(), ConfigError> {
        let mut variables: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        variables.sort();
        for (name, value) in variables {
            let keys = name[PREFIX.len()..].split("__").map(str::to_ascii_lowercase);
            let keys: Vec<String> = keys.collect();
            let origin = Origin::Variable(name);
            match value.into_string() {
                Ok(value) => self.add(origin, keys, &value)?,
                Err(_) => {
                    return Err(self
                        .origins
                        .error_at(Some(&origin), "invalid value: not UTF-8, correct the variable"));
                }
            }
        }
        Ok(())
    }

    /// Adds a flag that sets a value, as in `listen.address=127.0.0.1:80`.
    pub(super) fn add_flag(&mut self, name: &str, setting: &str) -> Result<(), ConfigError> {
        match setting.split_once('=') {
            Some((path, value)) => {
                let keys = path.trim().split('.').map(str::to_owned).collect();
                let name = if name == "--set" {
                    format!("--set {}", path.trim())
                } else {
                    name.to_owned()
                };
                self.add(Origin::Flag(name), keys, value.trim())
            }
            None => Err(ConfigError(format!(
                "flag {name}: invalid setting {setting:?}: use section.key=value"
            ))),
        }
    }

    fn add(&mut self, origin: Origin, keys: Vec<String>, value: &str) -> Result<(), ConfigError> {
        if keys.iter().any(String::is_empty) {
            let what = "invalid name: a section or key is empty, use one such as GUEST_GATEWAY__LISTEN__ADDRESS or \
                        `--set listen.address=…`";
            return Err(self.origins.error_at(Some(&origin), what));
        }
        let last = self.settings.last().map(|setting| setting.assignment.len());
        let start = last.unwrap_or(self.text.len()) + 1;
        self.settings.push(Setting {
            origin,
            keys,
            start,
            assignment: format!("{}{ASSIGNED}{value}", " ".repeat(start)),
            is_text: false,
        });
        Ok(())
    }

    /// Parses the merged layers, and gives the place of each value.
    ///
    /// A value of the environment or of a flag is TOML if it can be, and text otherwise. Where TOML has the wrong type it is
    /// tried as text, as in `GUEST_GATEWAY__GENESYS__MIN_TLS_VERSION=1.3`.
    pub(super) fn parse<T: DeserializeOwned>(mut self) -> Result<(T, toml::Table, Origins), ConfigError> {
        let mut refused: Option<(usize, ConfigError)> = None;
        loop {
            let merged = self.merge()?;
            let by_path = self.places(&merged)?;
            let error = match T::deserialize(toml::de::Deserializer::from(merged.clone())) {
                Ok(parsed) => {
                    let table = toml::Table::deserialize(toml::de::Deserializer::from(merged));
                    let table = table.map_err(|error| self.error(&error))?;
                    self.origins.by_path = by_path;
                    return Ok((parsed, table, self.origins));
                }
                Err(error) => error,
            };
            let described = self.error(&error);
            let position = error.span().and_then(|span| self.setting_at(span.start));
            match (refused.take(), position) {
                (Some((earlier, error)), Some(position)) if earlier == position => return Err(error),
                (_, Some(position)) if !self.settings[position].is_text => {
                    self.settings[position].is_text = true;
                    refused = Some((position, described));
                }
                _ => return Err(described),
            }
        }
    }

    fn merge(&self) -> Result<Spanned<DeTable<'_>>, ConfigError> {
        let mut merged = DeTable::parse(&self.text).map_err(|error| self.error(&error))?;
        for setting in &self.settings {
            insert(merged.get_mut(), &setting.keys, setting.value()).map_err(|key| {
                let what =
                    format!("cannot set a value in `{key}`: neither a section nor a list with that index, correct the name");
                self.origins.error_at(Some(&setting.origin), what)
            })?;
        }
        add_defaults(merged.get_mut());
        Ok(merged)
    }

    /// Returns the place of each value and table.
    fn places(&self, merged: &Spanned<DeTable<'_>>) -> Result<BTreeMap<String, Origin>, ConfigError> {
        let mut places = BTreeMap::new();
        let mut first = None;
        each_value("", merged.get_ref(), &mut |path, offset, value| {
            places.insert(path.to_owned(), self.origin(offset));
            if first.is_none()
                && let Some(what) = value.as_str().and_then(|value| unusable(path, value))
            {
                first = Some((what, offset));
            }
        });
        match first {
            Some((what, offset)) => Err(self.origins.error_at(Some(&self.origin(offset)), what)),
            None => Ok(places),
        }
    }

    fn error(&self, error: &toml::de::Error) -> ConfigError {
        let message = with_suggestion(error.message());
        let Some(offset) = error.span().map(|span| span.start) else {
            return self.origins.error_at(None, message);
        };
        let message = match key_at(&self.text, offset) {
            Some(key) if !message.contains(key) => format!("{key}: {message}"),
            _ => message,
        };
        self.origins.error_at(Some(&self.origin(offset)), message)
    }

    fn origin(&self, offset: usize) -> Origin {
        match self.setting_at(offset) {
            Some(position) => self.settings[position].origin.clone(),
            None => {
                let before = self.text.get(..offset).unwrap_or(&self.text);
                Origin::Line(before.matches('\n').count() + 1)
            }
        }
    }

    fn setting_at(&self, offset: usize) -> Option<usize> {
        self.settings.iter().rposition(|setting| setting.start <= offset)
    }
}

const ASSIGNED: &str = "value=";

impl Setting {
    fn value(&self) -> Spanned<DeValue<'_>> {
        let parsed = DeTable::parse(&self.assignment).ok();
        let parsed = parsed.filter(|table| !self.is_text && table.get_ref().len() == 1);
        if let Some((_, value)) = parsed.and_then(|table| table.into_inner().into_iter().next()) {
            return value;
        }
        let text = &self.assignment[self.start + ASSIGNED.len()..];
        Spanned::new(self.start..self.assignment.len(), DeValue::String(text.into()))
    }
}

/// Adds the values of `[genesys]` to each organization that does not have them.
fn add_defaults(merged: &mut DeTable<'_>) {
    let Some(DeValue::Table(defaults)) = merged.get("genesys").map(|value| value.get_ref().clone()) else {
        return;
    };
    let Some(DeValue::Table(organizations)) = merged.get_mut("organizations").map(Spanned::get_mut) else {
        return;
    };
    for (_, organization) in organizations.iter_mut() {
        let DeValue::Table(table) = organization.get_mut() else {
            continue;
        };
        for (key, value) in &defaults {
            table.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// Puts a value at a path. Tables that are missing are created. The error is the key of what is neither a table nor an array
/// with that index.
fn insert<'k, 'v: 'k>(
    table: &mut DeTable<'v>,
    keys: &'k [String],
    value: Spanned<DeValue<'v>>,
) -> Result<(), &'k str> {
    let Some((key, mut rest)) = keys.split_first() else {
        return Ok(());
    };
    let name = Spanned::new(value.span(), key.clone().into());
    if rest.is_empty() {
        table.remove(&name);
        table.insert(name, value);
        return Ok(());
    }
    let empty = Spanned::new(value.span(), DeValue::Table(DeTable::new()));
    let mut inner = table.entry(name).or_insert(empty).get_mut();
    while let DeValue::Array(items) = inner {
        let (index, deeper) = rest.split_first().ok_or(&**key)?;
        let item = index.parse().ok().and_then(|index: usize| items.get_mut(index));
        let item = item.ok_or(&**key)?;
        if deeper.is_empty() {
            *item = value;
            return Ok(());
        }
        (inner, rest) = (item.get_mut(), deeper);
    }
    match inner {
        DeValue::Table(table) => insert(table, rest, value),
        _ => Err(key),
    }
}

/// Calls `visit` with the path, the offset and the value of each value and table. The offset is the one of the key.
fn each_value(path: &str, table: &DeTable<'_>, visit: &mut impl FnMut(&str, usize, &DeValue<'_>)) {
    fn inner(
        path: &str,
        offset: usize,
        value: &DeValue<'_>,
        visit: &mut impl FnMut(&str, usize, &DeValue<'_>),
    ) {
        visit(path, offset, value);
        match value {
            DeValue::Table(table) => each_value(&format!("{path}."), table, visit),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    inner(
                        &format!("{path}.{index}"),
                        item.span().start,
                        item.get_ref(),
                        visit,
                    );
                }
            }
            _ => {}
        }
    }
    for (key, value) in table {
        let path = format!("{path}{}", key.get_ref());
        inner(&path, key.span().start, value.get_ref(), visit);
    }
}

/// Returns the error of a text that no key can have: an empty one, or a variable in place of its value.
fn unusable(path: &str, value: &str) -> Option<String> {
    let key = path.rsplit_once('.').map_or(path, |(_, key)| key);
    if value.trim().is_empty() {
        let position = key.bytes().all(|byte| byte.is_ascii_digit());
        return (!position).then(|| format!("invalid {key}: empty, give a value or remove the key"));
    }
    let name = variable_in(value)?;
    let value = value.trim();
    let instead = match key {
        // it may be the secret itself
        "secret" | "token" if !value.starts_with("${") => {
            return Some(format!(
                "invalid {key}: variables are not replaced in values, use `{key}_env` with the name of the variable, or \
                 `{key}_file` if it is the {key} itself"
            ));
        }
        "secret" | "token" => format!("use `{key}_env = \"{name}\"`"),
        "secret_env" | "token_env" => format!("use `{key} = \"{name}\"`"),
        _ => {
            let variable = path.to_ascii_uppercase().replace('.', "__");
            format!("set the environment variable {PREFIX}{variable}")
        }
    };
    Some(format!(
        "invalid {key} \"{value}\": variables are not replaced in values, {instead}"
    ))
}

/// Returns the name in a value such as `${NAME}`, or `$NAME` in upper case, as a password may begin with `$`.
fn variable_in(value: &str) -> Option<&str> {
    let rest = value.trim().strip_prefix('$')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let name = match rest.strip_prefix('{') {
        Some(braced) => braced.strip_suffix('}')?,
        None => Some(rest).filter(|name| !name.bytes().any(|byte| byte.is_ascii_lowercase()))?,
    };
    let is_variable = name.bytes().all(is_name) && !name.starts_with(|first: char| first.is_ascii_digit());
    (is_variable && !name.is_empty()).then_some(name)
}

/// Returns the key in the line at an offset, if the line has one.
fn key_at(text: &str, offset: usize) -> Option<&str> {
    let line = text.get(..offset)?.matches('\n').count();
    let (key, _) = text.lines().nth(line)?.split_once('=')?;
    Some(key.trim())
}
