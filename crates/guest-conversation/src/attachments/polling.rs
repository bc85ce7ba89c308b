//! Next actions and deadlines of the attachments.

use std::time::Instant;

use super::event::{AttachmentEvent, AttachmentRequest, FileUpload};
use super::item::{Item, Load, Stage};
use super::{ANSWER, Attachments, UPLOAD};

impl Attachments {
    /// Whether [`Self::poll_request`] has a request.
    #[must_use]
    pub fn wants_request(&self) -> bool {
        let wants = |item: &Item| match item.stage {
            Stage::Waiting => true,
            Stage::Deleting => item.deadline.is_none(),
            _ => false,
        };
        self.items.iter().any(wants) || self.wants_refresh()
    }

    /// Whether [`Self::poll_refresh`] has a request.
    #[must_use]
    pub fn wants_refresh(&self) -> bool {
        self.refreshes.iter().any(|refresh| !refresh.asked)
    }

    /// The next request for the socket, in a configured session, when the limits let a request pass. Its tracing id
    /// should be the attachment's id, so that every kind of error finds back to [`Self::handle_refused`].
    pub fn poll_request(&mut self, now: Instant) -> Option<AttachmentRequest> {
        let deadline = Some(now + ANSWER);
        for item in &mut self.items {
            let id = item.id.clone();
            match (item.stage, &item.load) {
                (Stage::Waiting, Load::File(file)) => {
                    let request = AttachmentRequest::upload(id, file);
                    item.enter(Stage::Requested, deadline);
                    return Some(request);
                }
                (Stage::Deleting, _) if item.deadline.is_none() => {
                    item.deadline = deadline;
                    return Some(AttachmentRequest::Delete { id });
                }
                _ => {}
            }
        }
        self.poll_refresh(now)
    }

    /// As [`Self::poll_request`], but only links: all that may be asked for in a read-only session.
    pub fn poll_refresh(&mut self, now: Instant) -> Option<AttachmentRequest> {
        let refresh = self.refreshes.iter_mut().find(|refresh| !refresh.asked)?;
        refresh.asked = true;
        refresh.deadline = Some(now + ANSWER);
        let id = refresh.id.clone();
        Some(AttachmentRequest::Refresh { id })
    }

    /// The next file to put where the service granted it; then call [`Self::handle_upload`].
    pub fn poll_upload(&mut self, now: Instant) -> Option<FileUpload> {
        let item = self
            .items
            .iter_mut()
            .find(|item| item.stage == Stage::Presigned)?;
        item.enter(Stage::Uploading, Some(now + UPLOAD));
        match std::mem::take(&mut item.load) {
            Load::Upload(upload) => {
                item.load = Load::Leaving(upload.len());
                Some(FileUpload {
                    id: item.id.clone(),
                    upload: *upload,
                })
            }
            Load::File(_) | Load::Leaving(_) | Load::Nothing => None,
        }
    }

    /// What happened, if anything did. To be polled until `None` after each input, or room runs out.
    pub fn poll_event(&mut self) -> Option<AttachmentEvent> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`] at the latest, and what takes too long then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Stage)> {
        let items = self.items.iter().map(|item| (item.deadline, item.stage));
        let refreshes = self.refreshes.iter();
        items
            .chain(refreshes.map(|refresh| (refresh.deadline, Stage::Refreshing)))
            .filter_map(|(at, stage)| Some((at?, stage)))
            .min_by_key(|(at, _)| *at)
    }
}
