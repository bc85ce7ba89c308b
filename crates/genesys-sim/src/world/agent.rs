//! The agent at the other end, who plays a script.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::{Now, limits};
use serde_json::Value;

use crate::Disconnect;
use crate::script::{Card, Heard, Leave, On, Script, Step, Words};
use crate::world::World;
use crate::world::history::Message;
use crate::world::request::Fields;
use crate::world::session::SessionKey;
use crate::world::timers::Timer;

/// Who answers guests. All are scripts; the first three are built in.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Agent {
    /// Types, then says `You said: …`. Leaves when the guest writes `/disconnect`.
    #[default]
    Echo,
    /// Types, then says these texts in turn, from the first again after the last, for each session. Leaves likewise.
    Replies(Vec<String>),
    /// The first of these, or the one that the guest's custom attribute `agent` names; nobody if there is none.
    Scripts(Vec<Script>),
    /// Says nothing, ever.
    Silent,
}

impl Agent {
    pub(crate) fn scripts(self) -> Vec<Arc<Script>> {
        let scripts = match self {
            Self::Echo => vec![Script::echo()],
            Self::Replies(texts) => vec![Script::replies(texts)],
            Self::Scripts(scripts) if scripts.is_empty() => vec![Script::silent()],
            Self::Scripts(scripts) => scripts,
            Self::Silent => vec![Script::silent()],
        };
        scripts.into_iter().map(Arc::new).collect()
    }
}

/// Who speaks to one session, and how far the script is.
#[derive(Debug)]
pub(crate) struct Performer {
    script: Arc<Script>,
    nickname: Option<String>,
    picture: Option<String>,
    bot: bool,
    spoken: usize,
}

impl Performer {
    pub(super) fn new(script: &Arc<Script>) -> Self {
        Self {
            script: Arc::clone(script),
            nickname: script.nickname.clone(),
            picture: script.picture.clone(),
            bot: script.bot,
            spoken: 0,
        }
    }

    /// The name that guests read; `usual` where the script gives none.
    pub(super) fn name<'a>(&'a self, usual: &'a str) -> &'a str {
        self.nickname.as_deref().unwrap_or(usual)
    }

    /// Whether it is a bot, and its picture.
    pub(super) fn look(&self) -> (bool, Option<String>) {
        (self.bot, self.picture.clone())
    }
}

/// A rule being played, from one of its steps on.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    script: Arc<Script>,
    rule: usize,
    step: usize,
    said: Arc<str>,
}

/// Most rules that an agent plays at once in one session; what a guest writes beyond goes unanswered.
const MOST_TURNS: usize = 64;

impl World {
    /// A new conversation: the agent may greet, and what goes by time is set.
    pub(super) fn greet(&mut self, key: SessionKey, now: Instant) {
        let Some(first) = self.agents.first() else {
            return;
        };
        let performer = Performer::new(first);
        self.introduce(key, performer, now);
    }

    /// Has the agent whom the guest's attributes name take over.
    pub(super) fn choose_agent(&mut self, key: SessionKey, fields: [Fields<'_>; 2], now: Instant) {
        let named = fields.into_iter().find_map(|place| {
            let channel = place.optional_object("channel").ok()??;
            let metadata = channel.optional_object("metadata").ok()??;
            let attributes = metadata.optional_object("customAttributes").ok()??;
            attributes.optional_text("agent").ok()?
        });
        let Some(chosen) = named.and_then(|name| self.agents.iter().find(|script| script.name() == name))
        else {
            return;
        };
        let performer = Performer::new(chosen);
        let plays = |world: &Self| {
            world
                .sessions
                .get(&key)
                .map(|it| it.agent.script.name().to_owned())
        };
        if plays(self).as_deref() != named {
            self.silence_agent(key);
            self.introduce(key, performer, now);
        }
    }

    /// Has the agent answer what a guest said.
    pub(super) fn prompt_agent(&mut self, key: SessionKey, text: &str, content: &[Value], now: Instant) {
        let payload = |item: &Value| Some(item.pointer("/buttonResponse/payload")?.as_str()?.to_owned());
        let heard = Heard {
            text: text.to_owned(),
            payloads: content.iter().filter_map(payload).collect(),
        };
        let rule = self
            .sessions
            .get(&key)
            .and_then(|session| session.agent.script.answer(&heard));
        self.plan(key, rule, &heard.text, now);
    }

    pub(super) fn hear_join(&mut self, key: SessionKey, now: Instant) {
        let rule = self
            .sessions
            .get(&key)
            .and_then(|session| session.agent.script.first(|on| matches!(on, On::Join)));
        self.plan(key, rule, "", now);
    }

    fn introduce(&mut self, key: SessionKey, performer: Performer, now: Instant) {
        let script = Arc::clone(&performer.script);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.agent = performer;
        }
        self.plan(key, script.first(|on| matches!(on, On::Connect)), "", now);
        for (rule, after) in script.timed() {
            self.plan(key, Some(rule), "", now.checked_add(after).unwrap_or(now));
        }
    }

    fn plan(&mut self, key: SessionKey, rule: Option<usize>, said: &str, at: Instant) {
        let Some((rule, session)) = rule.zip(self.sessions.get_mut(&key)) else {
            return;
        };
        if session.turns.len() >= MOST_TURNS {
            return;
        }
        let turn = Turn {
            script: Arc::clone(&session.agent.script),
            rule,
            step: 0,
            said: said.into(),
        };
        session.turns.push(self.timers.set(at, Timer::Turn(key, turn)));
    }

    /// Plays on, until a wait or the end.
    pub(super) fn take_turn(&mut self, key: SessionKey, mut turn: Turn, now: Now) {
        let script = Arc::clone(&turn.script);
        let steps = script.rules.get(turn.rule).map_or(&[][..], |rule| &rule.steps);
        while let Some(step) = steps.get(turn.step) {
            turn.step += 1;
            let wait = match step {
                Step::Pause => self.rules.agent_delay,
                Step::Wait(time) => time.0,
                step => {
                    self.play(key, step, &turn.said, now);
                    continue;
                }
            };
            if wait > Duration::ZERO {
                let at = now.instant.checked_add(wait).unwrap_or(now.instant);
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.turns.push(self.timers.set(at, Timer::Turn(key, turn)));
                }
                return;
            }
        }
    }

    fn play(&mut self, key: SessionKey, step: &Step, said: &str, now: Now) {
        match step {
            Step::Clear => return self.clear(key),
            Step::Expire => return self.expire_now(key),
            Step::Fault(fault) => {
                let token = self.sessions.get(&key).map(|session| session.token.clone());
                // one that finds no place is left out, as at the start
                let _full = self.arm(fault.0.clone(), token.as_deref());
                return;
            }
            _ => {}
        }
        let Some(session) = self.sessions.get_mut(&key).filter(|it| !it.read_only) else {
            return;
        };
        if let Step::Attachment(file) = step {
            let body = Bytes::from(file.body.clone());
            // one that finds no room is left out
            let _sent =
                self.agent_attachment(key, &file.name, &file.media_type, body, file.text.clone(), now);
            return;
        }
        let agent = &mut session.agent;
        let name = agent.name(&self.rules.agent_name).to_owned();
        let look = agent.look();
        let (text, content) = match step {
            Step::HandOver(person) => {
                agent.nickname = Some(person.clone());
                agent.picture = None;
                agent.bot = false;
                return;
            }
            Step::Say(words) => {
                let Some(words) = words.next(&mut agent.spoken) else {
                    return;
                };
                (Some(words.replace("{text}", said)), Vec::new())
            }
            Step::Card(card) => (None, card.content()),
            Step::Carousel(cards) => (None, Card::carousel(cards)),
            Step::Content(content) => (content.text.clone(), content.items.clone()),
            Step::DatePicker(picker) => (Some(picker.title.clone()), picker.content()),
            Step::Form(form) => (None, form.content()),
            Step::ListPicker(picker) => (Some(picker.title.clone()), picker.content()),
            Step::QuickReplies(replies) => (Some(replies.text.clone()), replies.content()),
            _ => (None, Vec::new()),
        };
        let time = session.stamp(now.utc);
        let seed = &mut self.seed;
        let message = match step {
            Step::Type(shown) => {
                let typing = Message::agent_typing(seed, &name, time, shown.0).by(look);
                self.fan_out(key, None, |_| typing.frame(None));
                return;
            }
            Step::Event(event) => {
                let message = Message::agent_event(seed, &name, event.clone(), time).by(look);
                // of events, only presences belong to the record
                if event["eventType"] != "Presence" {
                    self.fan_out(key, None, |_| message.frame(None));
                    return;
                }
                message
            }
            Step::Disconnect(how) => {
                let read_only = match (how, self.rules.disconnect) {
                    (Some(Leave::ReadOnly), _) => true,
                    (Some(Leave::Open), _) => false,
                    (None, Disconnect::Off) => return,
                    (None, Disconnect::ReadOnly) => true,
                    (None, Disconnect::Send) => false,
                };
                session.read_only = read_only;
                Message::agent_left(seed, &name, read_only, time).by(look)
            }
            _ if content.is_empty() && text.is_none() => return,
            _ if content.is_empty() => Message::agent_text(seed, &name, shortened(text), time).by(look),
            _ => Message::agent_content(seed, &name, text, content, time).by(look),
        };
        self.deliver(key, message, now);
    }
}

impl Words {
    fn next(&self, spoken: &mut usize) -> Option<&str> {
        match self {
            Self::One(text) => Some(text),
            Self::InTurn(texts) => {
                let index = spoken.checked_rem(texts.len())?;
                *spoken = spoken.wrapping_add(1);
                Some(&texts[index])
            }
        }
    }
}

fn shortened(text: Option<String>) -> String {
    let mut text = text.unwrap_or_default();
    if let Some((end, _)) = text.char_indices().nth(limits::AGENT_TEXT_CHARACTERS) {
        text.truncate(end);
    }
    text
}
