//! Agents, and the scripts that they follow.

mod content;

use std::sync::Arc;
use std::time::Duration;

use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;

use crate::duration;
use crate::fault::Fault;

pub(crate) use content::{Card, Content, DatePicker, File, Form, ListPicker, QuickReplies};

/// Largest script, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Limit of rules in a script, and of steps in a rule.
const MAX_ITEMS: usize = 64;

/// Largest compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 64 * 1024;

/// Longest wait.
const MAX_WAIT: Duration = Duration::from_secs(30 * 86_400);

/// The agent that answers guests. The first three variants are built-in scripts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Agent {
    /// Types, then replies `You said: …`. Leaves when the guest writes `/disconnect`.
    #[default]
    Echo,
    /// Types, then replies with these texts in turn, for each session. Leaves likewise.
    Replies(Vec<String>),
    /// The first of these scripts, or the one that the guest's custom attribute `agent` names. Without a script there
    /// is no reply.
    Scripts(Vec<Script>),
    /// Sends nothing.
    Silent,
}

impl Agent {
    /// The scripts, at least one.
    pub(crate) fn scripts(self) -> Vec<Arc<Script>> {
        let scripts = match self {
            Self::Echo => vec![Script::echo()],
            Self::Replies(texts) => vec![Script::replies(texts)],
            Self::Scripts(scripts) if !scripts.is_empty() => scripts,
            Self::Scripts(_) | Self::Silent => vec![Script::silent()],
        };
        scripts.into_iter().map(Arc::new).collect()
    }
}

/// A script of an agent, in YAML: rules, of which the first that matches runs.
///
/// ```
/// # use genesys_sim::Script;
/// let script = Script::parse("shop.yaml", r#"
/// name: shop
/// nickname: Shop Bot
/// bot: true
/// rules:
///   - on: connect
///     do: [{say: "Hello!"}]
///   - on: {contains: refund}
///     do:
///       - type: 2s
///       - wait: 2s
///       - hand_over: Ann
///       - say: "Ann here. You wrote: {text}"
///   - on: otherwise
///     do: [{say: ["Really?", "Go on."]}]
/// "#)?;
/// assert_eq!(script.name(), "shop");
/// # Ok::<(), genesys_sim::ScriptError>(())
/// ```
///
/// `on` is `connect` (a new conversation), `join`, `text` (equal but for case and space around it), `contains`
/// (whatever its case), `matches` (a regular expression), `button` (a payload), `after` (a time from the beginning of
/// the conversation) or `otherwise`. `do` lists `say` (a text, or several in turn), `type`, `wait`, `pause` (for
/// [`Rules::agent_delay`](crate::Rules::agent_delay)), `quick_replies`, `card`, `carousel`, `date_picker`,
/// `list_picker`, `form`, `attachment`, `content` and `event` (as Genesys writes them), `hand_over`, `disconnect` (or
/// `disconnect: read_only` / `open`), `clear`, `expire` and `fault`; `agents/README.md` shows each. A guest chooses among
/// several scripts with the custom attribute `agent`.
///
/// Limits: 64 KiB, 64 rules, 64 steps in a rule, waits of 30 days.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    name: String,
    pub(crate) nickname: Option<String>,
    /// URL of the agent's picture.
    pub(crate) picture: Option<String>,
    #[serde(default)]
    pub(crate) bot: bool,
    pub(crate) rules: Vec<Rule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) on: On,
    #[serde(rename = "do")]
    pub(crate) steps: Vec<Step>,
}

/// Trigger of a rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum On {
    After(Span),
    Button(String),
    Connect,
    Contains(String),
    Join,
    Matches(Pattern),
    Otherwise,
    Text(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Attachment(File),
    Card(Card),
    Carousel(Vec<Card>),
    Clear,
    Content(Content),
    DatePicker(DatePicker),
    Disconnect(Option<DisconnectMode>),
    /// An event as Genesys writes it.
    Event(Value),
    Expire,
    Fault(ParsedFault),
    Form(Form),
    HandOver(String),
    ListPicker(ListPicker),
    Pause,
    QuickReplies(QuickReplies),
    Say(Utterances),
    Type(Span),
    Wait(Span),
}

/// State of the conversation after the agent has left.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DisconnectMode {
    Open,
    ReadOnly,
}

/// One text, or several in turn.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Utterances {
    One(String),
    InTurn(Vec<String>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(pub(crate) Duration);

#[derive(Clone, Debug)]
pub(crate) struct Pattern(Regex);

#[derive(Clone, Debug)]
pub(crate) struct ParsedFault(pub(crate) Fault);

/// A guest's message: its text, and the payloads of the buttons pressed.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuestInput {
    pub(crate) text: String,
    pub(crate) payloads: Vec<String>,
}

/// Invalid script.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// More rules, or more steps in a rule, than 64.
    #[error("invalid script {file}: it has {number} {what}, use at most {MAX_ITEMS}")]
    TooMany {
        /// The name of the file.
        file: String,
        /// `rules` or `steps`.
        what: &'static str,
        /// The number found.
        number: usize,
    },
    /// More than 64 KiB.
    #[error("invalid script {file}: it has {bytes} bytes, use at most {MAX_BYTES}")]
    TooLarge {
        /// The name of the file.
        file: String,
        /// Size of the file.
        bytes: usize,
    },
    /// Invalid YAML, an unknown key, or an invalid pattern, time or fault.
    #[error("invalid script {file}, line {line}, column {column}: {reason}")]
    Yaml {
        /// The name of the file.
        file: String,
        /// Counted from one; zero if unknown.
        line: u64,
        /// Counted from one; zero if unknown.
        column: u64,
        /// The mistake, and what is valid.
        reason: String,
    },
}

impl Script {
    /// Parses a script; `file` names it in errors.
    ///
    /// # Errors
    /// If it is too large, is not YAML, or has an invalid key or value.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScriptError> {
        let file = || file.to_owned();
        if text.len() > MAX_BYTES {
            return Err(ScriptError::TooLarge {
                file: file(),
                bytes: text.len(),
            });
        }
        let script: Self = serde_saphyr::from_str(text).map_err(|error| {
            let location = error.location();
            ScriptError::Yaml {
                file: file(),
                line: location.as_ref().map_or(0, |it| it.line()),
                column: location.as_ref().map_or(0, |it| it.column()),
                reason: error.without_snippet().to_string(),
            }
        })?;
        let too_many = |what, number| ScriptError::TooMany {
            file: file(),
            what,
            number,
        };
        if script.rules.len() > MAX_ITEMS {
            return Err(too_many("rules", script.rules.len()));
        }
        match script.rules.iter().find(|rule| rule.steps.len() > MAX_ITEMS) {
            Some(rule) => Err(too_many("steps", rule.steps.len())),
            None => Ok(script),
        }
    }

    /// The value of the guest's custom attribute `agent` that chooses it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Types, then replies `You said: …`. Leaves on `/disconnect`.
    pub(crate) fn echo() -> Self {
        Self::parse("echo.yaml", include_str!("../agents/echo.yaml")).expect("the built-in script is valid")
    }

    /// Types, then replies with these texts in turn. Leaves on `/disconnect`.
    pub(crate) fn replies(texts: Vec<String>) -> Self {
        let mut script = Self::echo();
        for rule in &mut script.rules {
            for step in &mut rule.steps {
                if let Step::Say(utterances) = step {
                    *utterances = Utterances::InTurn(texts.clone());
                }
            }
        }
        script
    }

    pub(crate) fn silent() -> Self {
        Self {
            name: "silent".to_owned(),
            nickname: None,
            picture: None,
            bot: false,
            rules: Vec::new(),
        }
    }

    /// The rule for a guest's message.
    pub(crate) fn rule_for(&self, input: &GuestInput) -> Option<usize> {
        let fits = |rule: &Rule| rule.on.fits(input);
        let otherwise = |rule: &Rule| matches!(rule.on, On::Otherwise);
        let rules = || self.rules.iter();
        rules().position(fits).or_else(|| rules().position(otherwise))
    }

    /// The first rule for `connect` or `join`.
    pub(crate) fn first(&self, wanted: fn(&On) -> bool) -> Option<usize> {
        self.rules.iter().position(|rule| wanted(&rule.on))
    }

    /// The rules with a time, and the time.
    pub(crate) fn timed(&self) -> impl Iterator<Item = (usize, Duration)> {
        self.rules
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| match rule.on {
                On::After(Span(time)) => Some((index, time)),
                _ => None,
            })
    }
}

impl On {
    fn fits(&self, input: &GuestInput) -> bool {
        let text = input.text.trim();
        match self {
            Self::Button(payload) => input.payloads.contains(payload),
            Self::Contains(part) => text.to_lowercase().contains(&part.to_lowercase()),
            Self::Matches(Pattern(pattern)) => pattern.is_match(text),
            Self::Text(whole) => text.to_lowercase() == whole.trim().to_lowercase(),
            Self::After(_) | Self::Connect | Self::Join | Self::Otherwise => false,
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match duration::parse(&text) {
            Some(time) if time <= MAX_WAIT => Ok(Self(time)),
            _ => Err(D::Error::custom(format_args!(
                "invalid time {text:?}: use a whole number of ms, s, m, h or d, at most 30 days, such as 1500ms"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        RegexBuilder::new(&text)
            .size_limit(MAX_PATTERN_BYTES)
            .build()
            .map(Self)
            .map_err(|error| D::Error::custom(format_args!("invalid regular expression {text:?}: {error}")))
    }
}

impl<'de> Deserialize<'de> for ParsedFault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_error_names_the_line() {
        for (rule, line, why) in [
            ("- on: {text: a}\n    do: [{shout: b}]", 4, "shout"),
            ("- on: {text: a}\n    does: []", 4, "does"),
            (
                "- on: {matches: \"(\"}\n    do: []",
                3,
                "invalid regular expression",
            ),
            (
                "- on: connect\n    do: [{wait: 5x}]",
                4,
                "use a whole number of ms, s, m, h or d",
            ),
            (
                "- on: connect\n    do: [{fault: explode}]",
                4,
                "invalid fault \"explode\": use one of",
            ),
        ] {
            let text = format!("name: x\nrules:\n  {rule}\n");
            let error = Script::parse("x.yaml", &text).unwrap_err();
            let shown = error.to_string();
            assert!(
                shown.starts_with(&format!("invalid script x.yaml, line {line}, ")),
                "{shown}"
            );
            assert!(shown.contains(why), "{shown}");
        }
        let rules = "\n  - {on: join, do: []}".repeat(65);
        assert!(matches!(
            Script::parse("x.yaml", &format!("name: x\nrules:{rules}")),
            Err(ScriptError::TooMany {
                what: "rules",
                number: 65,
                ..
            })
        ));
        assert!(matches!(
            Script::parse("x.yaml", &"#".repeat(MAX_BYTES + 1)),
            Err(ScriptError::TooLarge { .. })
        ));
    }
}
