//! The guest's files over REST: uploaded, deleted, downloaded by fresh links.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::{Call, Host, ReplyError, SessionId, entropy, json};
use genesys_http::{CallError, Client};
use guest_conversation::attachments::{AttachError, AttachmentEvent, AttachmentId, Failure, File, Link};
use guest_conversation::client::Handle;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use secrecy::SecretString;
use token_window::TokenManager;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::GatewayConversation;
use crate::attachment::encoded;
use crate::{DownloadLink, Operation, file_name_header};

/// Most requests about files at once.
pub(super) const REQUESTS: usize = 32;
/// Most uploads at once. The gateway takes as many of a session.
const UPLOADS: usize = 2;
/// Longest time of a request: the gateway takes at most 120 s to receive a file and 215 s to pass it on.
const DEADLINE: Duration = Duration::from_secs(340);

/// The requests about files of one session. Dropping it cancels them.
#[derive(Debug)]
pub(super) struct Files {
    session: SessionId,
    http: Client,
    host: Host,
    manager: TokenManager,
    uploads: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
}

impl Files {
    pub(super) fn new(session: SessionId, http: Client, host: Host, manager: TokenManager) -> Self {
        Self {
            session,
            http: http.with_deadline(DEADLINE),
            host,
            manager,
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            tasks: Mutex::default(),
        }
    }

    /// Starts an upload. Returns the id of the file.
    pub(super) fn upload(
        &self,
        file: File,
        conversation: Handle<GatewayConversation>,
    ) -> Result<AttachmentId, AttachError> {
        conversation.with(|machine, _| machine.check_attachment(&file))?;
        let id = AttachmentId::from(entropy::uuid());
        let started = self.start(&id, conversation, Action::Upload(file));
        started
            .then_some(id)
            .ok_or(AttachError::TooMany { count: REQUESTS })
    }

    /// Starts a deletion. Returns `false` if too many requests are in progress.
    pub(super) fn delete(&self, id: &AttachmentId, conversation: Handle<GatewayConversation>) -> bool {
        self.start(id, conversation, Action::Delete)
    }

    /// Requests a fresh link. Returns `false` if too many requests are in progress.
    pub(super) fn refresh(&self, id: &AttachmentId, conversation: Handle<GatewayConversation>) -> bool {
        self.start(id, conversation, Action::Link)
    }

    fn start(&self, id: &AttachmentId, conversation: Handle<GatewayConversation>, action: Action) -> bool {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= REQUESTS {
            return false;
        }
        let call = FileCall {
            session: self.session.clone(),
            id: id.clone(),
            action,
        };
        let (http, host, manager) = (self.http.clone(), self.host.clone(), self.manager.clone());
        let uploads = Arc::clone(&self.uploads);
        tasks.spawn(async move {
            let _slot = match &call.action {
                Action::Upload(_) => uploads.acquire().await.ok(),
                _ => None,
            };
            let result = match manager.token().await {
                Ok(token) => http
                    .call(&call, &host, Some(&token.secret))
                    .await
                    .map_err(|error| failure(&error)),
                // the conversation reports the failed refresh
                Err(_) => Err(Failure::Storage { status: None }),
            };
            conversation.with(|machine, now| {
                machine.handle_attachment(call.event(result, now.instant));
            });
        });
        true
    }
}

/// A request about a file. `Debug` shows neither its name nor its content.
#[derive(Debug)]
struct FileCall {
    session: SessionId,
    id: AttachmentId,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Delete,
    Link,
    Upload(File),
}

impl FileCall {
    fn event(self, result: Result<Option<SecretString>, Failure>, now: Instant) -> AttachmentEvent {
        let id = self.id;
        match (self.action, result) {
            (Action::Delete, Ok(_)) => AttachmentEvent::Deleted(id),
            (Action::Delete, Err(failure)) => AttachmentEvent::NotDeleted(id, failure),
            (Action::Link, Ok(Some(url))) => AttachmentEvent::Link(id, Link::new(url, now)),
            (Action::Link, Ok(None)) => AttachmentEvent::NoLink(id, Failure::Storage { status: None }),
            (Action::Link, Err(failure)) => AttachmentEvent::NoLink(id, failure),
            (Action::Upload(_), Ok(_)) => AttachmentEvent::Uploaded(id, None),
            (Action::Upload(_), Err(failure)) => AttachmentEvent::Failed(id, failure),
        }
    }
}

impl Call for FileCall {
    /// The link, if one was requested.
    type Reply = Option<SecretString>;
    // a file has one id, under which it is uploaded once
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let operation = match self.action {
            Action::Delete => Operation::DeleteAttachment,
            Action::Link => Operation::FetchAttachment,
            Action::Upload(_) => Operation::UploadAttachment,
        };
        let path = operation
            .path()
            .replace("{id}", self.session.as_str())
            .replace("{attachmentId}", &encoded(self.id.as_str()));
        let mut request = json::request(operation.method(), host, &path);
        if let Action::Upload(file) = &self.action {
            *request.body_mut() = file.content().clone();
            let headers = request.headers_mut();
            headers.insert(CONTENT_DISPOSITION, file_name_header(file.name()));
            if let Ok(media_type) = HeaderValue::from_str(file.media_type()) {
                headers.insert(CONTENT_TYPE, media_type);
            }
        }
        request
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Option<SecretString>, ReplyError> {
        match self.action {
            Action::Link => {
                let response = json::accepted(response)?;
                let link: Result<DownloadLink<'_>, _> = serde_json::from_slice(response.body());
                let link = link.map_err(|_| ReplyError::Malformed {
                    status: response.status().as_u16(),
                    expected: "a download link",
                })?;
                Ok(Some(link.url.to_secret()))
            }
            _ => json::accepted(response).map(|_| None),
        }
    }
}

fn failure(error: &CallError) -> Failure {
    match error.problem() {
        Some(problem) => Failure::RefusedByGateway {
            code: problem.code.as_str().into(),
            message: problem.message.as_str().into(),
        },
        None => Failure::Storage { status: None },
    }
}
