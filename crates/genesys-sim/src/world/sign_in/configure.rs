//! What a JWT does on a guest's socket: sign in from the start, step up, be signed out.

use std::collections::BTreeMap;

use genesys_api::Now;
use serde_json::json;

use super::Unknown;
use crate::config::User;
use crate::world::frame::{self, Refusal};
use crate::world::history::{Kind, Message, Sent};
use crate::world::request::Request;
use crate::world::session::SessionKey;
use crate::world::{Binding, SocketId, World};

impl World {
    pub(in crate::world) fn configure_signed_in(
        &mut self,
        socket: SocketId,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        let fields = request.fields();
        let token = fields.text("token")?;
        let start_new = fields.optional_flag("startNew")?.unwrap_or_default();
        let jwt = fields.object("data")?.text("code")?;
        self.check_deployment(socket, fields)?;
        if !self.rules.sign_in.enabled {
            return Err(Refusal::SWITCHED_OFF);
        }
        let user = match self.sign_ins.verify(jwt, now.utc) {
            Ok((_, sign_in)) => sign_in.user.clone(),
            Err(Unknown::Jwt(_)) => return Err(Refusal::UNAUTHORIZED),
            Err(Unknown::Revoked) => return Err(Refusal::AUTHENTICATION_FAILED),
            Err(Unknown::Ended) => return Err(Refusal::AUTHENTICATE_AGAIN),
        };
        let held = self
            .sessions
            .key_of(token)
            .and_then(|key| self.sessions.get(&key));
        let step_up = match held.map(|session| &session.user) {
            Some(Some(other)) if other.id != user.id => return Err(Refusal::AUTHENTICATION_FAILED),
            Some(None) if !self.rules.sign_in.allow_session_upgrade => return Err(Refusal::SWITCHED_OFF),
            Some(None) => true,
            None | Some(Some(_)) => false,
        };
        let (key, new) = self.configure(socket, token, start_new, now)?;
        let cleared = step_up && self.step_up(socket, key, &user);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.user = Some(user.clone());
        }
        let mut body = self.session_answer(key, new);
        body.cleared_existing_session = cleared;
        self.send(
            socket,
            frame::answer("SessionResponse", request.tracing_id(), &body),
        );
        if step_up {
            self.tell_sign_in(key, &user, now);
        }
        Ok(())
    }

    /// A session that someone signed in to takes nobody in without a JWT.
    pub(in crate::world) fn check_downgrade(&self, token: &str) -> Result<(), Refusal> {
        let session = self
            .sessions
            .key_of(token)
            .and_then(|key| self.sessions.get(&key));
        match session.and_then(|session| session.user.as_ref()) {
            Some(_) => Err(Refusal::DOWNGRADE),
            None => Ok(()),
        }
    }

    /// Puts out the guest's other sockets, and ends sessions that the user had before; says whether there were any.
    fn step_up(&mut self, socket: SocketId, key: SessionKey, user: &User) -> bool {
        let others = self.sessions.get(&key).map(|session| session.sockets.clone());
        for other in others.into_iter().flatten().filter(|other| *other != socket) {
            let body = json!({"reason": "signedIn"});
            self.send(other, frame::pushed("ConnectionClosedEvent", None, &body));
            self.hang_up_guest(other);
        }
        let earlier = self.sessions_of(&user.id);
        for earlier in &earlier {
            self.clear(*earlier);
        }
        !earlier.is_empty()
    }

    fn tell_sign_in(&mut self, key: SessionKey, user: &User, now: Now) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let time = session.stamp(now.utc);
        let sent = Sent {
            events: vec![json!({"eventType": "Presence", "presence": {"type": "SignIn"}})],
            metadata: BTreeMap::from([("authenticated".to_owned(), "true".to_owned())]),
            from: Some(user.name()),
            ..Sent::default()
        };
        let message = Message::guest(&mut self.seed, Kind::Event, sent, time);
        self.fan_out(key, None, |_| message.frame(None));
        self.keep(key, message, now);
    }

    pub(super) fn log_out(&mut self, user: &str) {
        for key in self.sessions_of(user) {
            self.fan_out(key, None, |_| frame::pushed("LogoutEvent", None, &json!({})));
            let Some(session) = self.sessions.get_mut(&key) else {
                continue;
            };
            for socket in std::mem::take(&mut session.sockets) {
                if let Some(state) = self.sockets.get_mut(&socket) {
                    state.binding = Binding::None;
                }
            }
        }
    }

    /// Oldest first.
    fn sessions_of(&self, user: &str) -> Vec<SessionKey> {
        let mut keys: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.user.as_ref().is_some_and(|it| it.id == user))
            .map(|(key, _)| key)
            .collect();
        keys.sort_unstable();
        keys
    }
}
