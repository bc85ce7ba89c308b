//! Runs the scripts of agents.

use std::sync::Arc;
use std::time::{Duration, Instant};

use genesys_api::{Now, limits};
use serde_json::{Value, json};

use crate::cloud::{Cloud, MessageContent, SessionKey, Timer, later};
use crate::config::Disconnect;
use crate::json::without_null;
use crate::script::{Script, Step, Texts, Trigger};

/// Limit of rules that run at once in one session. Messages beyond it are not answered.
const MAX_RUNNING: usize = 64;

/// The author of an agent's messages.
#[derive(Clone)]
pub(crate) struct Sender {
    /// `channel.from`, as Genesys writes it.
    pub(crate) from: Value,
    /// `originatingEntity`.
    pub(crate) entity: &'static str,
}

pub(crate) struct AgentState {
    pub(super) script: Arc<Script>,
    pub(super) sender: Sender,
    /// Index of the next text among several.
    cursor: usize,
}

impl AgentState {
    /// `default_name` is the nickname if the script has none.
    pub(super) fn new(script: &Arc<Script>, default_name: &str) -> Self {
        let nickname = script.nickname.as_deref().unwrap_or(default_name);
        Self {
            script: Arc::clone(script),
            sender: Sender {
                from: without_null(json!({"nickname": nickname, "image": script.picture})),
                entity: if script.bot { "Bot" } else { "Human" },
            },
            cursor: 0,
        }
    }

    pub(super) fn next_text<'a>(&mut self, texts: &'a Texts) -> Option<&'a str> {
        match texts {
            Texts::One(text) => Some(text),
            Texts::InTurn(texts) => {
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

impl Cloud {
    pub(super) fn choose_agent(&mut self, key: SessionKey, attributes: &[(String, String)], now: Instant) {
        let named = attributes.iter().find(|(name, _)| name == "agent");
        let chosen = named.and_then(|(_, name)| self.agents.iter().find(|script| script.name == *name));
        let (Some(chosen), Some(session)) = (chosen.cloned(), self.sessions.get(&key)) else {
            return;
        };
        if session.agent.script.name != chosen.name {
            self.cancel_steps(key);
            self.assign_agent(key, &chosen, now);
        }
    }

    pub(super) fn prompt_agent(&mut self, key: SessionKey, text: &str, content: &[Value], now: Instant) {
        let fields = |item| Value::pointer(item, "/form/response").and_then(Value::as_array);
        let components = content.iter().filter_map(fields).flatten();
        let components = components.filter_map(|field| field.get("component"));
        let payload = |item| Value::pointer(item, "/buttonResponse/payload")?.as_str();
        let payloads: Vec<_> = content.iter().chain(components).filter_map(payload).collect();
        self.schedule_rule(key, text, now, |script| script.rule_for(text, &payloads));
    }

    pub(super) fn assign_agent(&mut self, key: SessionKey, script: &Arc<Script>, now: Instant) {
        if let Some(session) = self.sessions.get_mut(&key) {
            session.agent = AgentState::new(script, &self.rules.agent_name);
        }
        self.schedule_rule(key, "", now, |script| {
            script.first(|on| matches!(on, Trigger::Connect))
        });
        for (rule, after) in script.timed() {
            let at = now.checked_add(after).unwrap_or(now);
            self.schedule_rule(key, "", at, |_| Some(rule));
        }
    }

    pub(super) fn schedule_rule(
        &mut self,
        key: SessionKey,
        prompt: &str,
        at: Instant,
        rule: impl FnOnce(&Script) -> Option<usize>,
    ) {
        if let Some(session) = self.sessions.get(&key)
            && let Some(rule) = rule(&session.agent.script)
            && session.scheduled.len() < MAX_RUNNING
        {
            let step = ScheduledStep {
                script: Arc::clone(&session.agent.script),
                rule,
                step: 0,
                prompt: prompt.into(),
            };
            self.schedule(key, step, at);
        }
    }

    fn schedule(&mut self, key: SessionKey, step: ScheduledStep, at: Instant) {
        if let Some(session) = self.sessions.get_mut(&key) {
            session.last_step += 1;
            session.scheduled.insert(session.last_step, step);
            self.timers.set(Timer::Step(key, session.last_step), at);
        }
    }

    /// Runs the steps of a rule up to the next wait, or to its end.
    pub(super) fn run_steps(&mut self, key: SessionKey, number: u64, now: Now) {
        let session = self.sessions.get_mut(&key);
        let Some(mut next) = session.and_then(|it| it.scheduled.remove(&number)) else {
            return;
        };
        let script = Arc::clone(&next.script);
        let steps = script.rules.get(next.rule).map_or(&[][..], |rule| &rule.steps);
        while let Some(step) = steps.get(next.step) {
            next.step += 1;
            let wait = match step {
                Step::Pause => self.rules.agent_delay,
                Step::Wait(time) => *time,
                step => {
                    self.run_step(key, step, &next.prompt, now);
                    continue;
                }
            };
            if wait > Duration::ZERO {
                return self.schedule(key, next, later(now, wait).instant);
            }
        }
    }

    fn run_step(&mut self, key: SessionKey, step: &Step, prompt: &str, now: Now) {
        match step {
            Step::Clear => return self.clear(key),
            Step::Expire => return self.expire(key),
            Step::Fault(fault) => {
                self.send_earlier_outputs();
                let token = self.sessions.get(&key).map(|session| session.token.clone());
                // beyond the limit it is left out, as at the start
                let _full = self.active_faults.add(fault.clone(), token);
                return;
            }
            _ => {}
        }
        let session = self.sessions.get_mut(&key);
        let Some(session) = session.filter(|it| !it.conversation.read_only) else {
            return;
        };
        let content = match step {
            Step::Attachment(file) => return self.send_agent_attachment(key, file, now),
            Step::Transfer(nickname) => {
                let from = json!({"nickname": nickname});
                session.agent.sender = Sender {
                    from,
                    entity: "Human",
                };
                return;
            }
            Step::Say(texts) => match session.agent.next_text(texts) {
                Some(text) => {
                    MessageContent::new(Some(shortened(text.replace("{text}", prompt))), Vec::new())
                }
                None => return,
            },
            Step::Type(shown) => {
                let shown = u64::try_from(shown.as_millis()).unwrap_or(u64::MAX);
                let typing = json!({"type": "On", "duration": shown});
                MessageContent::event(json!({"eventType": "Typing", "typing": typing}))
            }
            Step::Event(event) => MessageContent::event(event.clone()),
            Step::Disconnect(mode) => {
                let mode = mode.unwrap_or(self.rules.disconnect);
                if mode == Disconnect::Off {
                    return;
                }
                session.conversation.read_only = mode == Disconnect::ReadOnly;
                let read_only = session.conversation.read_only.to_string();
                MessageContent::presence("Disconnect").with_metadata("readOnly", &read_only)
            }
            step => match step.content() {
                (None, items) if items.is_empty() => return,
                (text, items) if items.is_empty() => MessageContent::new(text.map(shortened), items),
                (text, items) => MessageContent::new(text, items),
            },
        };
        // of events, only presences belong to the history
        let passes = |event: &Value| event["eventType"] != "Presence";
        let passing = content.events.iter().any(passes);
        let message = session.agent_message(&mut self.rng, content, now.utc);
        if passing {
            self.fan_out(key, None, |_| message.frame(None));
        } else {
            self.deliver(key, message, now);
        }
    }
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(limits::AGENT_TEXT_CHARACTERS) {
        text.truncate(end);
    }
    text
}
