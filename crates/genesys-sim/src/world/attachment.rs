//! Attachments: granted, uploaded to the simulator itself, sent, downloaded.

mod actions;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use genesys_api::{DeploymentId, Now, rfc3339};
use http::Uri;
use ring::digest;
use serde_json::{Value, json};

use crate::query::parameter;
use crate::script::File;
use crate::world::{Done, MessageContent, Refusal, SessionKey, TimerKey, World, hex, jwt, later};

/// Least weight of an attachment, in bytes, so that their number is bounded as well.
const MIN_WEIGHT: u64 = 1024;

pub(crate) struct Attachments {
    held: BTreeMap<(SessionKey, String), Attachment>,
    /// The header that every upload has to have, verbatim.
    tagging: String,
}

struct Attachment {
    name: String,
    /// MIME type.
    mime: String,
    /// Size in bytes.
    size: u64,
    state: State,
}

enum State {
    /// The grant was not used in time.
    Expired,
    /// The upload did not match the announced file.
    Failed,
    Granted(TimerKey),
    Stored {
        body: Bytes,
        sent: bool,
    },
}

impl Attachments {
    pub(super) fn new(organization: &str, deployment: &DeploymentId) -> Self {
        Self {
            held: BTreeMap::new(),
            tagging: format!(
                "organizationId={organization}&originPlatform=PureCloud&deploymentId={}",
                deployment.as_str()
            ),
        }
    }

    fn get(&self, key: SessionKey, id: &str) -> Option<&Attachment> {
        self.held.get(&(key, id.to_owned()))
    }

    fn set(&mut self, key: SessionKey, id: &str, state: State) {
        if let Some(attachment) = self.held.get_mut(&(key, id.to_owned())) {
            attachment.state = state;
        }
    }
}

impl Attachment {
    /// Bytes that it counts. Without a body, and without a grant for one, it counts least.
    fn weight(&self) -> u64 {
        match self.state {
            State::Expired | State::Failed => MIN_WEIGHT,
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

impl World {
    pub(super) fn forget_attachments(&mut self, key: SessionKey) {
        let held = self.attachments.held.range((key, String::new())..);
        let keys = held
            .map(|(key, _)| key)
            .take_while(|(session, _)| *session == key);
        for (key, id) in keys.cloned().collect::<Vec<_>>() {
            self.remove_attachment(key, id);
        }
    }

    fn remove_attachment(&mut self, key: SessionKey, id: String) {
        let removed = self.attachments.held.remove(&(key, id));
        if let Some(State::Granted(timer)) = removed.map(|it| it.state) {
            self.timers.cancel(timer);
        }
    }

    pub(super) fn expire_grant(&mut self, key: SessionKey, id: &str) {
        self.attachments.set(key, id, State::Expired);
    }

    /// Stores the body of an upload, and notifies the sockets of the session of its outcome. `None` without a grant.
    pub(crate) fn upload(&mut self, (key, id): (SessionKey, &str), body: Bytes, now: Now) -> Option<()> {
        let attachment = self.attachments.get(key, id)?;
        let State::Granted(timer) = attachment.state else {
            return None;
        };
        let announced = attachment.size;
        self.timers.cancel(timer);
        // that a length other than the announced one fails with these codes is an inference
        let failure = match body.len() as u64 {
            0 => Some((4102, "File is empty")),
            length if length != announced => Some((4002, "File size differs from the announced one")),
            _ if self.trigger_upload(key) => Some((4010, "File was not stored: a simulated fault")),
            _ => None,
        };
        let timestamp = rfc3339(now.utc);
        if let Some((code, message)) = failure {
            self.attachments.set(key, id, State::Failed);
            let body = json!({"attachmentId": id, "errorCode": code, "errorMessage": message,
                "timestamp": timestamp});
            self.broadcast(key, "UploadFailureEvent", &body);
            return Some(());
        }
        self.counters.uploads += 1;
        self.attachments.set(key, id, State::Stored { body, sent: false });
        let url = self.download_link(key, id, now);
        let body = json!({"attachmentId": id, "downloadUrl": url, "timestamp": timestamp});
        self.broadcast(key, "UploadSuccessEvent", &body);
        Some(())
    }

    /// The MIME type and the bytes of an attachment.
    pub(crate) fn download(&self, (key, id): (SessionKey, &str)) -> Option<(&str, Bytes)> {
        let attachment = self.attachments.get(key, id)?;
        match &attachment.state {
            State::Stored { body, .. } => Some((&attachment.mime, body.clone())),
            _ => None,
        }
    }

    pub(crate) fn tagging(&self) -> &str {
        &self.attachments.tagging
    }

    pub(crate) fn expects_upload(&self, uri: &Uri, now: Now) -> bool {
        let link = self.open_link(uri, now);
        link.and_then(|(key, id)| self.attachments.get(key, id))
            .is_some_and(|it| matches!(it.state, State::Granted(_)))
    }

    /// Sends a file as the agent. An empty file, or one without room, is left out.
    pub(super) fn send_agent_attachment(&mut self, key: SessionKey, file: &File, now: Now) {
        let body = Bytes::from(file.body.clone());
        let size = body.len() as u64;
        if body.is_empty() || !self.has_room(size) {
            return;
        }
        let id = self.seed.uuid().to_string();
        let attachment = Attachment {
            name: file.name.clone(),
            mime: file.media_type.clone(),
            size,
            state: State::Stored { body, sent: true },
        };
        self.attachments.held.insert((key, id.clone()), attachment);
        let mut items: Vec<_> = self.attachment_item(key, &id, now).into_iter().collect();
        if let (Some(item), Some(text)) = (items.first_mut(), &file.text) {
            item["attachment"]["text"] = json!(text);
        }
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let content = MessageContent::new(file.text.clone(), items);
        let message = session.agent_message(&mut self.seed, content, now.utc);
        self.deliver(key, message, now);
    }

    /// Puts fresh download links into a page of the history.
    pub(super) fn refresh_links(&self, key: SessionKey, page: &mut Value, now: Now) {
        let entities = page["entities"].as_array_mut().into_iter().flatten();
        let items = entities.filter_map(|entity| entity["content"].as_array_mut());
        for item in items.flatten() {
            let id = item["attachment"]["id"].as_str();
            if let Some(id) = id.filter(|id| self.attachments.get(key, id).is_some()) {
                item["attachment"]["url"] = json!(self.download_link(key, id, now));
            }
        }
    }

    fn attachment_item(&self, key: SessionKey, id: &str, now: Now) -> Option<Value> {
        let attachment = self.attachments.get(key, id)?;
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

    fn has_room(&self, size: u64) -> bool {
        let held: u64 = self.attachments.held.values().map(Attachment::weight).sum();
        held.saturating_add(size.max(MIN_WEIGHT)) <= self.rules.attachments.max_total_bytes
    }

    /// Completes the attachments that a guest's message names, and marks them as sent.
    pub(super) fn send_attachments(&mut self, key: SessionKey, content: &[Value], now: Now) -> Vec<Value> {
        let mut items = Vec::with_capacity(content.len());
        for item in content {
            let id = item["attachment"]["id"].as_str();
            let complete = id.and_then(|id| self.attachment_item(key, id, now));
            items.push(complete.unwrap_or_else(|| item.clone()));
            let held = id.and_then(|id| self.attachments.held.get_mut(&(key, id.to_owned())));
            if let Some(State::Stored { sent, .. }) = held.map(|it| &mut it.state) {
                *sent = true;
            }
        }
        items
    }

    pub(super) fn check_attachment(&self, key: SessionKey, id: &str) -> Done {
        match self.attachments.get(key, id).map(|it| &it.state) {
            None => Err(Refusal::NO_ATTACHMENT),
            Some(State::Expired) => Err(Refusal::ATTACHMENT_EXPIRED),
            Some(State::Failed | State::Granted(_)) => Err(Refusal::NOT_UPLOADED),
            Some(State::Stored { .. }) => Ok(()),
        }
    }
}
