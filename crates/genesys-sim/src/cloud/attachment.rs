//! Attachments: granted, uploaded to the simulator itself, sent, downloaded, deleted.

use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::{Now, limits, rfc3339};
use http::Uri;
use ring::digest;
use serde_json::{Value, json};

use crate::cloud::{
    ActionResult, Cloud, Fields, MessageContent, Refusal, Request, SessionKey, frame, hex, jwt, later,
};
use crate::config::AttachmentRules;
use crate::json::without_null;
use crate::query::parameter;
use crate::script::File;

/// Longest id that a guest can choose, in bytes. Our choice.
const MAX_ID: usize = 64;

/// Least weight of an attachment, in bytes, so that their number is bounded as well.
const MIN_WEIGHT: u64 = 1024;

/// A file of a conversation, from the grant of its upload on.
pub(crate) struct Attachment {
    name: String,
    mime: String,
    size: u64,
    state: State,
}

enum State {
    /// The upload did not match the announced file.
    Failed,
    /// The upload is granted until this time. An unused grant then stays as an expired one.
    Granted(Instant),
    Stored {
        body: Bytes,
        sent: bool,
    },
}

impl Attachment {
    fn is_granted(&self, now: Now) -> bool {
        matches!(self.state, State::Granted(until) if now.instant < until)
    }

    /// Bytes that it counts. Without a body, and without a grant for one, it counts least.
    fn weight(&self, now: Now) -> u64 {
        match self.state {
            State::Failed => MIN_WEIGHT,
            State::Granted(_) if !self.is_granted(now) => MIN_WEIGHT,
            State::Granted(_) | State::Stored { .. } => self.size.max(MIN_WEIGHT),
        }
    }

    fn media_type(&self) -> &'static str {
        match self.mime.split('/').next().unwrap_or_default() {
            "audio" => "Audio",
            "image" => "Image",
            "video" => "Video",
            _ => "File",
        }
    }
}

impl Cloud {
    fn attachment(&self, key: SessionKey, id: &str) -> Option<&Attachment> {
        self.sessions.get(&key)?.conversation.attachments.get(id)
    }

    fn attachment_mut(&mut self, key: SessionKey, id: &str) -> Option<&mut Attachment> {
        let session = self.sessions.get_mut(&key)?;
        session.conversation.attachments.get_mut(id)
    }

    /// Stores the body of an upload, and notifies the sockets of the session of its outcome. `None` without a grant.
    pub(crate) fn upload(&mut self, (key, id): (SessionKey, &str), body: Bytes, now: Now) -> Option<()> {
        let granted = self.attachment(key, id).filter(|it| it.is_granted(now))?;
        let announced = granted.size;
        // that a length other than the announced one fails with these codes is an inference
        let failure = match body.len() as u64 {
            0 => Some((4102, "File is empty")),
            length if length != announced => Some((4002, "File size differs from the announced one")),
            _ if self.trigger_upload(key) => Some((4010, "File was not stored: a simulated fault")),
            _ => None,
        };
        let timestamp = rfc3339(now.utc);
        let (state, class, event) = if let Some((code, message)) = failure {
            let event = json!({"attachmentId": id, "errorCode": code, "errorMessage": message,
                "timestamp": timestamp});
            (State::Failed, "UploadFailureEvent", event)
        } else {
            self.counters.uploads += 1;
            let url = self.download_link(key, id, now);
            let event = json!({"attachmentId": id, "downloadUrl": url, "timestamp": timestamp});
            (State::Stored { body, sent: false }, "UploadSuccessEvent", event)
        };
        self.attachment_mut(key, id)?.state = state;
        self.broadcast(key, class, &event);
        Some(())
    }

    pub(crate) fn download(&self, (key, id): (SessionKey, &str)) -> Option<(&str, Bytes)> {
        let attachment = self.attachment(key, id)?;
        match &attachment.state {
            State::Stored { body, .. } => Some((&attachment.mime, body.clone())),
            _ => None,
        }
    }

    pub(crate) fn expects_upload(&self, uri: &Uri, now: Now) -> bool {
        let link = self.open_link(uri, now);
        link.and_then(|(key, id)| self.attachment(key, id))
            .is_some_and(|it| it.is_granted(now))
    }

    /// Sends a file as the agent. An empty file, or one without room, is left out.
    pub(super) fn send_agent_attachment(&mut self, key: SessionKey, file: &File, now: Now) {
        let body = Bytes::from(file.body.clone());
        let size = body.len() as u64;
        if body.is_empty() || !self.has_room(size, now) {
            return;
        }
        let id = self.rng.uuid().to_string();
        let attachment = Attachment {
            name: file.name.clone(),
            mime: file.media_type.clone(),
            size,
            state: State::Stored { body, sent: true },
        };
        if let Some(session) = self.sessions.get_mut(&key) {
            session.conversation.attachments.insert(id.clone(), attachment);
        }
        let item = self.attachment_item(key, &id, now);
        let (Some(mut item), Some(session)) = (item, self.sessions.get_mut(&key)) else {
            return;
        };
        if let Some(text) = &file.text {
            item["attachment"]["text"] = json!(text);
        }
        let content = MessageContent::new(file.text.clone(), vec![item]);
        let message = session.agent_message(&mut self.rng, content, now.utc);
        self.deliver(key, message, now);
    }

    /// Puts fresh download links into a page of the history.
    pub(super) fn refresh_links(&self, key: SessionKey, page: &mut Value, now: Now) {
        let entities = page["entities"].as_array_mut().into_iter().flatten();
        let items = entities.filter_map(|entity| entity["content"].as_array_mut());
        for item in items.flatten() {
            let id = item["attachment"]["id"].as_str();
            if let Some(id) = id.filter(|id| self.attachment(key, id).is_some()) {
                item["attachment"]["url"] = json!(self.download_link(key, id, now));
            }
        }
    }

    fn attachment_item(&self, key: SessionKey, id: &str, now: Now) -> Option<Value> {
        let attachment = self.attachment(key, id)?;
        let State::Stored { body, .. } = &attachment.state else {
            return None;
        };
        let hash = digest::digest(&digest::SHA256, body);
        Some(json!({"contentType": "Attachment", "attachment": {
            "id": id,
            "url": self.download_link(key, id, now),
            "filename": attachment.name,
            "mediaType": attachment.media_type(),
            "fileSize": attachment.size,
            "mime": attachment.mime,
            "sha256": hex(hash.as_ref()),
        }}))
    }

    fn download_link(&self, key: SessionKey, id: &str, now: Now) -> String {
        let lifetime = self.rules.attachments.download_lifetime;
        self.link(&format!("/download/{id}"), key, lifetime, now)
    }

    /// A presigned link, like those of S3. The signature is a JWT for the path.
    fn link(&self, path: &str, key: SessionKey, lifetime: Duration, now: Now) -> String {
        let expires = later(now, lifetime).utc;
        let signature = jwt::issue(&self.jwt_key, path.to_owned(), key.0, now, expires);
        format!("{}{path}?signature={signature}", self.base)
    }

    /// Returns the session and the attachment of a link that is valid and has not expired.
    pub(crate) fn open_link<'a>(&self, uri: &'a Uri, now: Now) -> Option<(SessionKey, &'a str)> {
        let signature = parameter(uri.query()?, "signature")?;
        let (_, id) = uri.path().rsplit_once('/')?;
        match jwt::verify(&self.jwt_key, uri.path(), &signature, now)? {
            (session, false) => Some((SessionKey(session), id)),
            (_, true) => None,
        }
    }

    fn has_room(&self, size: u64, now: Now) -> bool {
        let conversations = self.sessions.values().map(|session| &session.conversation);
        let attachments = conversations.flat_map(|conversation| conversation.attachments.values());
        let held: u64 = attachments.map(|attachment| attachment.weight(now)).sum();
        held.saturating_add(size.max(MIN_WEIGHT)) <= self.rules.attachments.max_total_bytes
    }

    /// Completes the attachments that a guest's message names, and marks them as sent.
    pub(super) fn send_attachments(&mut self, key: SessionKey, content: &[Value], now: Now) -> Vec<Value> {
        let mut items = Vec::with_capacity(content.len());
        for item in content {
            let id = item["attachment"]["id"].as_str();
            let complete = id.and_then(|id| self.attachment_item(key, id, now));
            items.push(complete.unwrap_or_else(|| item.clone()));
            let attachment = id.and_then(|id| self.attachment_mut(key, id));
            if let Some(State::Stored { sent, .. }) = attachment.map(|it| &mut it.state) {
                *sent = true;
            }
        }
        items
    }

    /// Returns an attachment whose file was uploaded. Otherwise `missing` is the refusal, unless the grant has expired.
    pub(super) fn stored_attachment(
        &self,
        key: SessionKey,
        id: &str,
        missing: Refusal,
        now: Now,
    ) -> Result<&Attachment, Refusal> {
        let attachment = self.attachment(key, id).ok_or(Refusal::NO_ATTACHMENT)?;
        match attachment.state {
            State::Stored { .. } => Ok(attachment),
            State::Granted(until) if until <= now.instant => Err(Refusal::ATTACHMENT_EXPIRED),
            State::Failed | State::Granted(_) => Err(missing),
        }
    }

    pub(super) fn on_attachment(&mut self, request: &Request) -> ActionResult {
        let key = self.session_of(request)?;
        let fields = request.fields();
        let as_json = fields.optional("errorsAsJson", Value::as_bool)? == Some(true);
        let id = fields.optional("attachmentId", Value::as_str)?;
        let writable = self.check_writable(key);
        match writable.and_then(|()| self.grant(key, id, request)) {
            Err(Refusal::Coded(code, text)) if as_json => {
                let body = without_null(json!({"errorCode": code, "errorMessage": text, "attachmentId": id}));
                let class = "GenerateUrlError";
                let frame = frame::envelope("response", class, 400, request.tracing_id(), body);
                self.send(request.socket, frame);
                Ok(())
            }
            grant => self.reply(request, "PresignedUrlResponse", &grant?),
        }
    }

    /// Grants an upload. A second grant for an id replaces the first, unless its file has arrived (inference).
    fn grant(&mut self, key: SessionKey, id: Option<&str>, request: &Request) -> Result<Value, Refusal> {
        let (name, mime, size) = announced_file(&self.rules.attachments, request.fields())?;
        let id = match id {
            None => self.rng.uuid().to_string(),
            Some(id) if is_id(id) => id.to_owned(),
            Some(_) => return Err(Refusal::FAILED),
        };
        let session = self.sessions.get_mut(&key).ok_or(Refusal::NOT_FOUND)?;
        let attachments = &mut session.conversation.attachments;
        if matches!(
            attachments.get(&id).map(|it| &it.state),
            Some(State::Stored { .. })
        ) {
            return Err(Refusal::FAILED);
        }
        attachments.remove(&id);
        if !self.has_room(size, request.now) {
            return Err(Refusal::coded(
                5000,
                "cannot store the attachment: the simulator is at its limit",
            ));
        }
        let lifetime = self.rules.attachments.upload_lifetime;
        let attachment = Attachment {
            name: name.to_owned(),
            mime: mime.to_owned(),
            size,
            state: State::Granted(later(request.now, lifetime).instant),
        };
        let url = self.link(&format!("/upload/{id}"), key, lifetime, request.now);
        let body = presigned(&id, &url, &attachment, &json!({"x-amz-tagging": self.tagging}));
        if let Some(session) = self.sessions.get_mut(&key) {
            session.conversation.attachments.insert(id, attachment);
        }
        Ok(body)
    }

    /// Replies with a fresh link for the download. That an unused grant is answered with 4008 is an inference.
    pub(super) fn fetch_attachment(&mut self, request: &Request) -> ActionResult {
        let key = self.session_of(request)?;
        let id = request.fields().text("attachmentId")?;
        let attachment = self.stored_attachment(key, id, Refusal::NO_ATTACHMENT, request.now)?;
        let url = self.download_link(key, id, request.now);
        let body = presigned(id, &url, attachment, &json!({}));
        self.reply(request, "PresignedUrlResponse", &body)
    }

    /// Deletes an attachment that has not been sent. That all sockets of the session are notified is an inference.
    pub(super) fn delete_attachment(&mut self, request: &Request) -> ActionResult {
        let key = self.session_of(request)?;
        let id = request.fields().text("attachmentId")?;
        let attachment = self.attachment(key, id).ok_or(Refusal::NO_ATTACHMENT)?;
        if matches!(attachment.state, State::Stored { sent: true, .. }) {
            return Err(Refusal::coded(400, "The attachment was already sent"));
        }
        if let Some(session) = self.sessions.get_mut(&key) {
            session.conversation.attachments.remove(id);
        }
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
        return Err(Refusal::coded(4000, "File upload is unavailable"));
    }
    let (name, mime) = (fields.text("fileName")?, fields.text("fileType")?);
    let size = fields.required("fileSize", Value::as_u64)?;
    fields.optional("fileMd5", Value::as_str)?;
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
