//! What an agent does, as a script.

mod content;

use std::time::Duration;

use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;

use crate::{Fault, duration};

pub(crate) use content::{Card, Content, DatePicker, File, Form, ListPicker, QuickReplies};

/// Largest script, in bytes.
const LARGEST: usize = 64 * 1024;

/// Most rules of a script, and most steps of a rule.
const MOST: usize = 64;

/// Largest compiled pattern, in bytes.
const LARGEST_PATTERN: usize = 64 * 1024;

/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 86_400);

/// What one agent does: rules, of which the first that fits is played. Written in YAML:
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
/// At most 64 KiB, 64 rules of 64 steps; waits of at most 30 days.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    name: String,
    pub(crate) nickname: Option<String>,
    /// Where the agent's picture is.
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

/// When a rule is played.
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
    Disconnect(Option<Leave>),
    /// An event as Genesys writes it.
    Event(Value),
    Expire,
    Fault(Planned),
    Form(Form),
    HandOver(String),
    ListPicker(ListPicker),
    Pause,
    QuickReplies(QuickReplies),
    Say(Words),
    Type(Span),
    Wait(Span),
}

/// How an agent leaves, where the script says so.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Leave {
    Open,
    ReadOnly,
}

/// One text, or several in turn.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Words {
    One(String),
    InTurn(Vec<String>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(pub(crate) Duration);

#[derive(Clone, Debug)]
pub(crate) struct Pattern(Regex);

#[derive(Clone, Debug)]
pub(crate) struct Planned(pub(crate) Fault);

/// What a guest said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) text: String,
    pub(crate) payloads: Vec<String>,
}

/// A text is no script.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// More rules, or more steps in a rule, than 64.
    #[error("{file}: {number} {what} are too many: use at most {MOST}")]
    TooMany {
        /// The file, as it was named.
        file: String,
        /// `rules` or `steps`.
        what: &'static str,
        /// How many there are.
        number: usize,
    },
    /// More than 64 KiB.
    #[error("{file}: the script has {bytes} bytes: write it in at most {LARGEST}")]
    TooLarge {
        /// The file, as it was named.
        file: String,
        /// How large it is.
        bytes: usize,
    },
    /// No YAML, an unknown key, a bad pattern, time or fault.
    #[error("{file}, line {line}, column {column}: {reason}")]
    Yaml {
        /// The file, as it was named.
        file: String,
        /// Counted from one; zero if unknown.
        line: u64,
        /// Counted from one; zero if unknown.
        column: u64,
        /// What is wrong, and what may stand there.
        reason: String,
    },
}

impl Script {
    /// Reads a script; `file` names it in errors.
    ///
    /// # Errors
    /// If it is too large, no YAML, or says something that no script can.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScriptError> {
        let file = || file.to_owned();
        if text.len() > LARGEST {
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
        if script.rules.len() > MOST {
            return Err(too_many("rules", script.rules.len()));
        }
        match script.rules.iter().find(|rule| rule.steps.len() > MOST) {
            Some(rule) => Err(too_many("steps", rule.steps.len())),
            None => Ok(script),
        }
    }

    /// What a guest's custom attribute `agent` says to choose it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Types, then says `You said: …`; leaves on `/disconnect`.
    pub(crate) fn echo() -> Self {
        Self::parse("echo.yaml", include_str!("../agents/echo.yaml")).expect("a test reads it")
    }

    /// Types, then says these texts in turn; leaves on `/disconnect`.
    pub(crate) fn replies(texts: Vec<String>) -> Self {
        let mut script = Self::echo();
        for rule in &mut script.rules {
            for step in &mut rule.steps {
                if let Step::Say(words) = step {
                    *words = Words::InTurn(texts.clone());
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

    /// The rule for what a guest said.
    pub(crate) fn answer(&self, heard: &Heard) -> Option<usize> {
        let fits = |rule: &Rule| rule.on.fits(heard);
        let otherwise = |rule: &Rule| matches!(rule.on, On::Otherwise);
        let rules = || self.rules.iter();
        rules().position(fits).or_else(|| rules().position(otherwise))
    }

    /// The first rule for `connect` or `join`.
    pub(crate) fn first(&self, wanted: fn(&On) -> bool) -> Option<usize> {
        self.rules.iter().position(|rule| wanted(&rule.on))
    }

    /// The rules that are played by time.
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
    fn fits(&self, heard: &Heard) -> bool {
        let text = heard.text.trim();
        match self {
            Self::Button(payload) => heard.payloads.contains(payload),
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
            Some(time) if time <= LONGEST_WAIT => Ok(Self(time)),
            _ => Err(D::Error::custom(format_args!(
                "{text:?} is no time of at most 30 days: write a whole number of ms, s, m, h or d, such as 1500ms"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        RegexBuilder::new(&text)
            .size_limit(LARGEST_PATTERN)
            .build()
            .map(Self)
            .map_err(|error| D::Error::custom(format_args!("{text:?} is no regular expression: {error}")))
    }
}

impl<'de> Deserialize<'de> for Planned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_with_its_line() {
        for (rule, line, why) in [
            ("- on: {text: a}\n    do: [{shout: b}]", 4, "shout"),
            ("- on: {text: a}\n    does: []", 4, "does"),
            (
                "- on: {matches: \"(\"}\n    do: []",
                3,
                "is no regular expression",
            ),
            (
                "- on: connect\n    do: [{wait: 5x}]",
                4,
                "write a whole number of ms, s, m, h or d",
            ),
            (
                "- on: connect\n    do: [{fault: explode}]",
                4,
                "is no fault: use one of",
            ),
        ] {
            let text = format!("name: x\nrules:\n  {rule}\n");
            let error = Script::parse("x.yaml", &text).unwrap_err();
            let shown = error.to_string();
            assert!(shown.starts_with(&format!("x.yaml, line {line}, ")), "{shown}");
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
            Script::parse("x.yaml", &"#".repeat(LARGEST + 1)),
            Err(ScriptError::TooLarge { .. })
        ));
    }
}
