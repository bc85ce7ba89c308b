//! Laws of attachments: over random files, and over random things that happen.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use guest_conversation::MessageId;
use guest_conversation::attachments::{
    AttachError, AttachToError, AttachmentEvent, AttachmentId, AttachmentIdError, AttachmentRequest,
    Attachments, DeleteError, Failure, File, PresignedUpload, RefreshError, Rules, Stage, UploadOutcome,
};
use proptest::prelude::*;
use secrecy::SecretString;
use uuid::Uuid;

/// Names as people and enemies write them.
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
    fn a_file_is_taken_only_if_every_rule_allows_it(
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
        match rules.check(&file) {
            Ok(()) => {
                prop_assert!(!media.is_empty() && size > 0 && name.chars().count() < 1024);
                prop_assert!(size as u64 <= largest_kb.unwrap_or(10_240).saturating_mul(1024));
                let extension = file.extension().unwrap().to_lowercase();
                prop_assert!(!extension.is_empty());
                let dotted = format!(".{extension}");
                prop_assert!(!strs(&blocked).any(|entry| entry.to_lowercase() == dotted));
                prop_assert!(file.media_type().contains('/'));
            }
            Err(error) => prop_assert!(is_one_line(&error), "{error}"),
        }
    }

    #[test]
    fn an_id_is_what_was_read_or_nothing(text in any::<String>()) {
        if let Ok(id) = text.parse::<AttachmentId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn whatever_happens_each_attachment_has_one_end(steps in proptest::collection::vec(step(), 0..150)) {
        let mut world = World::new();
        for step in steps {
            world.step(step)?;
        }
        world.attachments.handle_new_session();
        world.read_notices()?;
        for (id, ends) in world.taken {
            prop_assert_eq!(ends, 1, "{}", id);
        }
        prop_assert_eq!(world.attachments.poll_timeout(), None);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Accepted(u8),
    Attach(u8, usize),
    Carry(u8, u8),
    Delete(u8),
    Deleted(u8),
    Disconnected,
    PresignedUpload(u8, bool),
    NotAccepted(u8, Option<i64>),
    FileUpload(u8, u16),
    Refresh(u8),
    Refused(u8, i64),
    Success(u8),
    Wait(u64),
}

/// Few ids, so that things meet; often the one that makes progress.
fn step() -> impl Strategy<Value = Step> {
    let id = || 0_u8..8;
    let code = || prop_oneof![Just(429_i64), Just(4029), 4000_i64..4011, any::<i64>()];
    prop_oneof![
        2 => id().prop_map(Step::Accepted),
        4 => (id(), 1_usize..3000).prop_map(|(id, size)| Step::Attach(id, size)),
        3 => (id(), id()).prop_map(|(id, other)| Step::Carry(id, other)),
        2 => id().prop_map(Step::Delete),
        2 => id().prop_map(Step::Deleted),
        1 => Just(Step::Disconnected),
        6 => (id(), any::<bool>()).prop_map(|(id, link)| Step::PresignedUpload(id, link)),
        1 => (id(), proptest::option::of(code())).prop_map(|(id, code)| Step::NotAccepted(id, code)),
        6 => (id(), prop_oneof![Just(200_u16), any::<u16>()]).prop_map(|(id, status)| Step::FileUpload(id, status)),
        1 => id().prop_map(Step::Refresh),
        2 => (id(), code()).prop_map(|(id, code)| Step::Refused(id, code)),
        6 => id().prop_map(Step::Success),
        2 => (0_u64..100).prop_map(Step::Wait),
    ]
}

struct World {
    attachments: Attachments,
    now: Instant,
    /// Files that were taken, each under an id of its own, with how often each came to an end.
    taken: BTreeMap<AttachmentId, u32>,
    /// The latest of each small number.
    latest: [u128; 8],
}

impl World {
    fn new() -> Self {
        let mut attachments = Attachments::new();
        attachments.handle_rules(Rules::new(["*/*"], None, []));
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        let now = Instant::now();
        Self {
            attachments,
            now,
            taken: BTreeMap::new(),
            latest: [0; 8],
        }
    }

    fn id(&self, n: u8) -> AttachmentId {
        Uuid::from_u128(self.latest[usize::from(n)] * 8 + u128::from(n)).into()
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let message = |n: u8| MessageId::from(Uuid::from_u128(n.into()));
        let url = || SecretString::from("https://bucket.example/k?sig=5ec2e7");
        match step {
            Step::Accepted(n) => self.attachments.handle_accepted(message(n)),
            Step::Attach(n, size) => {
                self.latest[usize::from(n)] += 1;
                let id = self.id(n);
                let file = File::new("cat.png", Bytes::from(vec![0; size]));
                if self.attachments.attach(id.clone(), file).is_ok() {
                    self.taken.insert(id, 0);
                }
            }
            Step::Carry(n, other) => {
                let _ = self
                    .attachments
                    .attach_to(message(n), &[self.id(n), self.id(other)]);
            }
            Step::Delete(n) => {
                let _ = self.attachments.delete(&self.id(n));
            }
            Step::Deleted(n) => self.attachments.handle_deleted(&self.id(n)),
            Step::Disconnected => self.attachments.handle_disconnected(),
            Step::PresignedUpload(n, link) => {
                let grant = PresignedUpload {
                    url: url(),
                    headers: if link {
                        Vec::new()
                    } else {
                        vec![("x-amz-tagging", "a=b")]
                    },
                    file_size: Some(1),
                };
                self.attachments.handle_presigned(&self.id(n), grant, self.now);
            }
            Step::NotAccepted(n, code) => self.attachments.handle_not_accepted(message(n), code),
            Step::FileUpload(n, status) => {
                let outcome = match status {
                    200..300 => UploadOutcome::Stored,
                    300..600 => UploadOutcome::Refused { status },
                    _ => UploadOutcome::Unanswered,
                };
                self.attachments.handle_upload(&self.id(n), outcome, self.now);
            }
            Step::Refresh(n) => {
                let _ = self.attachments.refresh(self.id(n));
            }
            Step::Refused(n, code) => {
                self.attachments.handle_refused(&self.id(n), code, "no");
            }
            Step::Success(n) => self
                .attachments
                .handle_success(&self.id(n), Some(url()), self.now),
            Step::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.attachments.handle_timeout(self.now);
                let overdue = self
                    .attachments
                    .poll_timeout()
                    .is_some_and(|(at, _)| at <= self.now);
                prop_assert!(!overdue, "what is due is done");
            }
        }
        self.obey()?;
        self.read_notices()
    }

    fn obey(&mut self) -> Result<(), TestCaseError> {
        let mut asks = 0;
        while let Some(ask) = self.attachments.poll_request(self.now) {
            asks += 1;
            prop_assert!(asks <= 48, "it asks for ever: {ask:?}");
            if let AttachmentRequest::Upload { id, .. } = ask {
                prop_assert_eq!(self.attachments.stage(&id), Some(Stage::Requested));
            }
        }
        while let Some(put) = self.attachments.poll_upload(self.now) {
            prop_assert_eq!(self.attachments.stage(&put.id), Some(Stage::Uploading));
        }
        Ok(())
    }

    fn read_notices(&mut self) -> Result<(), TestCaseError> {
        while let Some(notice) = self.attachments.poll_event() {
            let shown = format!("{notice:?}");
            prop_assert!(!shown.contains("5ec2e7"));
            if let AttachmentEvent::Deleted { id }
            | AttachmentEvent::Failed { id, .. }
            | AttachmentEvent::Sent { id, .. } = &notice
            {
                prop_assert_eq!(self.attachments.stage(id), None);
                *self.taken.get_mut(id).unwrap() += 1;
            }
        }
        Ok(())
    }
}

#[test]
fn errors_are_small_and_say_what_to_do_in_one_line() {
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
        AttachToError::Unknown { id: id.clone() },
        AttachToError::NotUploaded { id, stage },
    ]);
    check(&[DeleteError::Sending, DeleteError::Unknown]);
    check(&[RefreshError { count: 16 }]);
    check(&[
        Failure::ConnectionLost { stage },
        Failure::SessionEnded,
        Failure::Storage { status: Some(403) },
        Failure::Storage { status: None },
        Failure::TimedOut { stage },
    ]);
    let codes = (4000..4011).chain([4102, 5000, i64::MIN]);
    check(&codes.map(|code| Failure::of(code, "a\nb")).collect::<Vec<_>>());
}
