//! The frames about attachments.

use secrecy::SecretString;

use super::super::Heard;
use crate::conversation::attachments::{Ask, AttachmentId, Rules};
use crate::conversation::files::News;
use genesys_api::wire::Text;
use web_messaging::{AttachmentError, Body, ClientFrame, SessionResponse};

/// The request. Its tracing id is the attachment's id, so that every kind of refusal finds back to it.
pub(super) fn frame<'a>(token: &'a SecretString, ask: &'a Ask) -> ClientFrame<'a> {
    let token = token.into();
    let name = |id: &'a AttachmentId| Text::from(id.as_str());
    match ask {
        Ask::Delete { id } => ClientFrame::DeleteAttachment {
            token,
            attachment_id: name(id),
            tracing_id: name(id),
        },
        Ask::Grant {
            id,
            name: file_name,
            media_type,
            bytes,
        } => ClientFrame::OnAttachment {
            token,
            attachment_id: Some(name(id)),
            file_name: (&**file_name).into(),
            file_type: (&**media_type).into(),
            file_size: *bytes as u64,
            file_md5: None,
            errors_as_json: true,
            tracing_id: name(id),
        },
        Ask::Refresh { id } => ClientFrame::GetAttachment {
            token,
            attachment_id: name(id),
            tracing_id: name(id),
        },
    }
}

/// What the session takes; that it takes nothing where it says nothing is what Genesys' mobile SDK makes of it.
pub(super) fn rules(session: &SessionResponse<'_>) -> Rules {
    let inbound = session
        .allowed_media
        .as_ref()
        .and_then(|allowed| allowed.inbound.as_ref());
    inbound.map_or_else(Rules::off, |rules| {
        Rules::new(
            rules.file_types.iter().map(|kind| &*kind.media_type),
            rules.max_file_size_kb.and_then(|size| u64::try_from(size).ok()),
            session.blocked_extensions.iter().map(|extension| &**extension),
        )
    })
}

/// What a body says about an attachment, if it does.
pub(super) fn heard(body: &Body<'_>, tracing_id: Option<&str>) -> Option<Heard> {
    let (id, news) = match body {
        Body::AttachmentDeleted { attachment_id } => (&**attachment_id, News::Deleted),
        Body::GenerateUrlError(error) | Body::UploadFailure(error) => {
            (error.attachment_id.as_deref().or(tracing_id)?, refused(error))
        }
        Body::PresignedUrl(granted) => {
            let headers = granted.headers.iter();
            let news = News::Granted {
                url: granted.url.to_secret(),
                headers: headers
                    .map(|(name, value)| (name.to_string(), value.to_string()))
                    .collect(),
                file_size: granted.file_size.and_then(|size| u64::try_from(size).ok()),
            };
            (&*granted.attachment_id, news)
        }
        Body::UploadSuccess(uploaded) => {
            let url = uploaded.download_url.to_secret();
            (&*uploaded.attachment_id, News::Uploaded { url })
        }
        _ => return None,
    };
    Some(Heard::Attachment {
        id: id.parse().ok()?,
        news: Box::new(news),
    })
}

fn refused(error: &AttachmentError<'_>) -> News {
    News::Refused {
        code: error.error_code.unwrap_or_default(),
        message: error.error_message.as_deref().unwrap_or_default().to_owned(),
    }
}
