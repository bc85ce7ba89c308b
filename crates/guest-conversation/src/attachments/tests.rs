//! Attachments from the file to the message.

mod properties;

use bytes::Bytes;
use genesys_api::Call as _;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;
use web_messaging::ServerFrame;

use super::*;

const IN_FLIGHT: [Stage; 3] = [Stage::Requested, Stage::Uploading, Stage::Confirming];

/// Attachments, and the service at the other end.
struct Harness {
    attachments: Attachments,
    now: Instant,
}

impl Harness {
    fn new() -> Self {
        let mut attachments = Attachments::default();
        attachments.handle_rules(Rules::new(["*/*"], Some(10_240), [".exe"]));
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        let now = Instant::now();
        Self { attachments, now }
    }

    /// With one attachment in `stage`.
    fn with(stage: Stage) -> Self {
        let mut harness = Self::new();
        harness.advance_to(1, stage);
        harness
    }

    fn attach(&mut self, n: u128, size: usize) -> Result<(), AttachError> {
        let file = File::new("cat.png", Bytes::from(vec![7; size]));
        self.attachments.attach(id(n), file)
    }

    /// The next request for the service.
    fn request(&mut self) -> Option<Value> {
        let (_, action) = self.attachments.poll_request(false, self.now)?;
        Some(serde_json::to_value(action).unwrap())
    }

    fn receive(&mut self, class: &str, body: &Value) {
        let text = json!({"type": "response", "class": class, "code": 200, "body": body}).to_string();
        let frame = ServerFrame::parse(&text).unwrap();
        let known = self.attachments.handle_body(&frame.body, None, self.now);
        assert!(known.is_some(), "{text}");
    }

    fn receive_url(&mut self, id: &AttachmentId, url: &str, headers: &Value) {
        let body = json!({"attachmentId": id.as_str(), "url": url, "headers": headers, "fileSize": 1});
        self.receive("PresignedUrlResponse", &body);
    }

    fn grant(&mut self, n: u128) {
        let headers = json!({"x-amz-tagging": "a=b"});
        self.receive_url(&id(n), "https://bucket.example/k?sig=5ec2e7", &headers);
    }

    fn store(&mut self, n: u128, outcome: UploadOutcome) {
        self.attachments.handle_upload(&id(n), outcome, self.now);
    }

    fn confirm(&mut self, n: u128) {
        let body =
            json!({"attachmentId": id(n).as_str(), "downloadUrl": "https://bucket.example/d?sig=5ec2e7"});
        self.receive("UploadSuccessEvent", &body);
    }

    fn confirm_deletion(&mut self, n: u128) {
        self.receive(
            "AttachmentDeletedResponse",
            &json!({"attachmentId": id(n).as_str()}),
        );
    }

    fn refuse(&mut self, n: u128, code: i64, text: &str) -> bool {
        self.attachments.handle_refused(&id(n), code, text)
    }

    fn attach_to(&mut self, numbers: &[u128]) -> Result<(), SendError> {
        let ids: Vec<_> = numbers
            .iter()
            .map(|n| OwnedText::from(id(*n).to_string()))
            .collect();
        self.attachments.attach_to(message(), &ids)
    }

    fn advance_to(&mut self, n: u128, stage: Stage) {
        self.attach(n, 10).unwrap();
        while self.stage(n) != Some(stage) {
            match self.stage(n).unwrap() {
                Stage::Waiting => assert_eq!(self.request().unwrap()["action"], "onAttachment"),
                Stage::Requested => self.grant(n),
                Stage::Uploading => self.store(n, UploadOutcome::Stored),
                Stage::Confirming => self.confirm(n),
                Stage::Uploaded if stage == Stage::Deleting => {
                    self.attachments.delete(&id(n)).unwrap();
                    assert_eq!(self.request().unwrap()["action"], "deleteAttachment");
                }
                Stage::Uploaded => self.attach_to(&[n]).unwrap(),
                beyond => panic!("{beyond} is not on the way to {stage}"),
            }
        }
        self.events();
    }

    fn stage(&self, n: u128) -> Option<Stage> {
        self.attachments.stage(&id(n))
    }

    fn events(&mut self) -> Vec<AttachmentEvent> {
        std::mem::take(&mut self.attachments.events)
    }

    fn failure(&mut self) -> Failure {
        match self.events().pop() {
            Some(
                AttachmentEvent::Failed(_, reason)
                | AttachmentEvent::NoLink(_, reason)
                | AttachmentEvent::NotDeleted(_, reason),
            ) => reason,
            other => panic!("no failure: {other:?}"),
        }
    }

    fn failure_code(&mut self) -> i64 {
        match self.failure() {
            Failure::Refused { code, .. } => code.number(),
            other => panic!("no refusal: {other:?}"),
        }
    }

    fn assert_deleted(&mut self) {
        let events = self.events();
        assert!(matches!(&events[..], [AttachmentEvent::Deleted(_)]), "{events:?}");
    }
}

fn id(n: u128) -> AttachmentId {
    Uuid::from_u128(n).into()
}

fn message() -> MessageId {
    Uuid::from_u128(0xc0ffee).into()
}

#[test]
fn attachment_is_uploaded_and_sent_with_a_message() {
    let mut harness = Harness::new();
    harness.attach(1, 424).unwrap();
    let request = harness.request().unwrap();
    assert_eq!(request["attachmentId"], id(1).as_str());
    assert_eq!(
        (&request["fileName"], &request["fileType"], &request["fileSize"]),
        (&json!("cat.png"), &json!("image/png"), &json!(424))
    );
    assert_eq!(harness.request(), None);
    harness.grant(1);
    let upload = harness.attachments.poll_upload().unwrap().upload;
    let request = upload.request(upload.host());
    assert_eq!(request.headers()["x-amz-tagging"], "a=b");
    assert_eq!(request.headers()["content-type"], "image/png");
    assert_eq!(request.body().len(), 424);
    harness.store(1, UploadOutcome::Stored);
    assert!(harness.events().is_empty(), "a stored file is not confirmed yet");
    assert_eq!(
        harness.attach_to(&[1]),
        Err(SendError::NotUploaded {
            id: id(1),
            stage: Stage::Confirming
        })
    );
    harness.confirm(1);
    assert!(matches!(
        &harness.events()[..],
        [AttachmentEvent::Uploaded(_, Some(_))]
    ));
    harness.attach_to(&[1]).unwrap();
    harness.attachments.handle_delivered(message());
    assert!(matches!(&harness.events()[..], [AttachmentEvent::Sent(_, sent)] if *sent == message()));
    assert_eq!(harness.stage(1), None);
    assert_eq!(harness.attachments.poll_timeout(), None);
}

#[test]
fn confirmation_may_precede_the_answer_of_the_storage() {
    let mut harness = Harness::with(Stage::Uploading);
    harness.confirm(1);
    harness.store(1, UploadOutcome::Unanswered);
    harness.confirm(1);
    assert_eq!(harness.stage(1), Some(Stage::Uploaded));
    assert_eq!(harness.events().len(), 1);
}

#[test]
fn attach_is_refused_before_the_session_is_configured() {
    let mut attachments = Attachments::default();
    let file = File::new("a.png", Bytes::from_static(b"a"));
    assert_eq!(attachments.attach(id(1), file), Err(AttachError::NotReady));
}

#[test]
fn attach_is_refused_above_5_uploads_or_50_mebibytes() {
    let mut harness = Harness::new();
    for n in 0..5 {
        harness.attach(n, 1).unwrap();
    }
    assert!(matches!(
        harness.attach(5, 1),
        Err(AttachError::Busy { count: 5, .. })
    ));
    let mut harness = Harness::new();
    harness
        .attachments
        .handle_rules(Rules::new(["*/*"], Some(102_400), []));
    harness.attach(0, 30 << 20).unwrap();
    assert!(matches!(
        harness.attach(1, 21 << 20),
        Err(AttachError::Busy { .. })
    ));
    harness.attach(1, 20 << 20).unwrap();
}

#[test]
fn attach_is_refused_above_32_attachments() {
    let mut harness = Harness::new();
    for n in 0..32 {
        harness.advance_to(n, Stage::Uploaded);
    }
    assert_eq!(harness.attach(32, 1), Err(AttachError::TooMany { count: 32 }));
    assert_eq!(harness.attach(0, 1), Err(AttachError::Known));
    harness.attachments.delete(&id(0)).unwrap();
    harness.confirm_deletion(0);
    harness.attach(32, 1).unwrap();
}

#[test]
fn lost_connection_fails_uploads_and_keeps_the_rest() {
    for stage in IN_FLIGHT {
        let mut harness = Harness::with(stage);
        harness.attachments.handle_disconnected();
        assert_eq!(harness.failure(), Failure::ConnectionLost { stage });
        assert_eq!(harness.stage(1), None);
        harness.grant(1);
        harness.store(1, UploadOutcome::Stored);
        harness.confirm(1);
        assert!(harness.events().is_empty(), "a late answer changes nothing");
    }
    for stage in [Stage::Waiting, Stage::Uploaded, Stage::Sending] {
        let mut harness = Harness::with(stage);
        harness.attachments.handle_disconnected();
        assert_eq!(harness.stage(1), Some(stage));
    }
    let mut harness = Harness::with(Stage::Deleting);
    harness.attachments.handle_disconnected();
    assert_eq!(harness.request().unwrap()["action"], "deleteAttachment");
}

#[test]
fn new_session_fails_all_attachments() {
    let mut harness = Harness::with(Stage::Uploaded);
    harness.attach(2, 1).unwrap();
    assert!(harness.attachments.refresh(id(3)));
    harness.attachments.handle_session_ended();
    assert_eq!(harness.events().len(), 3);
    assert_eq!(
        (harness.request(), harness.stage(1), harness.stage(2)),
        (None, None, None)
    );
}

#[test]
fn stage_has_its_timeout() {
    for (stage, seconds) in [
        (Stage::Requested, 30),
        (Stage::Uploading, 120),
        (Stage::Confirming, 60),
        (Stage::Deleting, 30),
    ] {
        let mut harness = Harness::with(stage);
        let due = harness.now + Duration::from_secs(seconds);
        assert_eq!(harness.attachments.poll_timeout(), Some(due));
        harness.attachments.handle_timeout(due - Duration::from_millis(1));
        assert!(harness.events().is_empty());
        harness.attachments.handle_timeout(due);
        assert_eq!(harness.failure(), Failure::TimedOut { stage });
        let left = (stage == Stage::Deleting).then_some(Stage::Uploaded);
        assert_eq!(
            harness.stage(1),
            left,
            "an attachment that was not deleted can be sent"
        );
    }
}

#[test]
fn refusal_keeps_the_code_of_the_service() {
    for stage in IN_FLIGHT {
        for code in [4000, 4001, 4002, 4003, 4004, 4005, 4008, 4009, 4010, 4102] {
            let mut harness = Harness::with(stage);
            assert!(harness.refuse(1, code, "text"));
            let failure = harness.failure();
            assert!(!failure.to_string().contains("text"), "{failure}");
            assert!(matches!(failure, Failure::Refused { code: known, .. } if known == ErrorCode::new(code)));
        }
    }
    let mut harness = Harness::with(Stage::Requested);
    assert!(!harness.refuse(2, 4001, "of another"));
    assert!(harness.refuse(1, 4999, "newer than this version"));
    let failure = harness.failure().to_string();
    assert!(failure.contains("newer than this version (4999)"), "{failure}");
}

#[test]
fn request_above_the_rate_limit_is_repeated_3_times() {
    let mut harness = Harness::new();
    harness.attach(1, 1).unwrap();
    for _ in 0..3 {
        assert!(harness.request().is_some());
        assert!(harness.refuse(1, 429, "slowly"));
        assert_eq!(harness.stage(1), Some(Stage::Waiting));
    }
    assert!(harness.request().is_some());
    harness.refuse(1, 4029, "slowly");
    assert_eq!(harness.failure_code(), 4029);
}

#[test]
fn storage_may_refuse_the_upload() {
    for (outcome, status) in [
        (UploadOutcome::Refused { status: 403 }, Some(403)),
        (UploadOutcome::Unanswered, None),
    ] {
        let mut harness = Harness::with(Stage::Uploading);
        harness.store(1, outcome);
        assert_eq!(harness.failure(), Failure::Storage { status });
    }
}

#[test]
fn invalid_upload_url_fails_the_attachment() {
    let mut harness = Harness::with(Stage::Requested);
    harness.receive_url(&id(1), "http://bucket.example/plain?sig=5ec2e7", &json!({}));
    let failure = harness.failure();
    assert!(matches!(failure, Failure::UploadUrl(_)));
    assert!(!failure.to_string().contains("5ec2e7"));
}

#[test]
fn attachment_can_be_deleted_before_it_is_sent() {
    let mut harness = Harness::new();
    for stage in [Stage::Waiting].into_iter().chain(IN_FLIGHT) {
        harness.advance_to(1, stage);
        harness.attachments.delete(&id(1)).unwrap();
        harness.assert_deleted();
        assert_eq!(harness.request(), None, "{stage}");
    }
    harness.advance_to(1, Stage::Deleting);
    harness.attachments.delete(&id(1)).unwrap();
    assert_eq!(harness.request(), None, "requested once");
    harness.confirm_deletion(1);
    harness.assert_deleted();
    assert_eq!(harness.attachments.delete(&id(1)), Err(DeleteError::Unknown));
    harness.advance_to(1, Stage::Sending);
    assert_eq!(harness.attachments.delete(&id(1)), Err(DeleteError::Sending));
}

#[test]
fn refused_deletion_leaves_the_attachment_uploaded() {
    let mut harness = Harness::with(Stage::Deleting);
    harness.refuse(1, 500, "trouble");
    assert!(matches!(&harness.events()[..], [AttachmentEvent::NotDeleted(..)]));
    assert_eq!(harness.stage(1), Some(Stage::Uploaded));
    harness.attachments.delete(&id(1)).unwrap();
    harness.request();
    harness.refuse(1, 4009, "not found");
    harness.assert_deleted();
}

#[test]
fn message_takes_all_its_attachments_or_none() {
    let mut harness = Harness::with(Stage::Uploaded);
    harness.advance_to(2, Stage::Uploaded);
    let id = id(3).to_string();
    assert_eq!(
        harness.attach_to(&[1, 3]),
        Err(SendError::UnknownAttachment { id })
    );
    assert_eq!(harness.stage(1), Some(Stage::Uploaded));
    harness.attach_to(&[1, 2]).unwrap();
    harness.attachments.handle_not_delivered(message(), Some(4011));
    assert_eq!(harness.stage(1), Some(Stage::Uploaded), "the text was too long");
    harness.attach_to(&[1]).unwrap();
    harness.attachments.handle_not_delivered(message(), Some(4008));
    assert_eq!(harness.failure_code(), 4008);
    assert_eq!(
        (harness.stage(1), harness.stage(2)),
        (None, Some(Stage::Uploaded))
    );
}

#[test]
fn expired_link_is_requested_again() {
    let mut harness = Harness::with(Stage::Confirming);
    harness.confirm(1);
    let Some(AttachmentEvent::Uploaded(_, Some(link))) = harness.events().pop() else {
        panic!("no link");
    };
    assert!(link.url(harness.now + Duration::from_secs(539)).is_some());
    assert!(link.url(harness.now + Duration::from_secs(540)).is_none());
    assert!(!format!("{link:?}").contains("5ec2e7"));
    // the id of an agent's attachment need not be a UUID
    for name in [id(1), "5befde6373a23f32f20b59b4e1cba0e6".parse().unwrap()] {
        assert!(harness.attachments.refresh(name.clone()) && harness.attachments.refresh(name.clone()));
        assert_eq!(harness.request().unwrap()["attachmentId"], name.as_str());
        assert_eq!(harness.request(), None, "requested once");
        let url = "https://bucket.example/new";
        harness.receive_url(&name, url, &json!({"x": "y"}));
        assert!(harness.events().is_empty(), "an upload URL is no link");
        harness.receive_url(&name, url, &json!({}));
        match harness.events().pop() {
            Some(AttachmentEvent::Link(id, link)) => {
                assert_eq!(id, name);
                assert_eq!(link.url(harness.now).unwrap().expose_secret(), url);
            }
            other => panic!("no link: {other:?}"),
        }
    }
}

#[test]
fn link_may_be_refused_lost_or_late() {
    let mut harness = Harness::new();
    let request = |harness: &mut Harness| {
        assert!(harness.attachments.refresh(id(1)));
        assert!(harness.request().is_some());
    };
    request(&mut harness);
    assert!(harness.refuse(1, 4009, ""));
    assert_eq!(harness.failure_code(), 4009);
    request(&mut harness);
    assert!(harness.refuse(1, 429, ""));
    assert!(!harness.refuse(1, 429, ""), "answered once");
    assert!(harness.request().is_some(), "requested again");
    harness.attachments.handle_disconnected();
    let stage = Stage::Refreshing;
    assert_eq!(harness.failure(), Failure::ConnectionLost { stage });
    request(&mut harness);
    let due = harness.attachments.poll_timeout().unwrap();
    harness.attachments.handle_timeout(due);
    assert_eq!(harness.failure(), Failure::TimedOut { stage });
    for n in 0..16 {
        assert!(harness.attachments.refresh(id(n)));
    }
    assert!(!harness.attachments.refresh(id(16)));
}

#[test]
fn debug_of_attachments_shows_no_secret_and_no_name() {
    let mut harness = Harness::with(Stage::Uploading);
    harness.advance_to(2, Stage::Requested);
    harness.advance_to(3, Stage::Waiting);
    let shown = format!("{:?}", harness.attachments);
    assert!(!shown.contains("5ec2e7") && !shown.contains("cat.png"), "{shown}");
}
