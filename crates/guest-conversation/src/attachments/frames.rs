//! Frames about attachments.

use std::time::Instant;

use genesys_api::wire::Text;
use web_messaging::rest::Upload;
use web_messaging::{Body, ClientAction, PresignedUrl};

use super::{ANSWER, AttachmentEvent, AttachmentId, Attachments, Failure, Item, Link, Stage, UPLOAD};

impl Attachments {
    /// Handles a received frame. Returns `None` if it is not about an attachment.
    pub(crate) fn handle_body(
        &mut self,
        body: &Body<'_>,
        tracing_id: Option<&str>,
        now: Instant,
    ) -> Option<()> {
        let id = match body {
            Body::AttachmentDeleted { attachment_id } => attachment_id,
            Body::GenerateUrlError(error) | Body::UploadFailure(error) => {
                error.attachment_id.as_deref().or(tracing_id)?
            }
            Body::PresignedUrl(presigned) => &presigned.attachment_id,
            Body::UploadSuccess(uploaded) => &uploaded.attachment_id,
            _ => return None,
        };
        let id: AttachmentId = id.parse().ok()?;
        match (body, self.position(&id)) {
            (Body::AttachmentDeleted { .. }, Some(index))
                if matches!(self.items[index].stage, Stage::Uploaded | Stage::Deleting) =>
            {
                self.handle_deleted(index);
            }
            (Body::GenerateUrlError(error) | Body::UploadFailure(error), _) => {
                let code = error.error_code.unwrap_or_default();
                self.handle_refused(&id, code, error.text());
            }
            (Body::PresignedUrl(presigned), index) => self.handle_presigned(index, &id, presigned, now),
            // other sockets of the session upload too
            (Body::UploadSuccess(uploaded), Some(index))
                if matches!(self.items[index].stage, Stage::Uploading | Stage::Confirming) =>
            {
                let item = &mut self.items[index];
                item.enter(Stage::Uploaded, None);
                item.upload = None;
                item.tries = 0;
                let link = Some(Link::new(uploaded.download_url.to_secret(), now));
                self.events.push(AttachmentEvent::Uploaded(id, link));
            }
            _ => {}
        }
        Some(())
    }

    fn handle_presigned(
        &mut self,
        index: Option<usize>,
        id: &AttachmentId,
        presigned: &PresignedUrl<'_>,
        now: Instant,
    ) {
        if let Some(index) = index.filter(|index| self.items[*index].stage == Stage::Requested)
            && let Some(file) = self.items[index].file.take()
        {
            let headers = presigned.headers.iter();
            let headers = headers.map(|(name, value)| (&**name, &**value));
            let media_type = file.media_type;
            match Upload::new(&presigned.url.to_secret(), headers, &media_type, file.body) {
                Ok(upload) => {
                    self.items[index].upload = Some(Box::new(upload));
                    self.items[index].enter(Stage::Uploading, Some(now + UPLOAD));
                }
                Err(problem) => self.fail(index, Failure::UploadUrl(problem)),
            }
        } else if presigned.is_download()
            && let Some(index) = self.requested_link(id)
        {
            self.refreshes.remove(index);
            self.events.push(AttachmentEvent::Link(
                id.clone(),
                Link::new(presigned.url.to_secret(), now),
            ));
        }
    }

    /// Whether [`Self::poll_request`] has a frame. A read-only session takes only requests for `links`.
    pub(crate) fn wants_request(&self, only_links: bool) -> bool {
        let wants = |item: &Item| match item.stage {
            Stage::Waiting => true,
            Stage::Deleting => item.deadline.is_none(),
            _ => false,
        };
        !only_links && self.items.iter().any(wants)
            || self.refreshes.iter().any(|refresh| refresh.deadline.is_none())
    }

    /// The next request. Its tracing id is the attachment's id, by which any refusal is assigned.
    pub(crate) fn poll_request(
        &mut self,
        only_links: bool,
        now: Instant,
    ) -> Option<(AttachmentId, ClientAction<'static>)> {
        let deadline = Some(now + ANSWER);
        let text = |text: &str| Text::from(text.to_owned());
        for item in self.items.iter_mut().filter(|_| !only_links) {
            let attachment_id = text(item.id.as_str());
            let action = match (item.stage, &item.file) {
                (Stage::Waiting, Some(file)) => {
                    let (file_name, file_type) = (text(&file.name), text(&file.media_type));
                    item.stage = Stage::Requested;
                    ClientAction::OnAttachment {
                        attachment_id: Some(attachment_id),
                        file_name,
                        file_type,
                        file_size: item.bytes as u64,
                        file_md5: None,
                        errors_as_json: true,
                    }
                }
                (Stage::Deleting, _) if item.deadline.is_none() => {
                    ClientAction::DeleteAttachment { attachment_id }
                }
                _ => continue,
            };
            item.deadline = deadline;
            return Some((item.id.clone(), action));
        }
        let mut refreshes = self.refreshes.iter_mut();
        let refresh = refreshes.find(|refresh| refresh.deadline.is_none())?;
        refresh.deadline = deadline;
        let attachment_id = text(refresh.id.as_str());
        Some((refresh.id.clone(), ClientAction::GetAttachment { attachment_id }))
    }
}
