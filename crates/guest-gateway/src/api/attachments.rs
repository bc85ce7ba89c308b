//! `…/{id}/attachments/{attachmentId}`: the files of a guest.

mod body;

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use guest_conversation::RequestError;
use guest_conversation::attachments::{
    AttachError, AttachmentId, AttachmentIdError, DeleteError, Failure, File,
};
use guest_sessions::{DetailCode, DownloadLink, ErrorCode, file_name};
use http::StatusCode;
use http::header::{CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use uuid::Uuid;
use web_messaging::ErrorCode as GenesysCode;

pub(crate) use self::body::FILE_MEMORY;
use self::body::Reservation;
use super::page::{self, Guest};
use super::request::{Call, ClientGone, check_whole};
use super::{App, Refusal, json_answer};
use crate::relay::{FileAnswer, FileError, FileHead, FileRequest, Files, Slot};

/// Longest wait for Genesys to check a file, and for memory. Our choice.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time for a whole body. Our choice, as for the upload to Genesys.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest wait for an answer: an upload URL, the upload and its confirmation take at most 210 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(215);
/// Longest wait for a link or a deletion: the conversation waits 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(35);
/// Wait after which an upload that was refused by a limit is repeated. Our choice.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Longest time in which a refused body is read. Our choice.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a part of a refused body: the client may read the answer first. Our choice.
const DISCARD_PAUSE: Duration = Duration::from_secs(1);
/// Most bytes of a refused body that are read, so that the client can read the refusal.
const DISCARDED: usize = 16 * 1024 * 1024;

/// A file to upload.
#[derive(Debug)]
struct Announced {
    id: AttachmentId,
    head: FileHead,
}

/// The body of an upload.
#[derive(Debug)]
struct Incoming {
    body: Body,
    /// Whether the client waits for `100 Continue`, which hyper sends at the first read.
    awaits_continue: bool,
}

pub(super) async fn upload(mut call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let gone = call.request.extensions_mut().remove::<ClientGone>();
    let mut body = Incoming {
        awaits_continue: call.request.headers().contains_key(EXPECT),
        body: std::mem::take(call.request.body_mut()),
    };
    let (guest, announced) = (page::admit(&call), announced(&call, &body.body));
    drop(call);
    let received = async {
        let guest = guest.await?;
        receive(&app, guest, announced?, &mut body).await
    };
    match received.await {
        Ok(received) => pass_on(&app, received, gone).await,
        Err(refusal) => {
            discard(&app, body).await;
            Err(refusal)
        }
    }
}

pub(super) async fn fetch(call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let (guest, id) = (page::admit(&call), existing_id(&call));
    drop(call);
    let (guest, id) = (guest.await?, id?);
    match request(&app, guest, |reply| FileRequest::Link { id, reply }).await? {
        FileAnswer::Link(url) => {
            let url = (&url).into();
            Ok(json_answer(StatusCode::OK, &DownloadLink { url }))
        }
        FileAnswer::Done => Err(not_connected()),
    }
}

pub(super) async fn delete(call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let (guest, id) = (page::admit(&call), existing_id(&call));
    drop(call);
    let (guest, id) = (guest.await?, id?);
    let pseudonym = guest.admitted.pseudonym();
    app.log_attachment(pseudonym, "attachment.deleted", None).await?;
    request(&app, guest, |reply| FileRequest::Delete { id, reply }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A file that was received, with what it occupies until it is uploaded.
#[derive(Debug)]
struct Received {
    id: AttachmentId,
    file: File,
    files: Files,
    _slot: Slot,
    _memory: Reservation,
}

/// The file that the head of a request announces.
fn announced(call: &Call, body: &Body) -> Result<Announced, Refusal> {
    let headers = call.request.headers();
    check_whole(headers)?;
    let id: Uuid = call.inner_id().parse().map_err(|_| {
        invalid(
            "attachmentId",
            "invalid attachmentId: not a UUID, take a fresh random one",
        )
    })?;
    let name = file_name(headers).map_err(|error| invalid("Content-Disposition", error.to_string()))?;
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let media_type = match (types.next(), types.next()) {
        (Some(one), None) => one.to_str().ok(),
        _ => None,
    };
    let media_type = media_type.ok_or_else(|| {
        invalid(
            "Content-Type",
            "invalid Content-Type: send the media type of the file, such as image/png",
        )
    })?;
    Ok(Announced {
        id: id.into(),
        head: FileHead {
            name,
            media_type: media_type.to_owned(),
            bytes: body.size_hint().exact(),
        },
    })
}

fn existing_id(call: &Call) -> Result<AttachmentId, Refusal> {
    let unknown = |error: AttachmentIdError| Refusal::new(ErrorCode::AttachmentUnknown, error.to_string());
    call.inner_id().parse().map_err(unknown)
}

fn invalid(field: &str, message: impl Into<String>) -> Refusal {
    let detail = DetailCode::FieldValue;
    Refusal::new(detail.error_code(), message).detail(detail.as_str(), field)
}

/// Receives a file that the session takes.
async fn receive(
    app: &App,
    guest: Guest,
    Announced { id, head }: Announced,
    body: &mut Incoming,
) -> Result<Received, Refusal> {
    let pseudonym = guest.admitted.pseudonym();
    let (name, media_type, bytes) = (head.name.clone(), head.media_type.clone(), head.bytes);
    let Guest {
        id: session,
        admitted,
        origin,
    } = guest;
    let admission = app
        .hub
        .file(admitted, &session, origin, |reply| FileRequest::Admit {
            file: head,
            reply,
        });
    let (slot, files) = within(app, ADMISSION_TIMEOUT, admission)
        .await
        .ok_or_else(not_connected)?;
    let slot = slot.ok_or_else(not_connected)?.map_err(refusal)?;
    let largest = bytes.unwrap_or(slot.max_bytes);
    let mut memory = Reservation::new(app, slot.reserved());
    let content = body::read(app, body, largest, &mut memory);
    let content = within(app, BODY_TIMEOUT, content).await.ok_or_else(too_slow)??;
    if content.is_empty() {
        return Err(refusal(AttachError::Empty.into()));
    }
    let essence = media_type.split(';').next().unwrap_or_default().trim_end();
    let entry = Some((essence, content.len() as u64));
    app.log_attachment(pseudonym, "attachment.received", entry)
        .await?;
    Ok(Received {
        id,
        file: File::with_media_type(&name, &media_type, content),
        files,
        _slot: slot,
        _memory: memory,
    })
}

/// Passes a file on to Genesys. If the client is gone, the upload is canceled.
async fn pass_on(app: &App, received: Received, gone: Option<ClientGone>) -> Result<Response, Refusal> {
    let Received {
        id,
        file,
        files,
        _slot,
        _memory,
    } = received;
    let uploading = id.clone();
    let answer = tokio::select! {
        answer = files.request(|reply| FileRequest::Upload { id: uploading, file, reply }) => answer,
        () = app.clock.sleep(ANSWER_TIMEOUT) => cancel(&files, id).await,
        () = closed(gone) => cancel(&files, id).await,
    };
    answer.ok_or_else(not_connected)?.map_err(upload_refusal)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn closed(gone: Option<ClientGone>) {
    match gone {
        Some(mut gone) => gone.closed().await,
        None => std::future::pending().await,
    }
}

/// Cancels an upload. One that was completed meanwhile is deleted.
async fn cancel(files: &Files, id: AttachmentId) -> Option<Result<FileAnswer, FileError>> {
    let canceled = files.request(|reply| FileRequest::Delete { id, reply }).await?;
    Some(canceled.and(Err(FileError::Canceled)))
}

/// Makes a request about a file that exists.
async fn request(
    app: &App,
    Guest { id, admitted, origin }: Guest,
    request: impl FnOnce(oneshot::Sender<Result<FileAnswer, FileError>>) -> FileRequest,
) -> Result<FileAnswer, Refusal> {
    let answer = app.hub.file(admitted, &id, origin, request);
    let (answer, _) = within(app, REQUEST_TIMEOUT, answer)
        .await
        .ok_or_else(not_connected)?;
    answer.ok_or_else(not_connected)?.map_err(refusal)
}

async fn within<T>(app: &App, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = app.clock.sleep(limit) => None,
    }
}

/// Reads the rest of a body, up to a limit: a client that still sends would not read the answer.
async fn discard(app: &App, incoming: Incoming) {
    // it sends no body before it reads the answer
    if incoming.awaits_continue {
        return;
    }
    let (mut body, mut bytes) = (incoming.body, 0);
    let rest = async {
        while let Some(Some(Ok(frame))) = within(app, DISCARD_PAUSE, body.frame()).await
            && bytes < DISCARDED
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    within(app, DISCARD_TIMEOUT, rest).await;
}

fn refusal(error: FileError) -> Refusal {
    let message = error.to_string();
    let code = match error {
        FileError::Attach(error) => return attach_refusal(&error),
        FileError::Failed(Failure::SessionEnded) | FileError::Request(RequestError::Ended) => {
            ErrorCode::SessionEnded
        }
        FileError::Busy => ErrorCode::TooManyAttachments,
        FileError::Canceled
        | FileError::Delete(DeleteError::Unknown)
        | FileError::Failed(Failure::Refused {
            code: GenesysCode::AttachmentNotFound,
            ..
        }) => ErrorCode::AttachmentUnknown,
        FileError::Delete(_) => ErrorCode::AttachmentInUse,
        FileError::Failed(_) => ErrorCode::AttachmentFailed,
        FileError::Request(RequestError::Busy { .. }) => ErrorCode::TooManyAttachments,
        FileError::Request(_) => return not_connected(),
    };
    limited(code, message)
}

fn attach_refusal(error: &AttachError) -> Refusal {
    let code = match error {
        AttachError::Blocked { .. } | AttachError::MediaType { .. } => ErrorCode::AttachmentNotAllowed,
        AttachError::Busy { .. } | AttachError::TooMany { .. } => ErrorCode::TooManyAttachments,
        AttachError::Ended => ErrorCode::SessionEnded,
        AttachError::Known => ErrorCode::AttachmentInUse,
        AttachError::Off => ErrorCode::ActionUnavailable,
        AttachError::ReadOnly => ErrorCode::ConversationReadOnly,
        AttachError::TooLarge { .. } => ErrorCode::AttachmentTooLarge,
        AttachError::Empty => return invalid("body", error.to_string()),
        AttachError::Name | AttachError::NameTooLong { .. } | AttachError::NoExtension => {
            return invalid("Content-Disposition", error.to_string());
        }
        _ => return not_connected(),
    };
    limited(code, error.to_string())
}

/// The refusal of a file that Genesys refuses is not that of a failed request.
fn upload_refusal(error: FileError) -> Refusal {
    match error {
        FileError::Failed(Failure::Refused { code, .. }) => {
            let message = format!("{error} (code {} of Genesys)", code.number());
            Refusal::new(ErrorCode::AttachmentRefused, message)
        }
        error => refusal(error),
    }
}

/// A refusal with the time to wait, if its code has one.
fn limited(code: ErrorCode, message: String) -> Refusal {
    let refusal = Refusal::new(code, message);
    match code {
        ErrorCode::TooManyAttachments => refusal.retry_after(RETRY_AFTER),
        _ => refusal,
    }
}

fn not_connected() -> Refusal {
    Refusal::unavailable("cannot reach Genesys for the file: no answer in time, try again later")
}

fn too_slow() -> Refusal {
    let message = "cannot read the body: it did not arrive in time, upload the file again";
    Refusal::new(ErrorCode::RequestTimeout, message)
}
