//! Properties of attachments over random files and random events.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::file::extension;
use super::*;

/// Common and hostile file names.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-zé .]{0,12}\\.(png|exe|EXE|txt|opus|tar\\.gz|ﬁ)",
        (1000_usize..1100).prop_map(|length| format!("{}.png", "x".repeat(length))),
    ]
}

fn media_type() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "(image|text|\\*)/(png|plain|\\*)",
        "[a-z]{1,8}/[a-z.+-]{1,12}(; charset=utf-8)?",
    ]
}

fn rules() -> impl Strategy<Value = (Vec<String>, Option<u64>, Vec<String>)> {
    (
        proptest::collection::vec(media_type(), 0..4),
        any::<Option<u64>>(),
        proptest::collection::vec(prop_oneof![any::<String>(), "\\.?(exe|EXE|png)"], 0..4),
    )
}

fn strs(texts: &[String]) -> impl Iterator<Item = &str> {
    texts.iter().map(String::as_str)
}

fn is_one_line(error: &dyn std::error::Error) -> bool {
    let text = error.to_string();
    !text.is_empty() && !text.ends_with('.') && !text.contains(char::is_control)
}

proptest! {
    #[test]
    fn rules_take_a_file_only_if_each_allows_it(
        (media, largest_kb, blocked) in rules(),
        name in name(),
        given in proptest::option::of(media_type()),
        size in 0_usize..5000,
    ) {
        let rules = Rules::new(strs(&media), largest_kb, strs(&blocked));
        let body = Bytes::from(vec![0; size]);
        let file = match &given {
            Some(given) => File::with_media_type(&name, given, body),
            None => File::new(&name, body),
        };
        match rules.check(&file.name, &file.media_type, Some(file.body.len() as u64)) {
            Ok(()) => {
                prop_assert!(!media.is_empty() && size > 0 && name.chars().count() < 1024);
                prop_assert!(size as u64 <= largest_kb.unwrap_or(10_240).saturating_mul(1024));
                let extension = extension(&file.name).unwrap().to_lowercase();
                prop_assert!(!extension.is_empty());
                let dotted = format!(".{extension}");
                prop_assert!(!strs(&blocked).any(|entry| entry.to_lowercase() == dotted));
                prop_assert!(file.media_type.contains('/'));
            }
            Err(error) => prop_assert!(is_one_line(&error), "{error}"),
        }
    }

    #[test]
    fn attachment_id_displays_the_parsed_text(text in any::<String>()) {
        if let Ok(id) = text.parse::<AttachmentId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn attachment_ends_exactly_once(steps in proptest::collection::vec(step(), 0..150)) {
        let mut world = World { harness: Harness::new(), taken: BTreeMap::new(), latest: [0; 8] };
        for step in steps {
            world.step(step)?;
        }
        world.harness.attachments.handle_session_ended();
        world.read_events()?;
        for (id, ends) in world.taken {
            prop_assert_eq!(ends, 1, "{}", id);
        }
        prop_assert_eq!(world.harness.attachments.poll_timeout(), None);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Accepted(u8),
    Attach(u8, usize),
    AttachTo(u8, u8),
    Delete(u8),
    Deleted(u8),
    Disconnected,
    UploadUrl(u8, bool),
    NotAccepted(u8, Option<i64>),
    FileUpload(u8, u16),
    Refresh(u8),
    Refused(u8, i64),
    Success(u8),
    Wait(u64),
}

/// Few ids, so that events concern the same attachment.
fn step() -> impl Strategy<Value = Step> {
    let id = || 0_u8..8;
    let code = || prop_oneof![Just(429_i64), Just(4029), 4000_i64..4011, any::<i64>()];
    prop_oneof![
        2 => id().prop_map(Step::Accepted),
        4 => (id(), 1_usize..3000).prop_map(|(id, size)| Step::Attach(id, size)),
        3 => (id(), id()).prop_map(|(id, other)| Step::AttachTo(id, other)),
        2 => id().prop_map(Step::Delete),
        2 => id().prop_map(Step::Deleted),
        1 => Just(Step::Disconnected),
        6 => (id(), any::<bool>()).prop_map(|(id, link)| Step::UploadUrl(id, link)),
        1 => (id(), proptest::option::of(code())).prop_map(|(id, code)| Step::NotAccepted(id, code)),
        6 => (id(), prop_oneof![Just(200_u16), any::<u16>()]).prop_map(|(id, status)| Step::FileUpload(id, status)),
        1 => id().prop_map(Step::Refresh),
        2 => (id(), code()).prop_map(|(id, code)| Step::Refused(id, code)),
        6 => id().prop_map(Step::Success),
        2 => (0_u64..100).prop_map(Step::Wait),
    ]
}

struct World {
    harness: Harness,
    /// Attached files, each with the number of its ends.
    taken: BTreeMap<AttachmentId, u32>,
    /// Latest id of each small number.
    latest: [u128; 8],
}

impl World {
    fn number(&self, n: u8) -> u128 {
        self.latest[usize::from(n)] * 8 + u128::from(n)
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let message = |n: u8| MessageId::from(Uuid::from_u128(n.into()));
        match step {
            Step::Accepted(n) => self.harness.attachments.handle_delivered(message(n)),
            Step::Attach(n, size) => {
                self.latest[usize::from(n)] += 1;
                let number = self.number(n);
                if self.harness.attach(number, size).is_ok() {
                    self.taken.insert(id(number), 0);
                }
            }
            Step::AttachTo(n, other) => {
                let ids = [self.number(n), self.number(other)].map(|n| OwnedText::from(id(n).to_string()));
                let _ = self.harness.attachments.attach_to(message(n), &ids);
            }
            Step::Delete(n) => {
                let _ = self.harness.attachments.delete(&id(self.number(n)));
            }
            Step::Deleted(n) => self.harness.confirm_deletion(self.number(n)),
            Step::Disconnected => self.harness.attachments.handle_disconnected(),
            Step::UploadUrl(n, link) => {
                let headers = if link {
                    json!({})
                } else {
                    json!({"x-amz-tagging": "a=b"})
                };
                let url = "https://bucket.example/k?sig=5ec2e7";
                self.harness.receive_url(&id(self.number(n)), url, &headers);
            }
            Step::NotAccepted(n, code) => {
                self.harness.attachments.handle_not_delivered(message(n), code);
            }
            Step::FileUpload(n, status) => {
                let outcome = match status {
                    200..300 => UploadOutcome::Stored,
                    300..600 => UploadOutcome::Refused { status },
                    _ => UploadOutcome::Unanswered,
                };
                self.harness.store(self.number(n), outcome);
            }
            Step::Refresh(n) => {
                let _ = self.harness.attachments.refresh(id(self.number(n)));
            }
            Step::Refused(n, code) => {
                self.harness.refuse(self.number(n), code, "no");
            }
            Step::Success(n) => self.harness.confirm(self.number(n)),
            Step::Wait(seconds) => {
                self.harness.now += Duration::from_secs(seconds);
                let now = self.harness.now;
                self.harness.attachments.handle_timeout(now);
                let next = self.harness.attachments.poll_timeout();
                prop_assert!(next.is_none_or(|at| at > now), "a deadline was left");
            }
        }
        self.run_commands()?;
        self.read_events()
    }

    #[expect(clippy::unwrap_in_result, reason = "a request names its attachment")]
    fn run_commands(&mut self) -> Result<(), TestCaseError> {
        let mut requests = 0;
        while let Some(request) = self.harness.request() {
            requests += 1;
            prop_assert!(requests <= 48, "requests never end: {request}");
            if request["action"] == "onAttachment" {
                let id = request["attachmentId"]
                    .as_str()
                    .expect("an id")
                    .parse()
                    .expect("an id");
                prop_assert_eq!(self.harness.attachments.stage(&id), Some(Stage::Requested));
            }
        }
        while let Some(upload) = self.harness.attachments.poll_upload() {
            prop_assert_eq!(self.harness.attachments.stage(&upload.id), Some(Stage::Uploading));
        }
        Ok(())
    }

    fn read_events(&mut self) -> Result<(), TestCaseError> {
        for event in self.harness.events() {
            let shown = format!("{event:?}");
            prop_assert!(!shown.contains("5ec2e7"));
            if let AttachmentEvent::Deleted(id)
            | AttachmentEvent::Failed(id, _)
            | AttachmentEvent::Sent(id, _) = &event
            {
                prop_assert_eq!(self.harness.attachments.stage(id), None);
                *self.taken.get_mut(id).unwrap() += 1;
            }
        }
        Ok(())
    }
}

#[test]
fn attachment_errors_are_small_and_one_line() {
    fn check<E: std::error::Error + Send + Sync + 'static>(errors: &[E]) {
        assert!(size_of::<E>() <= 64, "{}", std::any::type_name::<E>());
        for error in errors {
            assert!(is_one_line(error), "{error}");
        }
    }
    let id = AttachmentId::from(Uuid::nil());
    let stage = Stage::Confirming;
    check(&[
        AttachError::Busy { count: 5, bytes: 1 },
        AttachError::Empty,
        AttachError::Known,
        AttachError::Name,
        AttachError::NoExtension,
        AttachError::NotReady,
        AttachError::Off,
        AttachError::TooMany { count: 32 },
    ]);
    check(&[AttachmentIdError]);
    check(&[
        SendError::UnknownAttachment { id: id.to_string() },
        SendError::NotUploaded { id, stage },
    ]);
    check(&[DeleteError::Sending, DeleteError::Unknown]);
    check(&[
        Failure::ConnectionLost { stage },
        Failure::SessionEnded,
        Failure::Storage { status: Some(403) },
        Failure::Storage { status: None },
        Failure::TimedOut { stage },
    ]);
    for code in (4000..4011).chain([4102, 5000, i64::MIN]) {
        let mut harness = Harness::with(Stage::Requested);
        harness.refuse(1, code, "a\nb");
        check(&[harness.failure()]);
    }
}
