//! The guest's files on their way to the service, until a message carries them.

use std::path::PathBuf;

use guest_conversation::attachments::{AttachmentId, Notice};
use guest_conversation::{Event, Said};

use super::content::size;
use super::line::{Line, Tone};
use super::{Chat, Request, Standing};

/// How many files can wait for the conversation to begin, or to be read.
const MOST_WAITING: usize = 32;

/// The files on their way, by their names. The conversation holds at most 32.
#[derive(Default)]
pub(super) struct Uploads {
    /// Asked for before the conversation began.
    waiting: Vec<PathBuf>,
    /// How many are being read.
    reading: usize,
    begun: Vec<(AttachmentId, String)>,
}

impl Uploads {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.reading == 0 && self.begun.is_empty()
    }

    /// A file was read, or could not be.
    pub(super) fn forget_reading(&mut self) {
        self.reading = self.reading.saturating_sub(1);
    }

    fn take(&mut self, id: &str) -> Option<String> {
        let at = self.begun.iter().position(|(known, _)| known.as_str() == id)?;
        Some(self.begun.swap_remove(at).1)
    }

    fn name(&self, id: &AttachmentId) -> Option<&str> {
        let mut begun = self.begun.iter();
        begun.find(|(known, _)| known == id).map(|(_, name)| &**name)
    }
}

impl Chat {
    /// A file was taken to be uploaded, under this name.
    pub fn handle_attached(&mut self, id: AttachmentId, name: &str, bytes: u64) {
        self.uploads.forget_reading();
        self.announce(&format!("uploading {name}, {}", size(bytes)));
        self.uploads.begun.push((id, name.to_owned()));
    }

    /// Asks for a file to be sent, once the conversation has begun.
    pub(super) fn attach(&mut self, path: PathBuf) {
        if self.uploads.waiting.len() + self.uploads.reading >= MOST_WAITING {
            self.deliveries.count_undelivered();
            self.trouble("too many files wait already");
        } else if self.standing == Standing::Connecting {
            self.uploads.waiting.push(path);
        } else {
            self.uploads.reading += 1;
            self.requests.push_back(Request::Attach(path));
        }
    }

    /// Whatever an event means for the files.
    pub(super) fn advance_uploads(&mut self, event: &Event) {
        match event {
            Event::Attachment(notice) => self.upload_told(notice),
            Event::Configured(_) => {
                let waiting = std::mem::take(&mut self.uploads.waiting);
                self.uploads.reading += waiting.len();
                self.requests.extend(waiting.into_iter().map(Request::Attach));
            }
            Event::Ended(_) => {
                let names = self
                    .uploads
                    .waiting
                    .drain(..)
                    .map(|path| path.display().to_string());
                let names: Vec<_> = names
                    .chain(self.uploads.begun.drain(..).map(|(_, name)| name))
                    .collect();
                for name in names {
                    let line = self
                        .deliveries
                        .refuse(&name, &"the conversation ended before it was sent");
                    self.show(line);
                }
            }
            _ => {}
        }
    }

    fn upload_told(&mut self, notice: &Notice) {
        match notice {
            Notice::Failed { id, why } => {
                if let Some(name) = self.uploads.take(id.as_str()) {
                    let line = self.deliveries.refuse(&name, why);
                    self.show(line);
                }
            }
            Notice::Uploaded { id, .. } => {
                if let Some(name) = self.uploads.name(id) {
                    let line = Line::new(Tone::Quiet, "*", &format!("uploaded {name}"));
                    self.show(line);
                    self.requests.push_back(Request::Say(Said::Text {
                        text: "".into(),
                        attachments: vec![id.as_str().to_owned().into()],
                    }));
                }
            }
            _ => {}
        }
    }

    /// What a person calls something that is said; its files are on their way no more, but the message is.
    pub(super) fn label(&mut self, said: &Said) -> String {
        let words = said.words();
        let Said::Text { attachments, .. } = said else {
            return words;
        };
        let files = attachments.iter().filter_map(|id| self.uploads.take(id));
        let all: Vec<_> = Some(words)
            .filter(|it| !it.is_empty())
            .into_iter()
            .chain(files)
            .collect();
        all.join(", ")
    }
}
