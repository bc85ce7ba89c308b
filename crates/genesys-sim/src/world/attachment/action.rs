//! What a guest asks for with attachments.

use genesys_api::Now;
use serde_json::{Value, json};

use super::{Attachment, File, State, Verb, link};
use crate::world::frame::{self, Refusal};
use crate::world::request::{Fields, Request};
use crate::world::session::SessionKey;
use crate::world::timers::Timer;
use crate::world::{SocketId, World};

/// Longest id that a guest may choose, in bytes. Our choice.
const LONGEST_ID: usize = 64;

impl World {
    pub(in crate::world) fn on_attachment(
        &mut self,
        socket: SocketId,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        let fields = request.fields();
        let key = self.configured(socket, fields.text("token")?)?;
        let as_json = fields.optional_flag("errorsAsJson")?.unwrap_or_default();
        let id = fields.optional_text("attachmentId")?;
        let grant = self
            .check_writable(key)
            .and_then(|()| self.grant(key, id, fields, now))
            .map_err(|refusal| match refusal {
                Refusal::Coded(code, text) if as_json => Refusal::Upload {
                    code,
                    text,
                    attachment_id: id.map(str::to_owned),
                },
                refusal => refusal,
            })?;
        self.send(
            socket,
            frame::answer("PresignedUrlResponse", request.tracing_id(), &grant),
        );
        Ok(())
    }

    /// A second grant for an id replaces the first, unless its file has come (inference).
    fn grant(
        &mut self,
        key: SessionKey,
        id: Option<&str>,
        fields: Fields<'_>,
        now: Now,
    ) -> Result<Value, Refusal> {
        let file = File::parse(&self.rules.attachments, fields)?;
        let id = match id {
            None => self.seed.uuid().to_string(),
            Some(id) if is_id(id) => id.to_owned(),
            Some(_) => return Err(Refusal::FAILED),
        };
        match self.attachments.get(key, &id).map(|it| &it.state) {
            Some(State::Stored { .. }) => return Err(Refusal::FAILED),
            Some(State::Granted(timer)) => {
                self.timers.cancel(*timer);
                self.attachments.remove(key, &id);
            }
            Some(State::Expired | State::Failed) => {
                self.attachments.remove(key, &id);
            }
            None => {}
        }
        if !self.has_room(&file) {
            return Err(Refusal::coded(5000, "The simulator holds its most attachments"));
        }
        let lifetime = self.rules.attachments.upload_lifetime;
        let until = link::until(now.utc, lifetime);
        let body = json!({
            "attachmentId": id,
            "url": self.link(Verb::Upload, key, &id, until),
            "headers": {"x-amz-tagging": self.tagging()},
            "fileName": file.name,
            "fileSize": file.size,
            "fileType": file.kind,
        });
        let at = now.instant.checked_add(lifetime).unwrap_or(now.instant);
        let timer = self.timers.set(at, Timer::Upload(key, id.clone()));
        let state = State::Granted(timer);
        self.attachments.insert(key, id, Attachment { file, state });
        Ok(body)
    }

    /// A fresh link to download from. That an unused grant answers 4008 is an inference.
    pub(in crate::world) fn fetch_attachment(
        &mut self,
        socket: SocketId,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        let (key, id) = self.named_attachment(socket, request)?;
        let attachment = self.attachments.get(key, id).ok_or(Refusal::NO_ATTACHMENT)?;
        match attachment.state {
            State::Expired => return Err(Refusal::ATTACHMENT_EXPIRED),
            State::Failed | State::Granted(_) => return Err(Refusal::NO_ATTACHMENT),
            State::Stored { .. } => {}
        }
        let body = json!({
            "attachmentId": id,
            "url": self.download_link(key, id, now),
            "headers": {},
            "fileName": attachment.file.name,
            "fileSize": attachment.file.size,
            "fileType": attachment.file.kind,
        });
        self.send(
            socket,
            frame::answer("PresignedUrlResponse", request.tracing_id(), &body),
        );
        Ok(())
    }

    /// Only before it was sent; how a later wish is refused is an inference. All sockets of the session are told, as
    /// the type `message` of the event suggests (inference).
    pub(in crate::world) fn delete_attachment(
        &mut self,
        socket: SocketId,
        request: &Request,
    ) -> Result<(), Refusal> {
        let (key, id) = self.named_attachment(socket, request)?;
        let attachment = self.attachments.get(key, id).ok_or(Refusal::NO_ATTACHMENT)?;
        match attachment.state {
            State::Stored { sent: true, .. } => {
                return Err(Refusal::coded(400, "The attachment was already sent"));
            }
            State::Granted(timer) => self.timers.cancel(timer),
            State::Expired | State::Failed | State::Stored { .. } => {}
        }
        self.attachments.remove(key, id);
        let body = json!({"attachmentId": id});
        self.fan_out(key, Some(socket), |own| {
            let tracing_id = if own { request.tracing_id() } else { None };
            frame::pushed("AttachmentDeletedResponse", tracing_id, &body)
        });
        Ok(())
    }

    fn named_attachment<'a>(
        &self,
        socket: SocketId,
        request: &'a Request,
    ) -> Result<(SessionKey, &'a str), Refusal> {
        let fields = request.fields();
        let key = self.configured(socket, fields.text("token")?)?;
        Ok((key, fields.text("attachmentId")?))
    }
}

fn is_id(id: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(fine)
}
