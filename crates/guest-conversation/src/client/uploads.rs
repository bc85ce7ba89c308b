//! Files on their way to the storage, beside the socket.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::attachments::{AttachmentId, Put, PutOutcome};

/// How long one upload may take; the conversation gives up then as well.
const DEADLINE: Duration = Duration::from_secs(120);

/// The uploads of one conversation, as many as it asks for: at most five.
#[derive(Default)]
pub(super) struct Uploads(Vec<(AttachmentId, Upload)>);

type Upload = Pin<Box<dyn Future<Output = PutOutcome> + Send>>;

impl Uploads {
    pub(super) fn begin(&mut self, http: genesys_http::Client, put: Put) {
        let Put { id, upload } = put;
        let http = http.with_deadline(DEADLINE);
        let upload = async move {
            match http.call(&upload, upload.host(), None).await {
                Ok(()) => PutOutcome::Stored,
                Err(error) => error
                    .problem()
                    .map_or(PutOutcome::Unanswered, |problem| PutOutcome::Refused {
                        status: problem.status,
                    }),
            }
        };
        self.0.push((id, Box::pin(upload)));
    }

    /// Drops those that nobody waits for any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&AttachmentId) -> bool) {
        self.0.retain(|(id, _)| wanted(id));
    }

    /// Waits for one that is done; for ever if there is none. If the future is dropped, nothing is lost.
    pub(super) async fn next(&mut self) -> (AttachmentId, PutOutcome) {
        poll_fn(|cx| {
            for (at, (_, upload)) in self.0.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = upload.as_mut().poll(cx) {
                    let (id, _) = self.0.swap_remove(at);
                    return Poll::Ready((id, outcome));
                }
            }
            Poll::Pending
        })
        .await
    }
}
