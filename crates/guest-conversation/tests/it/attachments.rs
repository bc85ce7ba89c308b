//! The attachments of a session: from the file to the message that carries it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::Call as _;
use guest_conversation::MessageId;
use guest_conversation::attachments::{
    AttachError, AttachToError, AttachmentEvent, AttachmentId, AttachmentRequest, Attachments, DeleteError,
    Failure, File, PresignedUpload, Rules, Stage, UploadOutcome,
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

const MESSAGE: u128 = 0xc0ffee;

struct World {
    attachments: Attachments,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let mut attachments = Attachments::new();
        attachments.handle_rules(Rules::new(["*/*"], Some(10_240), [".exe"]));
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        let now = Instant::now();
        Self { attachments, now }
    }

    fn attach(&mut self, n: u128, size: usize) -> Result<(), AttachError> {
        let file = File::new("cat.png", Bytes::from(vec![7; size]));
        self.attachments.attach(id(n), file)
    }

    fn ask(&mut self) -> Option<AttachmentRequest> {
        self.attachments.poll_request(self.now)
    }

    fn grant(&mut self, n: u128) {
        let grant = PresignedUpload {
            url: SecretString::from("https://bucket.example/k?sig=5ec2e7"),
            headers: vec![("x-amz-tagging", "a=b")],
            file_size: Some(1),
        };
        self.attachments.handle_presigned(&id(n), grant, self.now);
    }

    fn link(&mut self, n: u128, url: &str) {
        let grant = PresignedUpload {
            url: SecretString::from(url),
            headers: Vec::new(),
            file_size: Some(1),
        };
        self.attachments.handle_presigned(&id(n), grant, self.now);
    }

    fn put(&mut self, n: u128, outcome: UploadOutcome) {
        self.attachments.handle_upload(&id(n), outcome, self.now);
    }

    fn succeed(&mut self, n: u128) {
        let url = SecretString::from("https://bucket.example/d?sig=5ec2e7");
        self.attachments.handle_success(&id(n), Some(url), self.now);
    }

    /// Brings an attachment to a stage.
    fn at(&mut self, n: u128, stage: Stage) {
        self.attach(n, 10).unwrap();
        while self.stage(n) != Some(stage) {
            match self.stage(n).unwrap() {
                Stage::Waiting => assert!(self.ask().is_some()),
                Stage::Requested => self.grant(n),
                Stage::Presigned => assert!(self.attachments.poll_upload(self.now).is_some()),
                Stage::Uploading => self.put(n, UploadOutcome::Stored),
                Stage::Confirming => self.succeed(n),
                Stage::Uploaded if stage == Stage::Deleting => {
                    self.attachments.delete(&id(n)).unwrap();
                    assert_eq!(self.ask(), Some(AttachmentRequest::Delete { id: id(n) }));
                }
                Stage::Uploaded => self.attachments.attach_to(message(), &[id(n)]).unwrap(),
                beyond => panic!("{beyond} is not on the way to {stage}"),
            }
        }
        self.notices();
    }

    fn stage(&self, n: u128) -> Option<Stage> {
        self.attachments.stage(&id(n))
    }

    fn notices(&mut self) -> Vec<AttachmentEvent> {
        std::iter::from_fn(|| self.attachments.poll_event()).collect()
    }

    fn failure(&mut self) -> Failure {
        match self.notices().pop() {
            Some(
                AttachmentEvent::Failed { reason, .. }
                | AttachmentEvent::NoLink { reason, .. }
                | AttachmentEvent::NotDeleted { reason, .. },
            ) => reason,
            other => panic!("no failure: {other:?}"),
        }
    }
}

fn id(n: u128) -> AttachmentId {
    Uuid::from_u128(n).into()
}

fn message() -> MessageId {
    Uuid::from_u128(MESSAGE).into()
}

const IN_FLIGHT: [Stage; 4] = [
    Stage::Requested,
    Stage::Presigned,
    Stage::Uploading,
    Stage::Confirming,
];

#[test]
fn a_file_becomes_part_of_a_message() {
    let mut world = World::new();
    world.attach(1, 424).unwrap();
    let Some(AttachmentRequest::Upload {
        id: asked,
        name,
        media_type,
        bytes,
    }) = world.ask()
    else {
        panic!("nothing is asked");
    };
    assert_eq!(
        (asked, &*name, &*media_type, bytes),
        (id(1), "cat.png", "image/png", 424)
    );
    assert_eq!(world.ask(), None);
    world.grant(1);
    let put = world.attachments.poll_upload(world.now).unwrap();
    let request = put.upload.request(put.upload.host());
    assert_eq!(request.headers()["x-amz-tagging"], "a=b");
    assert_eq!(request.headers()["content-type"], "image/png");
    assert_eq!(request.body().len(), 424);
    world.put(1, UploadOutcome::Stored);
    assert!(world.notices().is_empty(), "a stored file is not taken yet");
    assert_eq!(
        world.attachments.attach_to(message(), &[id(1)]),
        Err(AttachToError::NotUploaded {
            id: id(1),
            stage: Stage::Confirming
        })
    );
    world.succeed(1);
    assert!(matches!(
        &world.notices()[..],
        [AttachmentEvent::Uploaded { link: Some(_), .. }]
    ));
    world.attachments.attach_to(message(), &[id(1)]).unwrap();
    world.attachments.handle_accepted(message());
    assert!(
        matches!(&world.notices()[..], [AttachmentEvent::Sent { message: carrier, .. }] if *carrier == message())
    );
    assert_eq!(world.stage(1), None);
    assert_eq!(world.attachments.poll_timeout(), None);
}

#[test]
fn the_event_may_come_before_the_storages_answer() {
    let mut world = World::new();
    world.at(1, Stage::Uploading);
    world.succeed(1);
    world.put(1, UploadOutcome::Unanswered);
    world.succeed(1);
    assert_eq!(world.stage(1), Some(Stage::Uploaded));
    assert_eq!(world.notices().len(), 1);
}

#[test]
fn before_the_session_is_configured_nothing_is_taken() {
    let mut attachments = Attachments::new();
    let file = File::new("a.png", Bytes::from_static(b"a"));
    assert_eq!(attachments.attach(id(1), file), Err(AttachError::NotReady));
}

#[test]
fn five_are_on_their_way_at_once_and_fifty_mebibytes() {
    let mut world = World::new();
    for n in 0..5 {
        world.attach(n, 1).unwrap();
    }
    assert!(matches!(
        world.attach(5, 1),
        Err(AttachError::Busy { count: 5, .. })
    ));
    let mut world = World::new();
    world
        .attachments
        .handle_rules(Rules::new(["*/*"], Some(102_400), []));
    world.attach(0, 30 << 20).unwrap();
    assert!(matches!(world.attach(1, 21 << 20), Err(AttachError::Busy { .. })));
    world.attach(1, 20 << 20).unwrap();
}

#[test]
fn thirty_two_are_held() {
    let mut world = World::new();
    for n in 0..32 {
        world.at(n, Stage::Uploaded);
    }
    assert_eq!(world.attach(32, 1), Err(AttachError::TooMany { count: 32 }));
    assert_eq!(world.attach(0, 1), Err(AttachError::Known));
    world.attachments.delete(&id(0)).unwrap();
    world.attachments.handle_deleted(&id(0));
    world.notices();
    world.attach(32, 1).unwrap();
}

#[test]
fn what_is_in_flight_fails_with_the_connection_and_the_rest_survives() {
    for stage in IN_FLIGHT {
        let mut world = World::new();
        world.at(1, stage);
        world.attachments.handle_disconnected();
        assert_eq!(world.failure(), Failure::ConnectionLost { stage });
        assert_eq!(world.stage(1), None);
        world.grant(1);
        world.put(1, UploadOutcome::Stored);
        world.succeed(1);
        assert!(world.notices().is_empty(), "what comes late changes nothing");
    }
    for stage in [Stage::Waiting, Stage::Uploaded, Stage::Sending] {
        let mut world = World::new();
        world.at(1, stage);
        world.attachments.handle_disconnected();
        assert_eq!(world.stage(1), Some(stage));
    }
    let mut world = World::new();
    world.at(1, Stage::Deleting);
    world.attachments.handle_disconnected();
    assert_eq!(
        world.ask(),
        Some(AttachmentRequest::Delete { id: id(1) }),
        "asked again"
    );
}

#[test]
fn a_new_session_knows_none_of_them() {
    let mut world = World::new();
    world.at(1, Stage::Uploaded);
    world.attach(2, 1).unwrap();
    world.attachments.refresh(id(3)).unwrap();
    world.attachments.handle_new_session();
    assert_eq!(world.notices().len(), 3);
    assert_eq!((world.ask(), world.stage(1), world.stage(2)), (None, None, None));
}

#[test]
fn each_stage_has_its_time() {
    for (stage, seconds) in [
        (Stage::Requested, 30),
        (Stage::Presigned, 120),
        (Stage::Uploading, 120),
        (Stage::Confirming, 60),
        (Stage::Deleting, 30),
    ] {
        let mut world = World::new();
        world.at(1, stage);
        let due = world.now + Duration::from_secs(seconds);
        assert_eq!(world.attachments.poll_timeout(), Some((due, stage)));
        world.attachments.handle_timeout(due - Duration::from_millis(1));
        assert!(world.notices().is_empty());
        world.attachments.handle_timeout(due);
        assert_eq!(world.failure(), Failure::TimedOut { stage });
        let left = (stage == Stage::Deleting).then_some(Stage::Uploaded);
        assert_eq!(world.stage(1), left, "what was not deleted can be sent");
    }
}

#[test]
fn the_services_codes_are_typed() {
    let table = [
        (4000, Failure::Off),
        (4001, Failure::FileType),
        (4002, Failure::FileSize),
        (4003, Failure::Content),
        (4004, Failure::Name),
        (4005, Failure::NameTooLong),
        (4008, Failure::Expired),
        (4009, Failure::NotFound),
        (4010, Failure::NotUploaded),
        (4102, Failure::Empty),
    ];
    for stage in IN_FLIGHT {
        for (code, expected) in &table {
            let mut world = World::new();
            world.at(1, stage);
            assert!(world.attachments.handle_refused(&id(1), *code, "text"));
            assert_eq!(world.failure(), *expected);
        }
    }
    let mut world = World::new();
    world.at(1, Stage::Requested);
    assert!(!world.attachments.handle_refused(&id(2), 4001, "of another"));
    assert!(
        world
            .attachments
            .handle_refused(&id(1), 4999, "newer than this version")
    );
    assert!(
        world
            .failure()
            .to_string()
            .contains("newer than this version (4999)")
    );
}

#[test]
fn what_came_too_soon_is_asked_again_but_not_for_ever() {
    let mut world = World::new();
    world.attach(1, 1).unwrap();
    for _ in 0..3 {
        assert!(world.ask().is_some());
        assert!(world.attachments.handle_refused(&id(1), 429, "slowly"));
        assert_eq!(world.stage(1), Some(Stage::Waiting));
    }
    assert!(world.ask().is_some());
    world.attachments.handle_refused(&id(1), 4029, "slowly");
    assert!(matches!(world.failure(), Failure::Refused(_)));
}

#[test]
fn the_storage_may_refuse() {
    for (outcome, status) in [
        (UploadOutcome::Refused { status: 403 }, Some(403)),
        (UploadOutcome::Unanswered, None),
    ] {
        let mut world = World::new();
        world.at(1, Stage::Uploading);
        world.put(1, outcome);
        assert_eq!(world.failure(), Failure::Storage { status });
    }
}

#[test]
fn a_grant_that_cannot_be_used_fails_the_attachment() {
    let mut world = World::new();
    world.at(1, Stage::Requested);
    world.link(1, "http://bucket.example/plain?sig=5ec2e7");
    let failure = world.failure();
    assert!(matches!(failure, Failure::UploadUrl(_)));
    assert!(!failure.to_string().contains("5ec2e7"));
}

#[test]
fn it_is_deleted_before_it_is_sent_and_not_after() {
    let mut world = World::new();
    for stage in [
        Stage::Waiting,
        Stage::Requested,
        Stage::Presigned,
        Stage::Uploading,
        Stage::Confirming,
    ] {
        world.at(1, stage);
        world.attachments.delete(&id(1)).unwrap();
        assert!(
            matches!(&world.notices()[..], [AttachmentEvent::Deleted { .. }]),
            "{stage}"
        );
        assert_eq!(world.ask(), None, "the service need not know");
    }
    world.at(1, Stage::Deleting);
    world.attachments.delete(&id(1)).unwrap();
    assert_eq!(world.ask(), None, "once is enough");
    world.attachments.handle_deleted(&id(1));
    assert!(matches!(&world.notices()[..], [AttachmentEvent::Deleted { .. }]));
    assert_eq!(world.attachments.delete(&id(1)), Err(DeleteError::Unknown));
    world.at(1, Stage::Sending);
    assert_eq!(world.attachments.delete(&id(1)), Err(DeleteError::Sending));
}

#[test]
fn a_refused_deletion_leaves_it_as_it_was() {
    let mut world = World::new();
    world.at(1, Stage::Deleting);
    world.attachments.handle_refused(&id(1), 500, "trouble");
    assert!(matches!(
        &world.notices()[..],
        [AttachmentEvent::NotDeleted { .. }]
    ));
    assert_eq!(world.stage(1), Some(Stage::Uploaded));
    world.attachments.delete(&id(1)).unwrap();
    world.ask();
    world.attachments.handle_refused(&id(1), 4009, "not found");
    assert!(
        matches!(&world.notices()[..], [AttachmentEvent::Deleted { .. }]),
        "it is gone, which was the wish"
    );
}

#[test]
fn a_message_carries_all_or_none() {
    let mut world = World::new();
    world.at(1, Stage::Uploaded);
    world.at(2, Stage::Uploaded);
    let unknown = world.attachments.attach_to(message(), &[id(1), id(3)]);
    assert_eq!(unknown, Err(AttachToError::Unknown { id: id(3) }));
    assert_eq!(world.stage(1), Some(Stage::Uploaded));
    world.attachments.attach_to(message(), &[id(1), id(2)]).unwrap();
    world.attachments.handle_not_accepted(message(), Some(4011));
    assert_eq!(
        world.stage(1),
        Some(Stage::Uploaded),
        "the text was too long, not the file at fault"
    );
    world.attachments.attach_to(message(), &[id(1)]).unwrap();
    world.attachments.handle_not_accepted(message(), Some(4008));
    assert_eq!(world.failure(), Failure::Expired);
    assert_eq!((world.stage(1), world.stage(2)), (None, Some(Stage::Uploaded)));
}

#[test]
fn an_expired_link_is_noticed_and_renewed() {
    let mut world = World::new();
    world.at(1, Stage::Confirming);
    world.succeed(1);
    let Some(AttachmentEvent::Uploaded { link: Some(link), .. }) = world.notices().pop() else {
        panic!("no link");
    };
    assert!(link.url(world.now + Duration::from_secs(539)).is_some());
    assert!(link.url(world.now + Duration::from_secs(540)).is_none());
    assert!(!format!("{link:?}").contains("5ec2e7"));
    // an agent's attachment is renewed as well, under whatever name the service has for it
    for name in [id(1), "5befde6373a23f32f20b59b4e1cba0e6".parse().unwrap()] {
        world.attachments.refresh(name.clone()).unwrap();
        world.attachments.refresh(name.clone()).unwrap();
        assert_eq!(world.ask(), Some(AttachmentRequest::Refresh { id: name.clone() }));
        assert_eq!(world.ask(), None, "asked for once");
        let grant = |headers| PresignedUpload {
            url: SecretString::from("https://bucket.example/new"),
            headers,
            file_size: Some(1),
        };
        world
            .attachments
            .handle_presigned(&name, grant(vec![("x", "y")]), world.now);
        assert!(world.notices().is_empty(), "that was no link");
        world
            .attachments
            .handle_presigned(&name, grant(Vec::new()), world.now);
        match world.notices().pop() {
            Some(AttachmentEvent::Link { id, link }) => {
                assert_eq!(id, name);
                assert_eq!(
                    link.url(world.now).unwrap().expose_secret(),
                    "https://bucket.example/new"
                );
            }
            other => panic!("no link: {other:?}"),
        }
    }
}

#[test]
fn a_link_may_not_be_had() {
    let mut world = World::new();
    let asked = |world: &mut World| {
        world.attachments.refresh(id(1)).unwrap();
        assert!(world.ask().is_some());
    };
    asked(&mut world);
    assert!(world.attachments.handle_refused(&id(1), 4009, ""));
    assert_eq!(world.failure(), Failure::NotFound);
    asked(&mut world);
    assert!(world.attachments.handle_refused(&id(1), 429, ""));
    assert!(
        !world.attachments.handle_refused(&id(1), 429, ""),
        "answered once"
    );
    assert!(world.ask().is_some(), "asked again");
    world.attachments.handle_disconnected();
    let stage = Stage::Refreshing;
    assert_eq!(world.failure(), Failure::ConnectionLost { stage });
    asked(&mut world);
    let (due, reason) = world.attachments.poll_timeout().unwrap();
    assert_eq!(reason, stage);
    world.attachments.handle_timeout(due);
    assert_eq!(world.failure(), Failure::TimedOut { stage });
    for n in 0..16 {
        world.attachments.refresh(id(n)).unwrap();
    }
    assert!(world.attachments.refresh(id(16)).is_err());
}

#[test]
fn debug_shows_no_secret_and_no_name() {
    let mut world = World::new();
    for (n, stage) in [Stage::Presigned, Stage::Requested, Stage::Waiting]
        .into_iter()
        .enumerate()
    {
        world.at(n as u128, stage);
    }
    let shown = format!("{:?}", world.attachments);
    assert!(!shown.contains("5ec2e7") && !shown.contains("cat.png"), "{shown}");
}
