//! The guest's files, which are uploaded by REST beside the socket.

use guest_conversation::attachments::{AttachError, AttachmentEvent, AttachmentId, File, Rules};
use guest_conversation::{DeliveryStatus, MessageId, OutgoingMessage, SessionEvent, State};

use super::GatewayConversation;
use crate::AttachmentRules;

impl GatewayConversation {
    /// Checks a file against the rules that the gateway sent last.
    pub(in crate::client) fn check_attachment(&self, file: &File) -> Result<(), AttachError> {
        match self.engine.state() {
            State::Closing | State::Closed | State::Failed => return Err(AttachError::Ended),
            State::ReadOnly => return Err(AttachError::ReadOnly),
            _ => {}
        }
        let status = self.status().ok_or(AttachError::NotReady)?;
        let rules = status.attachments.as_ref().ok_or(AttachError::Off)?;
        let bytes = file.content().len() as u64;
        rules_of(rules).check(file.name(), file.media_type(), Some(bytes))
    }

    /// Emits a change of a file.
    pub(in crate::client) fn handle_attachment(&mut self, event: AttachmentEvent) {
        self.engine.emit(SessionEvent::Attachment(Box::new(event)));
    }

    /// Keeps the files of a queued message until its delivery is known.
    pub(super) fn keep_files(&mut self, id: MessageId, message: &OutgoingMessage) {
        let ids = message.attachments().iter();
        let files: Vec<AttachmentId> = ids.filter_map(|id| id.parse().ok()).collect();
        if files.is_empty() {
            return;
        }
        let engine = &self.engine;
        let SentFiles(kept) = &mut **self.files.get_or_insert_default();
        kept.retain(|(id, _)| !matches!(engine.delivery(*id), None | Some(DeliveryStatus::Failed(_))));
        kept.push((id, files));
    }

    /// Takes the files of a message. They are sent with it, or not.
    pub(super) fn resolve_files(&mut self, message: MessageId, is_sent: bool) {
        let Some(files) = &mut self.files else { return };
        let resolved = files.0.extract_if(.., |(id, _)| *id == message);
        for file in resolved.flat_map(|(_, files)| files).filter(|_| is_sent) {
            let event = AttachmentEvent::Sent(file, message);
            self.engine.emit(SessionEvent::Attachment(Box::new(event)));
        }
    }
}

/// The files of the messages that are queued or not acknowledged.
#[derive(Debug, Default)]
pub(super) struct SentFiles(Vec<(MessageId, Vec<AttachmentId>)>);

fn rules_of(rules: &AttachmentRules) -> Rules {
    Rules::new(
        rules.media_types.iter().map(|text| &**text),
        Some(rules.max_bytes / 1024),
        rules.blocked_extensions.iter().map(|text| &**text),
    )
}
