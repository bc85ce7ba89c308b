//! Uploads of the guest's files, until they are sent with a message.

use std::path::PathBuf;

use guest_conversation::attachments::{AttachmentEvent, AttachmentId};
use guest_conversation::{ConnectionEvent, Event, OutgoingMessage, SessionEvent, State};

use super::content::format_size;
use super::{Chat, Request};

/// Largest number of files that wait for the connection or are being read.
const MAX_PENDING_FILES: usize = 32;

/// The files being uploaded, by their names. The conversation holds at most 32.
#[derive(Default)]
pub(super) struct Uploads {
    /// Requested before the conversation was connected.
    waiting: Vec<PathBuf>,
    reading: usize,
    uploading: Vec<(AttachmentId, String)>,
}

impl Uploads {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.reading == 0 && self.uploading.is_empty()
    }

    /// Counts a file as read, or as failed to be read.
    pub(super) fn finish_reading(&mut self) {
        self.reading = self.reading.saturating_sub(1);
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.uploading.iter().position(|(known, _)| known.as_str() == id)
    }

    fn take(&mut self, id: &str) -> Option<String> {
        let at = self.position(id)?;
        Some(self.uploading.swap_remove(at).1)
    }
}

impl Chat {
    /// Handles a file whose upload has started.
    pub fn handle_attached(&mut self, id: AttachmentId, name: &str, bytes: u64) {
        self.uploads.finish_reading();
        self.announce(&format!("uploading {name}, {}", format_size(bytes)));
        self.uploads.uploading.push((id, name.to_owned()));
    }

    /// Requests the upload of a file, once the conversation is connected.
    pub(super) fn attach(&mut self, path: PathBuf) {
        if self.uploads.waiting.len() + self.uploads.reading >= MAX_PENDING_FILES {
            self.deliveries.count_undelivered();
            self.show_error("cannot attach the file: too many uploads are pending");
        } else if self.state == State::Connecting {
            self.uploads.waiting.push(path);
        } else {
            self.uploads.reading += 1;
            self.requests.push_back(Request::Attach(path));
        }
    }

    pub(super) fn update_uploads(&mut self, event: &Event) {
        match event {
            Event::Session(SessionEvent::Attachment(event)) => self.update_upload(event),
            Event::Connection(ConnectionEvent::Ready(_)) => {
                let waiting = std::mem::take(&mut self.uploads.waiting);
                self.uploads.reading += waiting.len();
                self.requests.extend(waiting.into_iter().map(Request::Attach));
            }
            Event::Ended(_) => {
                let waiting = std::mem::take(&mut self.uploads.waiting);
                let waiting = waiting.iter().map(|path| path.display().to_string());
                let uploading = std::mem::take(&mut self.uploads.uploading);
                for name in waiting.chain(uploading.into_iter().map(|(_, name)| name)) {
                    self.show_rejected(&name, &"the conversation ended before it was sent");
                }
            }
            _ => {}
        }
    }

    fn update_upload(&mut self, event: &AttachmentEvent) {
        match event {
            AttachmentEvent::Failed(id, reason) => {
                if let Some(name) = self.uploads.take(id.as_str()) {
                    self.show_rejected(&name, reason);
                }
            }
            AttachmentEvent::Uploaded(id, _) => {
                if let Some(at) = self.uploads.position(id.as_str()) {
                    self.announce(&format!("uploaded {}", self.uploads.uploading[at].1));
                    self.requests.push_back(Request::Send(OutgoingMessage::Text {
                        text: "".into(),
                        attachments: vec![id.as_str().to_owned().into()],
                    }));
                }
            }
            _ => {}
        }
    }

    /// Returns a label for a message. Its files leave the list of uploads.
    pub(super) fn label(&mut self, message: &OutgoingMessage) -> String {
        let text = message.text().to_string();
        let OutgoingMessage::Text { attachments, .. } = message else {
            return text;
        };
        let files = attachments.iter().filter_map(|id| self.uploads.take(id));
        let text = Some(text).filter(|text| !text.is_empty());
        text.into_iter().chain(files).collect::<Vec<_>>().join(", ")
    }
}
