//! Actions of guests on attachments.

use genesys_api::Now;
use serde_json::{Value, json};

use super::{Attachment, File, LinkKind, State};
use crate::world::World;
use crate::world::frame::{self, Refusal};
use crate::world::id::{SessionKey, SocketId};
use crate::world::request::{Fields, Request};
use crate::world::timers::Timer;

/// Longest id that a guest can choose, in bytes. Our choice.
const MAX_ID: usize = 64;

impl World {
    pub(in crate::world) fn on_attachment(
        &mut self,
        socket: SocketId,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        let key = self.session_of(socket, request)?;
        let fields = request.fields();
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
        self.reply(socket, request, "PresignedUrlResponse", &grant)
    }

    /// Grants an upload. A second grant for an id replaces the first, unless its file has arrived (inference).
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
            _ => self.remove_attachment(key, &id),
        }
        if !self.has_room(&file) {
            return Err(Refusal::coded(5000, "The simulator holds its most attachments"));
        }
        let lifetime = self.rules.attachments.upload_lifetime;
        let url = self.link(LinkKind::Upload, key, &id, lifetime, now);
        let body = presigned(&id, &url, &file, &json!({"x-amz-tagging": self.tagging()}));
        let at = now.instant.checked_add(lifetime).unwrap_or(now.instant);
        let timer = self.timers.set(at, Timer::Upload(key, id.clone()));
        let state = State::Granted(timer);
        self.attachments.insert(key, id, Attachment { file, state });
        Ok(body)
    }

    /// Replies with a fresh link for the download. That an unused grant is answered with 4008 is an inference.
    pub(in crate::world) fn fetch_attachment(
        &mut self,
        socket: SocketId,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        let key = self.session_of(socket, request)?;
        let id = request.fields().text("attachmentId")?;
        let attachment = self.attachments.get(key, id).ok_or(Refusal::NO_ATTACHMENT)?;
        match attachment.state {
            State::Expired => return Err(Refusal::ATTACHMENT_EXPIRED),
            State::Failed | State::Granted(_) => return Err(Refusal::NO_ATTACHMENT),
            State::Stored { .. } => {}
        }
        let body = presigned(
            id,
            &self.download_link(key, id, now),
            &attachment.file,
            &json!({}),
        );
        self.reply(socket, request, "PresignedUrlResponse", &body)
    }

    /// Deletes an attachment that has not been sent. The refusal of a later request is an inference. All sockets of
    /// the session are notified, as the type `message` of the event suggests (inference).
    pub(in crate::world) fn delete_attachment(
        &mut self,
        socket: SocketId,
        request: &Request,
    ) -> Result<(), Refusal> {
        let key = self.session_of(socket, request)?;
        let id = request.fields().text("attachmentId")?;
        let attachment = self.attachments.get(key, id).ok_or(Refusal::NO_ATTACHMENT)?;
        if matches!(attachment.state, State::Stored { sent: true, .. }) {
            return Err(Refusal::coded(400, "The attachment was already sent"));
        }
        self.remove_attachment(key, id);
        let body = json!({"attachmentId": id});
        self.fan_out(key, Some(socket), |own| {
            let tracing_id = request.tracing_id().filter(|_| own);
            frame::event("AttachmentDeletedResponse", tracing_id, &body)
        });
        Ok(())
    }
}

/// The body of a `PresignedUrlResponse`.
fn presigned(id: &str, url: &str, file: &File, headers: &Value) -> Value {
    json!({
        "attachmentId": id,
        "url": url,
        "headers": headers,
        "fileName": file.name,
        "fileSize": file.size,
        "fileType": file.mime,
    })
}

fn is_id(id: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(valid)
}
