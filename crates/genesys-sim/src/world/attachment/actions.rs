//! Actions of guests on attachments.

use genesys_api::limits;
use serde_json::{Value, json};

use super::{Attachment, State};
use crate::config::AttachmentRules;
use crate::world::{Done, Fields, Refusal, Request, SessionKey, Timer, World, frame, later};

/// Longest id that a guest can choose, in bytes. Our choice.
const MAX_ID: usize = 64;

impl World {
    pub(in crate::world) fn on_attachment(&mut self, request: &Request) -> Done {
        let key = self.session_of(request)?;
        let fields = request.fields();
        let as_json = fields.optional_flag("errorsAsJson")?;
        let id = fields.optional_text("attachmentId")?;
        let grant = self
            .check_writable(key)
            .and_then(|()| self.grant(key, id, request))
            .map_err(|refusal| match refusal {
                Refusal::Coded(code, text) if as_json => Refusal::Upload {
                    code,
                    text,
                    attachment_id: id.map(str::to_owned),
                },
                refusal => refusal,
            })?;
        self.reply(request, "PresignedUrlResponse", &grant)
    }

    /// Grants an upload. A second grant for an id replaces the first, unless its file has arrived (inference).
    fn grant(&mut self, key: SessionKey, id: Option<&str>, request: &Request) -> Result<Value, Refusal> {
        let (name, mime, size) = announced_file(&self.rules.attachments, request.fields())?;
        let id = match id {
            None => self.seed.uuid().to_string(),
            Some(id) if is_id(id) => id.to_owned(),
            Some(_) => return Err(Refusal::FAILED),
        };
        match self.attachments.get(key, &id).map(|it| &it.state) {
            Some(State::Stored { .. }) => return Err(Refusal::FAILED),
            _ => self.remove_attachment(key, id.clone()),
        }
        if !self.has_room(size) {
            return Err(Refusal::coded(5000, "The simulator holds its most attachments"));
        }
        let lifetime = self.rules.attachments.upload_lifetime;
        let due = later(request.now, lifetime).instant;
        let timer = self.timers.set(due, Timer::Upload(key, id.clone()));
        let attachment = Attachment {
            name: name.to_owned(),
            mime: mime.to_owned(),
            size,
            state: State::Granted(timer),
        };
        let url = self.link(&format!("/upload/{id}"), key, lifetime, request.now);
        let body = presigned(&id, &url, &attachment, &json!({"x-amz-tagging": self.tagging()}));
        self.attachments.held.insert((key, id), attachment);
        Ok(body)
    }

    /// Replies with a fresh link for the download. That an unused grant is answered with 4008 is an inference.
    pub(in crate::world) fn fetch_attachment(&mut self, request: &Request) -> Done {
        let key = self.session_of(request)?;
        let id = request.fields().text("attachmentId")?;
        let attachment = self.attachments.get(key, id).ok_or(Refusal::NO_ATTACHMENT)?;
        match attachment.state {
            State::Expired => return Err(Refusal::ATTACHMENT_EXPIRED),
            State::Failed | State::Granted(_) => return Err(Refusal::NO_ATTACHMENT),
            State::Stored { .. } => {}
        }
        let url = self.download_link(key, id, request.now);
        let body = presigned(id, &url, attachment, &json!({}));
        self.reply(request, "PresignedUrlResponse", &body)
    }

    /// Deletes an attachment that has not been sent. That all sockets of the session are notified is an inference.
    pub(in crate::world) fn delete_attachment(&mut self, request: &Request) -> Done {
        let key = self.session_of(request)?;
        let id = request.fields().text("attachmentId")?;
        let attachment = self.attachments.get(key, id).ok_or(Refusal::NO_ATTACHMENT)?;
        if matches!(attachment.state, State::Stored { sent: true, .. }) {
            return Err(Refusal::coded(400, "The attachment was already sent"));
        }
        self.remove_attachment(key, id.to_owned());
        let body = json!({"attachmentId": id});
        self.fan_out(key, Some(request), |tracing_id| {
            frame::event("AttachmentDeletedResponse", tracing_id, &body)
        });
        Ok(())
    }
}

fn presigned(id: &str, url: &str, attachment: &Attachment, headers: &Value) -> Value {
    json!({
        "attachmentId": id,
        "url": url,
        "headers": headers,
        "fileName": attachment.name,
        "fileSize": attachment.size,
        "fileType": attachment.mime,
    })
}

fn is_id(id: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(valid)
}

/// Returns `fileName`, `fileType` and `fileSize` of a file that may be uploaded. `fileMd5` is not compared (our choice).
/// That a blocked extension is an invalid type, and a missing one an invalid name, are inferences.
fn announced_file<'a>(
    rules: &AttachmentRules,
    fields: Fields<'a>,
) -> Result<(&'a str, &'a str, u64), Refusal> {
    if !rules.enabled {
        return Err(Refusal::UPLOADS_OFF);
    }
    let (name, mime) = (fields.text("fileName")?, fields.text("fileType")?);
    let size = fields.required("fileSize", Value::as_u64)?;
    fields.optional_text("fileMd5")?;
    if name.chars().count() > limits::FILE_NAME_CHARACTERS {
        return Err(Refusal::coded(4005, "File name is too long"));
    }
    let extension = extension(name).ok_or_else(|| Refusal::coded(4004, "File name is invalid"))?;
    let unsupported = |kind: &str| Err(Refusal::coded(4001, format!("File type {kind} not supported")));
    if rules.blocked_extensions.contains(&extension) {
        return unsupported(&extension);
    }
    if !rules.file_types.iter().any(|allowed| includes(allowed, mime)) {
        return unsupported(mime);
    }
    let largest = u64::from(rules.max_file_kb) * 1024;
    if size == 0 {
        return Err(Refusal::coded(4102, "File is empty"));
    }
    if size > largest {
        let text = format!("File size {size} is larger than {largest}");
        return Err(Refusal::coded(4002, text));
    }
    Ok((name, mime, size))
}

/// Returns the extension with its dot, in lower case, of a name that has one and is not a path.
fn extension(name: &str) -> Option<String> {
    if name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\')) {
        return None;
    }
    let (stem, extension) = name.rsplit_once('.')?;
    let whole = !stem.trim().is_empty() && !extension.trim().is_empty();
    whole.then(|| format!(".{}", extension.to_lowercase()))
}

fn includes(allowed: &str, mime: &str) -> bool {
    let Some((class, name)) = mime.split_once('/') else {
        return false;
    };
    let is_clean = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && b != b'*');
    let wanted = allowed.split_once('/').unwrap_or_default();
    is_clean(class)
        && is_clean(name)
        && (wanted.0 == "*" || wanted.0.eq_ignore_ascii_case(class))
        && (wanted.1 == "*" || wanted.1.eq_ignore_ascii_case(name))
}
