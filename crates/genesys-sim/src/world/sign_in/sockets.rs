//! Sign-ins on guests' sockets: from the start, during a conversation, and sign-outs.

use genesys_api::Now;
use serde_json::json;

use super::SignInError;
use crate::config::User;
use crate::world::World;
use crate::world::frame::Refusal;
use crate::world::history::{Kind, Message, MessageContent};
use crate::world::id::{SessionKey, SocketId};
use crate::world::request::Request;
use crate::world::session::Session;
use crate::world::socket::Binding;

impl World {
    pub(in crate::world) fn configure_authenticated(
        &mut self,
        socket: SocketId,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        let fields = request.fields();
        let token = fields.text("token")?;
        let start_new = fields.optional_flag("startNew")?.unwrap_or_default();
        let jwt = fields.object("data")?.text("code")?;
        self.check_named_deployment(socket, fields)?;
        if !self.rules.sign_in.enabled {
            return Err(Refusal::SWITCHED_OFF);
        }
        let user = match self.sign_ins.verify(jwt, now.utc) {
            Ok(user) => user.clone(),
            Err(SignInError::Expired | SignInError::Invalid) => return Err(Refusal::UNAUTHORIZED),
            Err(SignInError::Revoked) => return Err(Refusal::AUTHENTICATION_FAILED),
            Err(SignInError::RefreshExpired) => return Err(Refusal::AUTHENTICATE_AGAIN),
        };
        let step_up = match self.sessions.by_token(token).map(|session| &session.user) {
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
        let mut body = self.session_response(key, new);
        body.cleared_existing_session = cleared;
        self.reply(socket, request, "SessionResponse", &body)?;
        if step_up {
            self.send_sign_in(key, &user, now);
        }
        Ok(())
    }

    /// A session with a signed-in user admits no socket without a JWT.
    pub(in crate::world) fn check_downgrade(&self, token: &str) -> Result<(), Refusal> {
        let session = self.sessions.by_token(token);
        match session.and_then(|session| session.user.as_ref()) {
            Some(_) => Err(Refusal::DOWNGRADE),
            None => Ok(()),
        }
    }

    /// Closes the guest's other sockets, and ends earlier sessions of the user. Returns whether there were any.
    fn step_up(&mut self, socket: SocketId, key: SessionKey, user: &User) -> bool {
        let others = self.sessions.get(&key).map(|session| session.sockets.clone());
        for other in others.into_iter().flatten().filter(|other| *other != socket) {
            self.close_with_event(other, &json!({"reason": "signedIn"}));
        }
        let earlier = self.sessions_of(&user.id);
        for key in &earlier {
            self.clear(*key);
        }
        !earlier.is_empty()
    }

    fn send_sign_in(&mut self, key: SessionKey, user: &User, now: Now) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let time = session.stamp(now.utc);
        let event = json!({"eventType": "Presence", "presence": {"type": "SignIn"}});
        let content = MessageContent::event(event).with_metadata("authenticated", "true");
        let message = Message::from_guest(&mut self.seed, Kind::Event, content, Some(user.name()), time);
        self.fan_out(key, None, |_| message.frame(None));
        self.store(key, message, now);
    }

    pub(super) fn log_out(&mut self, user: &str) {
        for key in self.sessions_of(user) {
            self.broadcast(key, "LogoutEvent", &json!({}));
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
        let is_theirs = |session: &Session| session.user.as_ref().is_some_and(|it| it.id == user);
        let sessions = self.sessions.iter().filter(|(_, session)| is_theirs(session));
        let mut keys: Vec<_> = sessions.map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys
    }
}
