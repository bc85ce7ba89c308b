//! Runs the scripts of agents.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::{Now, limits};
use serde_json::Value;

use crate::config::Disconnect;
use crate::script::{Card, DisconnectMode, GuestInput, On, Script, Step};
use crate::world::World;
use crate::world::agent_state::{AgentState, Persona, ScheduledStep};
use crate::world::history::{Kind, Message, MessageContent};
use crate::world::id::SessionKey;
use crate::world::request::Fields;
use crate::world::timers::Timer;

/// Limit of rules that run at once in one session. Messages beyond it are not answered.
const MAX_RUNNING: usize = 64;

impl World {
    /// Starts the first script for a new conversation.
    pub(super) fn start_agent(&mut self, key: SessionKey, now: Instant) {
        if let Some(script) = self.agents.first().cloned() {
            self.assign_agent(key, &script, now);
        }
    }

    /// Assigns the agent that the guest's attributes name.
    pub(super) fn choose_agent(&mut self, key: SessionKey, fields: [Fields<'_>; 2], now: Instant) {
        let named = fields.into_iter().find_map(|place| {
            let channel = place.optional_object("channel").ok()??;
            let metadata = channel.optional_object("metadata").ok()??;
            let attributes = metadata.optional_object("customAttributes").ok()??;
            attributes.optional_text("agent").ok()?
        });
        let chosen = named.and_then(|name| self.agents.iter().find(|script| script.name() == name));
        let (Some(chosen), Some(session)) = (chosen.cloned(), self.sessions.get(&key)) else {
            return;
        };
        if session.agent.script.name() != chosen.name() {
            self.cancel_steps(key);
            self.assign_agent(key, &chosen, now);
        }
    }

    /// Starts the rule for a guest's message.
    pub(super) fn prompt_agent(&mut self, key: SessionKey, text: &str, content: &[Value], now: Instant) {
        let payload = |item: &Value| Some(item.pointer("/buttonResponse/payload")?.as_str()?.to_owned());
        let input = GuestInput {
            text: text.to_owned(),
            payloads: content.iter().filter_map(payload).collect(),
        };
        let session = self.sessions.get(&key);
        let rule = session.and_then(|session| session.agent.script.rule_for(&input));
        self.schedule_rule(key, rule, text, now);
    }

    /// Starts the rule for a guest who joins.
    pub(super) fn join_agent(&mut self, key: SessionKey, now: Instant) {
        let session = self.sessions.get(&key);
        let rule = session.and_then(|session| session.agent.script.first(|on| matches!(on, On::Join)));
        self.schedule_rule(key, rule, "", now);
    }

    fn assign_agent(&mut self, key: SessionKey, script: &Arc<Script>, now: Instant) {
        if let Some(session) = self.sessions.get_mut(&key) {
            session.agent = AgentState::new(script, &self.rules.agent_name);
        }
        self.schedule_rule(key, script.first(|on| matches!(on, On::Connect)), "", now);
        for (rule, after) in script.timed() {
            self.schedule_rule(key, Some(rule), "", now.checked_add(after).unwrap_or(now));
        }
    }

    fn schedule_rule(&mut self, key: SessionKey, rule: Option<usize>, prompt: &str, at: Instant) {
        let Some((rule, session)) = rule.zip(self.sessions.get_mut(&key)) else {
            return;
        };
        if session.scheduled.len() < MAX_RUNNING {
            let step = ScheduledStep {
                script: Arc::clone(&session.agent.script),
                rule,
                step: 0,
                prompt: prompt.into(),
            };
            session
                .scheduled
                .push(self.timers.set(at, Timer::Step(key, step)));
        }
    }

    /// Runs the steps of a rule up to the next wait, or to its end.
    pub(super) fn run_steps(&mut self, key: SessionKey, mut next: ScheduledStep, now: Now) {
        let script = Arc::clone(&next.script);
        let steps = script.rules.get(next.rule).map_or(&[][..], |rule| &rule.steps);
        while let Some(step) = steps.get(next.step) {
            next.step += 1;
            let wait = match step {
                Step::Pause => self.rules.agent_delay,
                Step::Wait(time) => time.0,
                step => {
                    self.run_step(key, step, &next.prompt, now);
                    continue;
                }
            };
            if wait > Duration::ZERO {
                let at = now.instant.checked_add(wait).unwrap_or(now.instant);
                if let Some(session) = self.sessions.get_mut(&key) {
                    session
                        .scheduled
                        .push(self.timers.set(at, Timer::Step(key, next)));
                }
                return;
            }
        }
    }

    fn run_step(&mut self, key: SessionKey, step: &Step, prompt: &str, now: Now) {
        match step {
            Step::Clear => return self.clear(key),
            Step::Expire => return self.expire(key),
            Step::Fault(fault) => {
                let token = self.sessions.get(&key).map(|session| session.token.clone());
                // beyond the limit it is left out, as at the start
                let _full = self.arm(fault.0.clone(), token.as_deref());
                return;
            }
            _ => {}
        }
        let Some(session) = self.sessions.get_mut(&key).filter(|it| !it.read_only) else {
            return;
        };
        let content = match step {
            Step::Attachment(file) => {
                let body = Bytes::from(file.body.clone());
                return self.send_agent_attachment(key, file, body, now);
            }
            Step::HandOver(nickname) => {
                session.agent.persona = Persona {
                    nickname: nickname.clone(),
                    picture: None,
                    bot: false,
                };
                return;
            }
            Step::Say(utterances) => {
                let Some(text) = session.agent.next_utterance(utterances) else {
                    return;
                };
                (Some(shortened(text.replace("{text}", prompt))), Vec::new())
            }
            Step::Card(card) => (None, card.content()),
            Step::Carousel(cards) => (None, Card::carousel(cards)),
            Step::Content(content) if content.items.is_empty() => {
                (content.text.clone().map(shortened), Vec::new())
            }
            Step::Content(content) => (content.text.clone(), content.items.clone()),
            Step::DatePicker(picker) => (Some(picker.title.clone()), picker.content()),
            Step::Form(form) => (None, form.content()),
            Step::ListPicker(picker) => (Some(picker.title.clone()), picker.content()),
            Step::QuickReplies(replies) => (Some(replies.text.clone()), replies.content()),
            _ => (None, Vec::new()),
        };
        let time = session.stamp(now.utc);
        let (seed, persona) = (&mut self.seed, &session.agent.persona);
        let message = match step {
            Step::Type(shown) => {
                let typing = Message::typing(seed, persona, time, shown.0);
                return self.fan_out(key, None, |_| typing.frame(None));
            }
            Step::Event(event) => {
                let content = MessageContent::event(event.clone());
                let message = Message::from_agent(seed, Kind::Event, content, persona, time);
                // of events, only presences belong to the history
                if event["eventType"] != "Presence" {
                    return self.fan_out(key, None, |_| message.frame(None));
                }
                message
            }
            Step::Disconnect(mode) => {
                let read_only = match (mode, self.rules.disconnect) {
                    (Some(mode), _) => *mode == DisconnectMode::ReadOnly,
                    (None, Disconnect::Off) => return,
                    (None, rule) => rule == Disconnect::ReadOnly,
                };
                session.read_only = read_only;
                Message::disconnect(seed, persona, time, read_only)
            }
            _ => {
                let (text, items) = content;
                let kind = match (&text, items.is_empty()) {
                    (None, true) => return,
                    (Some(_), true) => Kind::Text,
                    (_, false) => Kind::Structured,
                };
                let content = MessageContent {
                    text,
                    items,
                    ..MessageContent::default()
                };
                Message::from_agent(seed, kind, content, persona, time)
            }
        };
        self.deliver(key, message, now);
    }
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(limits::AGENT_TEXT_CHARACTERS) {
        text.truncate(end);
    }
    text
}
