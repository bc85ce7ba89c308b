//! HTTP calls beside the socket of a conversation.

use std::time::Duration;

use genesys_api::{error_chain, limits};
use genesys_http::Client;
use web_messaging::rest::history::{History, HistoryPage};

use crate::attachments::{FileUpload, UploadOutcome};
use crate::{HistoryFailure, Job, JobOutcome};

/// Longest time of one upload; the conversation gives up then as well.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(120);

pub(super) async fn run(job: Job, http: Client) -> JobOutcome {
    match job {
        Job::ReadHistory(history) => JobOutcome::History(read(&http, &history).await),
        Job::Upload(file) => {
            let FileUpload { id, upload } = *file;
            let http = http.with_deadline(UPLOAD_DEADLINE);
            let uploaded = http.call(&upload, upload.host(), None).await;
            let outcome = match uploaded.as_ref().map_err(|error| error.problem()) {
                Ok(()) => UploadOutcome::Stored,
                Err(Some(problem)) => UploadOutcome::Refused {
                    status: problem.status,
                },
                Err(None) => UploadOutcome::Unanswered,
            };
            JobOutcome::Upload(id, outcome)
        }
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
