//! Sign-ins on guests' sockets: from the start, during a conversation, and sign-outs.

use genesys_api::Now;
use serde_json::json;

use super::SignInError;
use crate::config::User;
use crate::world::{Binding, Done, Message, MessageContent, Refusal, Request, SessionKey, SocketId, World};

impl World {
    pub(in crate::world) fn configure_authenticated(&mut self, request: &Request) -> Done {
        let (fields, now) = (request.fields(), request.now);
        let token = fields.text("token")?;
        let start_new = fields.optional_flag("startNew")?;
        let jwt = fields.object("data")?.text("code")?;
        self.check_named_deployment(request)?;
        if !self.rules.sign_in.enabled {
            return Err(Refusal::SWITCHED_OFF);
        }
        let user = match self.verify_sign_in(jwt, now) {
            Ok(user) => user.clone(),
            Err(SignInError::Expired | SignInError::Invalid) => return Err(Refusal::UNAUTHORIZED),
            Err(SignInError::Revoked) => return Err(Refusal::AUTHENTICATION_FAILED),
            Err(SignInError::RefreshTokenExpired) => return Err(Refusal::AUTHENTICATE_AGAIN),
        };
        let step_up = match self.session_by_token(token).map(|session| &session.user) {
            Some(Some(other)) if other.id != user.id => return Err(Refusal::AUTHENTICATION_FAILED),
            Some(None) if !self.rules.sign_in.allow_session_upgrade => return Err(Refusal::SWITCHED_OFF),
            Some(None) => true,
            None | Some(Some(_)) => false,
        };
        let (key, new) = self.configure(request, token, start_new)?;
        let cleared = step_up && self.step_up(request.socket, key, &user);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.user = Some(user.clone());
        }
        let body = self.session_response(key, new, cleared);
        self.reply(request, "SessionResponse", &body)?;
        if step_up {
            self.send_sign_in(key, &user, now);
        }
        Ok(())
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
        let content = MessageContent::presence("SignIn").with_metadata("authenticated", "true");
        let message = Message::from_guest(&mut self.seed, content, Some(user.clone()), time);
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
        let sessions = self.sessions.iter();
        let sessions = sessions.filter(|(_, session)| session.user.as_ref().is_some_and(|it| it.id == user));
        let mut keys: Vec<_> = sessions.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }
}
