//! State of the agent of one session: its persona, its script, and the steps that are scheduled.

use std::sync::Arc;

use crate::script::{Script, Utterances};

/// The agent as guests see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Persona {
    pub(crate) nickname: String,
    pub(crate) picture: Option<String>,
    pub(crate) bot: bool,
}

/// The agent of one session.
#[derive(Debug)]
pub(crate) struct AgentState {
    pub(super) script: Arc<Script>,
    pub(super) persona: Persona,
    /// Index of the next utterance among several.
    cursor: usize,
}

impl AgentState {
    /// `default_name` is the nickname if the script has none.
    pub(super) fn new(script: &Arc<Script>, default_name: &str) -> Self {
        let nickname = script.nickname.as_deref().unwrap_or(default_name);
        Self {
            script: Arc::clone(script),
            persona: Persona {
                nickname: nickname.to_owned(),
                picture: script.picture.clone(),
                bot: script.bot,
            },
            cursor: 0,
        }
    }

    pub(super) fn next_utterance<'a>(&mut self, utterances: &'a Utterances) -> Option<&'a str> {
        match utterances {
            Utterances::One(text) => Some(text),
            Utterances::InTurn(texts) => {
                let index = self.cursor.checked_rem(texts.len())?;
                self.cursor = self.cursor.wrapping_add(1);
                Some(&texts[index])
            }
        }
    }
}

/// A rule of a script that runs, from its next step on.
#[derive(Clone, Debug)]
pub(crate) struct ScheduledStep {
    pub(super) script: Arc<Script>,
    pub(super) rule: usize,
    pub(super) step: usize,
    /// Text of the guest's message that started the rule.
    pub(super) prompt: Arc<str>,
}
