//! Conversations on the driver of `ws-transport`, with their HTTP calls as its jobs.

use std::time::{Duration, Instant};

use genesys_api::{Now, error_chain, limits};
use genesys_http::Client;
use web_messaging::rest::history::{History, HistoryPage};
use ws_transport::client::{Command as DriverCommand, Machine as DriverMachine};
use ws_transport::{AdmittedOrigin, ClientHandshake, CloseInfo, SocketUrl, Transmit};

use crate::attachments::{AttachmentId, FileUpload, UploadOutcome};
use crate::{Command, Event, HistoryFailure, Machine};

/// Longest time of one upload; the conversation gives up then as well.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(120);

/// A conversation as the driver runs it.
#[derive(Debug)]
pub(super) struct Driven<M>(pub(super) M);

/// An HTTP call beside the socket.
#[derive(Debug)]
pub(super) enum Job {
    ReadHistory(Box<History>),
    Upload(Box<FileUpload>),
}

/// Result of a call.
#[derive(Debug)]
pub(super) enum JobOutcome {
    History(Result<HistoryPage, HistoryFailure>),
    Upload(AttachmentId, UploadOutcome),
}

impl<M: Machine> DriverMachine for Driven<M> {
    type Event = Event;
    type Job = Job;
    /// The attachment of an upload; one page of the history is read at a time.
    type JobId = Option<AttachmentId>;
    type Outcome = JobOutcome;

    fn handshake(&mut self, url: &SocketUrl, origin: &AdmittedOrigin) -> ClientHandshake {
        self.0.handshake(url, origin)
    }

    async fn run(job: Job, http: Client) -> JobOutcome {
        match job {
            Job::ReadHistory(history) => JobOutcome::History(read(&http, &history).await),
            Job::Upload(file) => {
                let FileUpload { id, upload } = *file;
                let http = http.with_deadline(UPLOAD_DEADLINE);
                let outcome =
                    match http.call(&upload, upload.host(), None).await {
                        Ok(()) => UploadOutcome::Stored,
                        Err(error) => error.problem().map_or(UploadOutcome::Unanswered, |problem| {
                            UploadOutcome::Refused {
                                status: problem.status,
                            }
                        }),
                    };
                JobOutcome::Upload(id, outcome)
            }
        }
    }

    fn handle_connected(&mut self, now: Now) {
        self.0.handle_connected(now);
    }

    fn handle_connect_deferred(&mut self, until: Instant) {
        self.0.handle_connect_deferred(until);
    }

    fn handle_text(&mut self, text: &str, now: Now) {
        self.0.handle_frame(text, now);
    }

    fn handle_alive(&mut self) {
        self.0.handle_alive();
    }

    fn handle_closed(&mut self, close: CloseInfo, now: Now, random: u64) {
        self.0.handle_closed(close, now, random);
    }

    fn handle_refused(&mut self, status: u16, retry_after: Option<Duration>, now: Now, random: u64) {
        self.0.handle_refused(status, retry_after, now, random);
    }

    fn handle_outcome(&mut self, outcome: JobOutcome, now: Now) {
        match outcome {
            JobOutcome::History(result) => self.0.handle_history(result, now),
            JobOutcome::Upload(id, outcome) => self.0.handle_upload(&id, outcome, now),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.0.handle_timeout(now);
    }

    fn poll_command(&mut self) -> Option<DriverCommand<Self::JobId, Job>> {
        Some(match self.0.poll_command()? {
            Command::Connect => DriverCommand::Connect,
            Command::Disconnect => DriverCommand::Disconnect,
            Command::ReadHistory(history) => DriverCommand::Run(None, Job::ReadHistory(history)),
            Command::Upload(file) => DriverCommand::Run(Some(file.id.clone()), Job::Upload(file)),
        })
    }

    fn wants(&self, upload: &Option<AttachmentId>) -> bool {
        upload.as_ref().is_none_or(|id| self.0.is_uploading(id))
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        self.0.poll_transmit(now)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.0.poll_event()
    }

    fn backlog(&self) -> usize {
        self.0.backlog()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout().map(|(at, _)| at)
    }

    fn is_over(&self) -> bool {
        self.0.state().is_over()
    }
}

async fn read(http: &Client, history: &History) -> Result<HistoryPage, HistoryFailure> {
    let called = http.call(history, &history.host, Some(&history.jwt)).await;
    called.map_err(|error| match error.problem() {
        Some(problem) if problem.status == 401 => HistoryFailure::Unauthorized,
        Some(problem) if problem.status == 429 => HistoryFailure::RateLimited {
            retry_after: problem.retry_after.unwrap_or(limits::RETRY_AFTER),
        },
        _ => HistoryFailure::Failed {
            reason: error_chain(&error),
        },
    })
}
