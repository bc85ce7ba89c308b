//! Attachments: granted, uploaded to the simulator itself, sent, fetched again.

mod action;
mod file;
mod link;

use std::collections::BTreeMap;

use bytes::Bytes;
use genesys_api::{DeploymentId, Host, Now, rfc3339};
use ring::{digest, hmac};
use serde_json::{Value, json};

use crate::world::World;
use crate::world::frame::{self, Refusal};
use crate::world::history::Message;
use crate::world::session::SessionKey;
use crate::world::timers::TimerKey;

pub(crate) use file::File;
pub(crate) use link::Verb;

/// The least that an attachment counts, in bytes, so that their number is bounded as well.
const LEAST: u64 = 1024;

/// Attachments of all sessions, by session and id.
pub(crate) struct Attachments {
    held: BTreeMap<(SessionKey, String), Attachment>,
    bytes: u64,
    key: hmac::Key,
    /// The header that every upload has to carry, verbatim.
    tagging: String,
}

struct Attachment {
    file: File,
    state: State,
}

enum State {
    /// The grant was not used in time.
    Expired,
    /// What came was not what was announced.
    Failed,
    Granted(TimerKey),
    Stored {
        body: Bytes,
        sha256: String,
        sent: bool,
    },
}

/// A link that opens nothing: forged, used, or too old.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Denied;

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

    fn get_mut(&mut self, key: SessionKey, id: &str) -> Option<&mut Attachment> {
        self.held.get_mut(&(key, id.to_owned()))
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
    /// Frees what a session held.
    pub(super) fn forget_attachments(&mut self, key: SessionKey) {
        let ids: Vec<_> = self
            .attachments
            .held
            .range((key, String::new())..)
            .take_while(|((session, _), _)| *session == key)
            .map(|((_, id), _)| id.clone())
            .collect();
        for id in ids {
            let gone = self.attachments.remove(key, &id);
            if let Some(State::Granted(timer)) = gone.map(|it| it.state) {
                self.timers.cancel(timer);
            }
        }
    }

    pub(super) fn expire_grant(&mut self, key: SessionKey, id: &str) {
        self.attachments.set(key, id, State::Expired);
    }

    /// Takes the body of an upload, then tells all sockets of the session how it went: as at Genesys, the status of
    /// the request does not.
    pub(crate) fn upload(&mut self, target: (SessionKey, &str), body: Bytes, now: Now) -> Result<(), Denied> {
        let (key, id) = target;
        let attachment = self.attachments.get(key, id).ok_or(Denied)?;
        let State::Granted(timer) = attachment.state else {
            return Err(Denied);
        };
        let announced = attachment.file.size;
        self.timers.cancel(timer);
        // that a length other than the announced one fails with these codes is an inference
        let failure = match body.len() as u64 {
            0 => Some((4102, "File is empty")),
            length if length != announced => Some((4002, "File size differs from the announced one")),
            _ if self.upload_fails(key) => Some((4010, "File was not stored: a simulated fault")),
            _ => None,
        };
        if let Some((code, message)) = failure {
            self.attachments.set(key, id, State::Failed);
            let body = json!({"attachmentId": id, "errorCode": code, "errorMessage": message,
                "timestamp": rfc3339(now.utc)});
            self.fan_out(key, None, |_| frame::pushed("UploadFailureEvent", None, &body));
            return Ok(());
        }
        self.counters.uploads += 1;
        self.attachments.set(key, id, stored(body, false));
        let body = json!({"attachmentId": id, "downloadUrl": self.download_link(key, id, now),
            "timestamp": rfc3339(now.utc)});
        self.fan_out(key, None, |_| frame::pushed("UploadSuccessEvent", None, &body));
        Ok(())
    }

    /// The MIME type and the bytes of an attachment.
    pub(crate) fn download(&self, (key, id): (SessionKey, &str)) -> Result<(&str, Bytes), Denied> {
        match self.attachments.get(key, id) {
            Some(Attachment {
                file,
                state: State::Stored { body, .. },
            }) => Ok((&file.kind, body.clone())),
            _ => Err(Denied),
        }
    }

    /// The session and attachment that a link opens.
    pub(crate) fn open_link<'a>(
        &self,
        verb: Verb,
        uri: &'a http::Uri,
        now: Now,
    ) -> Result<(SessionKey, &'a str), Denied> {
        link::open(&self.attachments.key, verb, uri, now.utc).ok_or(Denied)
    }

    /// The value of the header that an upload has to carry.
    pub(crate) fn tagging(&self) -> &str {
        &self.attachments.tagging
    }

    /// Whether an upload of that many bytes is still expected at `uri`.
    pub(crate) fn expects_upload(&self, uri: &http::Uri, now: Now) -> bool {
        self.open_link(Verb::Upload, uri, now)
            .ok()
            .and_then(|(key, id)| self.attachments.get(key, id))
            .is_some_and(|it| matches!(it.state, State::Granted(_)))
    }

    /// Sends a file as the agent, with what the agent says to it. Returns `false`, and sends nothing, if it is empty
    /// or there is no room for it.
    pub(crate) fn agent_attachment(
        &mut self,
        key: SessionKey,
        name: &str,
        kind: &str,
        body: Bytes,
        text: Option<String>,
        now: Now,
    ) -> bool {
        let file = File {
            name: name.to_owned(),
            kind: kind.to_owned(),
            size: body.len() as u64,
        };
        if body.is_empty() || self.sessions.get(&key).is_none() || !self.has_room(&file) {
            return false;
        }
        let id = self.seed.uuid().to_string();
        let state = stored(body, true);
        self.attachments
            .insert(key, id.clone(), Attachment { file, state });
        let mut content: Vec<_> = self.content(key, &id, now).into_iter().collect();
        for item in &mut content {
            if let Some(text) = &text {
                item["attachment"]["text"] = json!(text);
            }
        }
        let Some(session) = self.sessions.get_mut(&key) else {
            return false;
        };
        let time = session.stamp(now.utc);
        let name = session.agent.name(&self.rules.agent_name);
        let message = Message::agent_content(&mut self.seed, name, text, content, time);
        let message = message.by(session.agent.look());
        self.deliver(key, message, now);
        true
    }

    /// Gives the attachments in a page of history links that are fresh.
    pub(super) fn refresh_links(&self, key: SessionKey, page: &mut Value, now: Now) {
        let items = page["entities"]
            .as_array_mut()
            .into_iter()
            .flatten()
            .filter_map(|entity| entity["content"].as_array_mut())
            .flatten();
        for item in items {
            let id = item["attachment"]["id"].as_str();
            if let Some(id) = id.filter(|id| self.attachments.get(key, id).is_some()) {
                item["attachment"]["url"] = json!(self.download_link(key, id, now));
            }
        }
    }

    /// What a message says of an attachment that is there.
    fn content(&self, key: SessionKey, id: &str, now: Now) -> Option<Value> {
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
            "mime": file.kind,
            "sha256": sha256,
        }}))
    }

    fn download_link(&self, key: SessionKey, id: &str, now: Now) -> String {
        let until = link::until(now.utc, self.rules.attachments.download_lifetime);
        self.link(Verb::Download, key, id, until)
    }

    fn link(&self, verb: Verb, key: SessionKey, id: &str, until: i64) -> String {
        let base: &Host = &self.base;
        format!(
            "{base}{}",
            link::sign(&self.attachments.key, verb, (key, id), until)
        )
    }

    fn has_room(&self, file: &File) -> bool {
        let room = self
            .rules
            .attachments
            .most_bytes
            .saturating_sub(self.attachments.bytes);
        file.size.max(LEAST) <= room
    }

    /// Puts what is known of them in the place of the attachments that a guest's message names, and marks them sent.
    pub(super) fn send_attachments(&mut self, key: SessionKey, content: &[Value], now: Now) -> Vec<Value> {
        let filled = content
            .iter()
            .map(|item| {
                let id = item["attachment"]["id"].as_str();
                id.and_then(|id| self.content(key, id, now))
                    .unwrap_or_else(|| item.clone())
            })
            .collect();
        for item in content {
            let attachment = item["attachment"]["id"]
                .as_str()
                .and_then(|id| self.attachments.get_mut(key, id));
            if let Some(State::Stored { sent, .. }) = attachment.map(|it| &mut it.state) {
                *sent = true;
            }
        }
        filled
    }

    /// Whether a message may name this attachment.
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

/// What an attachment counts; one without a body, and without hope for one, counts least.
fn weight(attachment: &Attachment) -> u64 {
    match attachment.state {
        State::Expired | State::Failed => LEAST,
        State::Granted(_) | State::Stored { .. } => attachment.file.size.max(LEAST),
    }
}
