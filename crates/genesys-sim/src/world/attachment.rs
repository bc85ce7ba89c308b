//! Attachments: granted, uploaded to the simulator itself, sent, downloaded.

mod actions;
mod file;
mod link;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use genesys_api::{DeploymentId, Now, rfc3339};
use ring::{digest, hmac};
use serde_json::{Value, json};

use crate::script;
use crate::world::World;
use crate::world::frame::Refusal;
use crate::world::history::{Kind, Message, MessageContent};
use crate::world::id::SessionKey;
use crate::world::timers::TimerKey;

use file::File;

pub(crate) use link::LinkKind;

/// Least weight of an attachment, in bytes, so that their number is bounded as well.
const MIN_WEIGHT: u64 = 1024;

/// Attachments of all sessions, by session and id.
pub(crate) struct Attachments {
    held: BTreeMap<(SessionKey, String), Attachment>,
    bytes: u64,
    key: hmac::Key,
    /// The header that every upload has to have, verbatim.
    tagging: String,
}

struct Attachment {
    file: File,
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
        sha256: String,
        sent: bool,
    },
}

/// A link that is forged, used or expired.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BadLink;

impl Attachments {
    pub(super) fn new(key: [u8; 32], organization: &str, deployment: &DeploymentId) -> Self {
        Self {
            held: BTreeMap::new(),
            bytes: 0,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            tagging: format!(
                "organizationId={organization}&originPlatform=PureCloud&deploymentId={}",
                deployment.as_str()
            ),
        }
    }

    fn get(&self, key: SessionKey, id: &str) -> Option<&Attachment> {
        self.held.get(&(key, id.to_owned()))
    }

    fn insert(&mut self, key: SessionKey, id: String, attachment: Attachment) {
        self.bytes += weight(&attachment);
        self.held.insert((key, id), attachment);
    }

    fn remove(&mut self, key: SessionKey, id: &str) -> Option<Attachment> {
        let attachment = self.held.remove(&(key, id.to_owned()))?;
        self.bytes -= weight(&attachment);
        Some(attachment)
    }

    fn set(&mut self, key: SessionKey, id: &str, state: State) {
        if let Some(Attachment { file, .. }) = self.remove(key, id) {
            self.insert(key, id.to_owned(), Attachment { file, state });
        }
    }
}

impl World {
    /// Removes all attachments of a session.
    pub(super) fn forget_attachments(&mut self, key: SessionKey) {
        let held = self.attachments.held.range((key, String::new())..);
        let ids: Vec<_> = held
            .take_while(|((session, _), _)| *session == key)
            .map(|((_, id), _)| id.clone())
            .collect();
        for id in ids {
            self.remove_attachment(key, &id);
        }
    }

    fn remove_attachment(&mut self, key: SessionKey, id: &str) {
        let removed = self.attachments.remove(key, id);
        if let Some(State::Granted(timer)) = removed.map(|it| it.state) {
            self.timers.cancel(timer);
        }
    }

    pub(super) fn expire_grant(&mut self, key: SessionKey, id: &str) {
        self.attachments.set(key, id, State::Expired);
    }

    /// Stores the body of an upload, and notifies all sockets of the session of its outcome. As at Genesys, the status
    /// of the request does not depend on it.
    pub(crate) fn upload(
        &mut self,
        (key, id): (SessionKey, &str),
        body: Bytes,
        now: Now,
    ) -> Result<(), BadLink> {
        let attachment = self.attachments.get(key, id).ok_or(BadLink)?;
        let State::Granted(timer) = attachment.state else {
            return Err(BadLink);
        };
        let announced = attachment.file.size;
        self.timers.cancel(timer);
        // that a length other than the announced one fails with these codes is an inference
        let failure = match body.len() as u64 {
            0 => Some((4102, "File is empty")),
            length if length != announced => Some((4002, "File size differs from the announced one")),
            _ if self.trigger_upload(key) => Some((4010, "File was not stored: a simulated fault")),
            _ => None,
        };
        if let Some((code, message)) = failure {
            self.attachments.set(key, id, State::Failed);
            let body = json!({"attachmentId": id, "errorCode": code, "errorMessage": message,
                "timestamp": rfc3339(now.utc)});
            self.broadcast(key, "UploadFailureEvent", &body);
            return Ok(());
        }
        self.counters.uploads += 1;
        self.attachments.set(key, id, stored(body, false));
        let body = json!({"attachmentId": id, "downloadUrl": self.download_link(key, id, now),
            "timestamp": rfc3339(now.utc)});
        self.broadcast(key, "UploadSuccessEvent", &body);
        Ok(())
    }

    /// The MIME type and the bytes of an attachment.
    pub(crate) fn download(&self, (key, id): (SessionKey, &str)) -> Result<(&str, Bytes), BadLink> {
        match self.attachments.get(key, id) {
            Some(Attachment {
                file,
                state: State::Stored { body, .. },
            }) => Ok((&file.mime, body.clone())),
            _ => Err(BadLink),
        }
    }

    /// Returns the session and attachment of a link.
    pub(crate) fn open_link<'a>(
        &self,
        kind: LinkKind,
        uri: &'a http::Uri,
        now: Now,
    ) -> Result<(SessionKey, &'a str), BadLink> {
        link::open(&self.attachments.key, kind, uri, now.utc).ok_or(BadLink)
    }

    /// The value of the header that an upload has to have.
    pub(crate) fn tagging(&self) -> &str {
        &self.attachments.tagging
    }

    /// Whether an upload is expected at `uri`.
    pub(crate) fn expects_upload(&self, uri: &http::Uri, now: Now) -> bool {
        let link = self.open_link(LinkKind::Upload, uri, now).ok();
        link.and_then(|(key, id)| self.attachments.get(key, id))
            .is_some_and(|it| matches!(it.state, State::Granted(_)))
    }

    /// Sends a file as the agent. An empty file, or one without room, is left out.
    pub(super) fn send_agent_attachment(
        &mut self,
        key: SessionKey,
        file: &script::File,
        body: Bytes,
        now: Now,
    ) {
        let text = &file.text;
        let file = File {
            name: file.name.clone(),
            mime: file.media_type.clone(),
            size: body.len() as u64,
        };
        if body.is_empty() || !self.has_room(&file) {
            return;
        }
        let id = self.seed.uuid().to_string();
        let state = stored(body, true);
        self.attachments
            .insert(key, id.clone(), Attachment { file, state });
        let mut items: Vec<_> = self.attachment_item(key, &id, now).into_iter().collect();
        if let (Some(item), Some(text)) = (items.first_mut(), text) {
            item["attachment"]["text"] = json!(text);
        }
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let content = MessageContent {
            text: text.clone(),
            items,
            ..MessageContent::default()
        };
        let (time, persona) = (session.stamp(now.utc), &session.agent.persona);
        let message = Message::from_agent(&mut self.seed, Kind::Structured, content, persona, time);
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

    /// The content item of an uploaded attachment.
    fn attachment_item(&self, key: SessionKey, id: &str, now: Now) -> Option<Value> {
        let Attachment { file, state } = self.attachments.get(key, id)?;
        let State::Stored { sha256, .. } = state else {
            return None;
        };
        Some(json!({"contentType": "Attachment", "attachment": {
            "id": id,
            "url": self.download_link(key, id, now),
            "filename": file.name,
            "mediaType": file.media_type(),
            "fileSize": file.size,
            "mime": file.mime,
            "sha256": sha256,
        }}))
    }

    fn download_link(&self, key: SessionKey, id: &str, now: Now) -> String {
        let lifetime = self.rules.attachments.download_lifetime;
        self.link(LinkKind::Download, key, id, lifetime, now)
    }

    fn link(&self, kind: LinkKind, key: SessionKey, id: &str, lifetime: Duration, now: Now) -> String {
        let path = link::sign(&self.attachments.key, kind, (key, id), lifetime, now.utc);
        format!("{}{path}", self.base)
    }

    fn has_room(&self, file: &File) -> bool {
        let limit = self.rules.attachments.max_total_bytes;
        file.size.max(MIN_WEIGHT) <= limit.saturating_sub(self.attachments.bytes)
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

    /// Checks that a message can name this attachment.
    pub(super) fn check_attachment(&self, key: SessionKey, id: &str) -> Result<(), Refusal> {
        match self.attachments.get(key, id).map(|it| &it.state) {
            None => Err(Refusal::NO_ATTACHMENT),
            Some(State::Expired) => Err(Refusal::ATTACHMENT_EXPIRED),
            Some(State::Failed | State::Granted(_)) => Err(Refusal::NOT_UPLOADED),
            Some(State::Stored { .. }) => Ok(()),
        }
    }
}

fn stored(body: Bytes, sent: bool) -> State {
    let hash = digest::digest(&digest::SHA256, &body);
    let sha256 = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    State::Stored { body, sha256, sent }
}

/// Bytes that an attachment counts. Without a body, and without a grant for one, it counts least.
fn weight(attachment: &Attachment) -> u64 {
    match attachment.state {
        State::Expired | State::Failed => MIN_WEIGHT,
        State::Granted(_) | State::Stored { .. } => attachment.file.size.max(MIN_WEIGHT),
    }
}
