//! Agents, and the scripts that they follow.

mod content;

use std::sync::Arc;
use std::time::Duration;

use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Value;

use crate::config::Disconnect;
use crate::duration;
use crate::fault::Fault;
use content::{Card, Content, DatePicker, Form, ListPicker, QuickReplies};

pub(crate) use content::File;

const MAX_BYTES: usize = 64 * 1024;
const MAX_ITEMS: usize = 64;
const MAX_PATTERN_BYTES: usize = 64 * 1024;
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
    /// The first of these scripts, or the one that the guest's custom attribute `agent` names.
    Scripts(Vec<Script>),
    /// Sends nothing.
    Silent,
}

impl Agent {
    pub(crate) fn scripts(self) -> Vec<Arc<Script>> {
        let scripts = match self {
            Self::Echo => vec![Script::echo()],
            Self::Replies(texts) => vec![Script::replies(&texts)],
            Self::Scripts(scripts) if !scripts.is_empty() => scripts,
            Self::Scripts(_) | Self::Silent => vec![Script::built_in("{name: silent, rules: []}")],
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
///   - {on: connect, do: [{type: 2s}, {wait: 2s}, {say: "Hello!"}]}
///   - {on: {contains: refund}, do: [{transfer: Ann}, {say: "Ann here. You wrote: {text}"}]}
///   - {on: otherwise, do: [{say: ["Really?", "Go on."]}]}
/// "#)?;
/// assert_eq!(script.name, "shop");
/// # Ok::<(), genesys_sim::ScriptError>(())
/// ```
///
/// `agents/README.md` shows every trigger and every step.
///
/// Limits: 64 KiB, 64 rules, 64 steps in a rule, waits of 30 days.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The value of a guest's custom attribute `agent` that chooses it.
    pub name: String,
    pub(crate) nickname: Option<String>,
    pub(crate) picture: Option<String>,
    #[serde(default)]
    pub(crate) bot: bool,
    pub(crate) rules: Vec<Rule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) on: Trigger,
    #[serde(rename = "do")]
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trigger {
    #[serde(deserialize_with = "span")]
    After(Duration),
    Button(String),
    Connect,
    Contains(String),
    Join,
    #[serde(deserialize_with = "pattern")]
    Matches(Regex),
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
    Disconnect(Option<Disconnect>),
    /// An event as Genesys writes it.
    Event(Value),
    Expire,
    #[serde(deserialize_with = "fault")]
    Fault(Fault),
    Form(Form),
    Transfer(String),
    ListPicker(ListPicker),
    Pause,
    QuickReplies(QuickReplies),
    Say(Texts),
    #[serde(deserialize_with = "span")]
    Type(Duration),
    #[serde(deserialize_with = "span")]
    Wait(Duration),
}

/// One text, or several in turn.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Texts {
    One(String),
    InTurn(Vec<String>),
}

/// Invalid script: too large, or invalid YAML, or an invalid key or value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid script {location}: {reason}")]
pub struct ScriptError {
    /// The file, with line and column if they are known.
    location: String,
    reason: String,
}

impl Script {
    /// Parses a script; `file` names it in errors.
    ///
    /// # Errors
    /// If it is too large, is not YAML, or has an invalid key or value.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScriptError> {
        let check = |what, number, limit| match number {
            number if number > limit => Err(ScriptError {
                location: file.to_owned(),
                reason: format!("it has {number} {what}, use at most {limit}"),
            }),
            _ => Ok(()),
        };
        check("bytes", text.len(), MAX_BYTES)?;
        let script: Self = serde_saphyr::from_str(text).map_err(|error| {
            let location = error.location().map_or(String::new(), |it| {
                format!(", line {}, column {}", it.line(), it.column())
            });
            ScriptError {
                location: format!("{file}{location}"),
                reason: error.without_snippet().to_string(),
            }
        })?;
        check("rules", script.rules.len(), MAX_ITEMS)?;
        for rule in &script.rules {
            check("steps", rule.steps.len(), MAX_ITEMS)?;
        }
        Ok(script)
    }

    /// The bot of a demo shop, which shows every kind of content. `address` is that of the shop's page, without a `/` at the
    /// end: links and pictures refer to it.
    ///
    /// # Errors
    /// If the address is so long that the script is too large.
    pub fn demo_shop(address: &str) -> Result<Self, ScriptError> {
        let text = include_str!("../agents/demo-shop.yaml");
        Self::parse("demo-shop.yaml", &text.replace("https://shop.example", address))
    }

    fn built_in(text: &str) -> Self {
        Self::parse("built-in", text).expect("the built-in script is valid")
    }

    fn echo() -> Self {
        Self::built_in(include_str!("../agents/echo.yaml"))
    }

    /// The echo with these texts in turn.
    fn replies(texts: &[String]) -> Self {
        let mut script = Self::echo();
        for step in script.rules.iter_mut().flat_map(|rule| &mut rule.steps) {
            if let Step::Say(reply) = step {
                *reply = Texts::InTurn(texts.to_vec());
            }
        }
        script
    }

    /// The rule for a guest's message: its text, and the payloads of the buttons pressed.
    pub(crate) fn rule_for(&self, text: &str, payloads: &[&str]) -> Option<usize> {
        let matching = self.first(|on| on.matches(text.trim(), payloads));
        matching.or_else(|| self.first(|on| matches!(on, Trigger::Otherwise)))
    }

    pub(crate) fn first(&self, wanted: impl Fn(&Trigger) -> bool) -> Option<usize> {
        self.rules.iter().position(|rule| wanted(&rule.on))
    }

    pub(crate) fn timed(&self) -> impl Iterator<Item = (usize, Duration)> {
        let rules = self.rules.iter().enumerate();
        rules.filter_map(|(index, rule)| match rule.on {
            Trigger::After(time) => Some((index, time)),
            _ => None,
        })
    }
}

impl Trigger {
    fn matches(&self, text: &str, payloads: &[&str]) -> bool {
        match self {
            Self::Button(payload) => payloads.contains(&payload.as_str()),
            Self::Contains(part) => text.to_lowercase().contains(&part.to_lowercase()),
            Self::Matches(pattern) => pattern.is_match(text),
            Self::Text(whole) => text.to_lowercase() == whole.trim().to_lowercase(),
            Self::After(_) | Self::Connect | Self::Join | Self::Otherwise => false,
        }
    }
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = duration::parse(&text).filter(|time| *time <= MAX_WAIT);
    time.ok_or_else(|| {
        D::Error::custom(format_args!(
            "invalid time {text:?}: use a whole number of ms, s, m, h or d, at most 30 days, such as 1500ms"
        ))
    })
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(deserializer)?;
    let pattern = RegexBuilder::new(&text).size_limit(MAX_PATTERN_BYTES).build();
    pattern.map_err(|error| D::Error::custom(format_args!("invalid regular expression {text:?}: {error}")))
}

fn fault<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fault, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_shop_refers_to_its_page() {
        let script = Script::demo_shop("http://127.0.0.1:8080/demo").unwrap();
        let picture = script.picture.as_deref();
        assert_eq!(picture, Some("http://127.0.0.1:8080/demo/tin.svg"));
        assert!(!format!("{script:?}").contains("shop.example"));
        // a label of the menu does not start the rule of another one
        for (label, wanted) in [
            ("Show me a card", "Card"),
            ("Show me several", "Carousel"),
            ("Pick a date", "DatePicker"),
            ("Pick from a list", "ListPicker"),
            ("Fill in a form", "Form"),
            ("Send me a file", "Attachment"),
            ("Send me a picture", "Attachment"),
            ("Talk to a person", "Transfer"),
            ("End the chat", "Disconnect"),
            ("Jun 26, 2030, 10:30 AM", "The van comes"),
            ("How is the tea?", "Strong this morning"),
            ("Thank you, that is all", "Write again"),
            ("something", "You wrote"),
        ] {
            let rule = &script.rules[script.rule_for(label, &[]).unwrap()];
            assert!(format!("{:?}", rule.steps).contains(wanted), "{label}");
        }
    }

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
        let error = |text: &str| Script::parse("x.yaml", text).unwrap_err().to_string();
        assert_eq!(
            error(&format!("name: x\nrules:{rules}")),
            "invalid script x.yaml: it has 65 rules, use at most 64"
        );
        assert_eq!(
            error(&"#".repeat(MAX_BYTES + 1)),
            "invalid script x.yaml: it has 65537 bytes, use at most 65536"
        );
    }
}
