//! The agent at the other end: a short script.

use std::time::{Duration, Instant};

use genesys_api::Now;

use crate::Disconnect;
use crate::world::World;
use crate::world::history::Message;
use crate::world::session::SessionKey;
use crate::world::timers::Timer;

/// How the agent answers a guest's message: first a typing event, then a text.
///
/// Unless silent, the agent leaves when the guest writes `/disconnect`; what the guest sees of it is
/// [`Disconnect`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Agent {
    /// `You said: …`
    #[default]
    Echo,
    /// These texts in turn, from the first again after the last, for each session.
    Replies(Vec<String>),
    /// Nothing, ever.
    Silent,
}

impl Agent {
    fn answer(&self, text: &str, spoken: usize) -> Option<String> {
        match self {
            Self::Echo => Some(format!("You said: {text}")),
            Self::Replies(replies) => spoken
                .checked_rem(replies.len())
                .map(|index| replies[index].clone()),
            Self::Silent => None,
        }
    }
}

/// One thing that the agent does.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    Leave,
    Say(String),
    Type,
}

/// Most things that an agent has in mind for one session; what a guest writes beyond goes unanswered.
const MOST_TURNS: usize = 64;

/// Genesys' bound on an agent's text, in characters.
const LONGEST_TEXT: usize = 4_000;

impl World {
    /// Has the agent answer a guest's `text`.
    pub(super) fn prompt_agent(&mut self, key: SessionKey, text: &str, now: Instant) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        if session.turns.len() + 2 > MOST_TURNS {
            return;
        }
        let mut plan = |turn, after: Duration| {
            let at = now.checked_add(after).unwrap_or(now);
            session.turns.push(self.timers.set(at, Timer::Turn(key, turn)));
        };
        if text.trim() == "/disconnect" && self.rules.agent != Agent::Silent {
            plan(Turn::Leave, self.rules.agent_delay);
        } else if let Some(mut answer) = self.rules.agent.answer(text, session.spoken) {
            if let Some((end, _)) = answer.char_indices().nth(LONGEST_TEXT) {
                answer.truncate(end);
            }
            plan(Turn::Type, Duration::ZERO);
            plan(Turn::Say(answer), self.rules.agent_delay);
            session.spoken = session.spoken.wrapping_add(1);
        }
    }

    pub(super) fn take_turn(&mut self, key: SessionKey, turn: Turn, now: Now) {
        let (seed, name) = (&mut self.seed, &self.rules.agent_name);
        let Some(session) = self.sessions.get_mut(&key).filter(|it| !it.read_only) else {
            return;
        };
        let time = session.stamp(now.utc);
        let message = match turn {
            Turn::Leave => {
                let read_only = match self.rules.disconnect {
                    Disconnect::Off => return,
                    Disconnect::ReadOnly => true,
                    Disconnect::Send => false,
                };
                session.read_only = read_only;
                Message::agent_left(seed, name, read_only, time)
            }
            Turn::Say(text) => Message::agent_text(seed, name, text, time),
            Turn::Type => {
                let typing = Message::agent_typing(seed, name, time);
                self.fan_out(key, None, |_| typing.frame(None));
                return;
            }
        };
        self.deliver(key, message, now);
    }
}
