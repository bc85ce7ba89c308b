//! Every fault, on a virtual clock.

use super::*;
use crate::Reason;

const SECOND: Duration = Duration::from_secs(1);

/// An output for a socket, with the length of a hang.
#[derive(Debug, PartialEq)]
enum Observed {
    Closed(u16),
    Dropped,
    Frame(Value),
    Hung(Option<Duration>),
}

fn harness(fault: &str) -> (Harness, SocketId) {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    harness.inject(fault);
    (harness, socket)
}

impl Harness {
    fn inject(&mut self, fault: &str) {
        let faults = &mut self.cloud.active_faults;
        faults.add(fault.parse().unwrap(), None).unwrap();
    }

    fn send_texts(&mut self, socket: SocketId, words: &[&str]) {
        for word in words {
            self.send_frame(socket, text(word));
        }
    }

    fn observed(&mut self, socket: SocketId) -> Vec<Observed> {
        std::iter::from_fn(|| self.cloud.poll_output())
            .filter(|output| output.socket() == Some(socket))
            .map(|output| match output {
                Output::Close { code, .. } => Observed::Closed(code),
                Output::Drop { .. } => Observed::Dropped,
                Output::Frame { text, .. } => Observed::Frame(serde_json::from_str(&text).unwrap()),
                Output::Hang { until, .. } => Observed::Hung(until.map(|until| until - self.now.instant)),
                Output::Advance(_) => panic!("the clock is no socket"),
            })
            .collect()
    }

    fn count(&self, kind: &str) -> u64 {
        self.cloud.counters().faults[kind]
    }
}

/// The texts of frames, or else their class.
fn summaries(received: &[Observed]) -> Vec<String> {
    received
        .iter()
        .map(|received| match received {
            Observed::Frame(frame) => match frame["body"]["text"].as_str() {
                Some(text) => text.to_owned(),
                None => frame["class"].as_str().unwrap().to_owned(),
            },
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn drop_closes_a_socket_with_or_without_a_close_frame() {
    for (fault, received) in [
        ("drop@2", Observed::Closed(1001)),
        ("drop:1011@2", Observed::Closed(1011)),
        ("drop:abrupt@2", Observed::Dropped),
    ] {
        let (mut harness, socket) = harness(fault);
        harness.send_texts(socket, &["one", "two", "three"]);
        let observed = harness.observed(socket);
        assert_eq!(summaries(&observed[..1]), ["one"], "{fault}");
        assert_eq!(observed[1..], [received], "{fault}");
        assert_eq!(harness.count("drop"), 1);
        assert_eq!(harness.cloud.counters().open, 0);
        assert_eq!(
            harness.cloud.counters().guest_messages,
            3,
            "the cloud had read all of them"
        );

        let again = harness.guest();
        harness.send_texts(again, &["four"]);
        assert_eq!(
            summaries(&harness.observed(again)),
            ["four"],
            "and the session remains"
        );
    }
}

#[test]
fn inbound_drop_loses_the_frame() {
    let (mut harness, socket) = harness("drop:abrupt@in2");
    harness.send_texts(socket, &["one", "two"]);
    let observed = harness.observed(socket);
    assert_eq!(summaries(&observed), ["one", "Dropped"]);
    assert_eq!(harness.cloud.counters().guest_messages, 1);
}

#[test]
fn hang_ends_and_nothing_is_lost() {
    let (mut harness, socket) = harness("hang:10s");
    harness.send_texts(socket, &["one"]);
    assert_eq!(harness.observed(socket), [Observed::Hung(Some(10 * SECOND))]);
    harness.send_texts(socket, &["two"]);
    assert_eq!(
        harness.cloud.counters().guest_messages,
        1,
        "the second is not read yet"
    );
    harness.advance(9 * SECOND);
    assert_eq!(harness.observed(socket), []);
    assert_eq!(
        harness.cloud.poll_timeout(),
        Some((harness.now.instant + SECOND, Reason::Release))
    );
    harness.advance(SECOND);
    assert_eq!(summaries(&harness.observed(socket)), ["one", "two"]);
}

#[test]
fn hang_without_end_is_cut_when_the_session_evicts_the_socket() {
    let (mut harness, socket) = harness("hang");
    harness.send_texts(socket, &["one", "two"]);
    assert_eq!(harness.observed(socket), [Observed::Hung(None)]);
    harness.advance(Duration::from_secs(86_400));
    assert_eq!(harness.observed(socket), []);
    for _ in 0..3 {
        let other = harness.connect();
        harness.send_frame(other, configure());
    }
    assert_eq!(harness.observed(socket), [Observed::Dropped]);
    assert_eq!(harness.cloud.counters().evicted, 1);
    assert!(harness.cloud.delayed.is_empty(), "nothing is kept for it");
}

#[test]
fn hung_socket_has_a_bounded_queue() {
    let (mut harness, socket) = harness("hang:1h");
    for _ in 0..300 {
        harness.send_frame(socket, text("again"));
    }
    assert_eq!(
        harness.observed(socket),
        [Observed::Hung(Some(3_600 * SECOND)), Observed::Dropped]
    );
}

#[test]
fn delay_also_delays_the_frames_behind_it() {
    let (mut harness, socket) = harness("delay:2s");
    harness.send_texts(socket, &["one", "two"]);
    assert_eq!(harness.observed(socket), []);
    harness.advance(2 * SECOND);
    assert_eq!(summaries(&harness.observed(socket)), ["one", "two"]);
    harness.send_texts(socket, &["three"]);
    assert_eq!(summaries(&harness.observed(socket)), ["three"]);
    assert_eq!(harness.count("delay"), 1);
}

#[test]
fn close_waits_for_delayed_frames_except_at_shutdown() {
    let (mut harness, socket) = harness("delay:2s");
    harness.send_texts(socket, &["one"]);
    harness.send_frame(socket, presence("Clear"));
    assert_eq!(harness.observed(socket), []);
    harness.advance(2 * SECOND);
    let received = summaries(&harness.observed(socket));
    assert_eq!(
        received,
        [
            "one",
            "StructuredMessage",
            "SessionClearedEvent",
            "ConnectionClosedEvent",
            "Closed(1000)"
        ]
    );

    let mut harness = Harness::quiet();
    let socket = harness.guest();
    harness.inject("delay:1h");
    harness.send_texts(socket, &["one"]);
    harness.cloud.handle_shutdown();
    assert_eq!(harness.observed(socket), [Observed::Closed(1001)]);
}

#[test]
fn reorder_swaps_two_frames_or_delays_one_by_a_second() {
    let (mut harness, socket) = harness("reorder:x2");
    harness.send_texts(socket, &["one", "two", "three"]);
    assert_eq!(
        summaries(&harness.observed(socket)),
        ["two", "one", "three"],
        "only one frame waits at a time"
    );
    harness.inject("reorder");
    harness.send_texts(socket, &["four"]);
    assert_eq!(harness.observed(socket), []);
    harness.advance(SECOND);
    assert_eq!(summaries(&harness.observed(socket)), ["four"]);
}

#[test]
fn frame_faults_duplicate_fragment_and_extend_frames() {
    let (mut harness, socket) = harness("duplicate");
    harness.send_texts(socket, &["one"]);
    let twice = harness.observed(socket);
    assert_eq!(twice[0], twice[1]);
    assert_eq!(summaries(&twice), ["one", "one"]);

    harness.inject("unknown-class");
    harness.send_texts(socket, &["two"]);
    assert_eq!(
        summaries(&harness.observed(socket)),
        ["SimulatedUnknownEvent", "two"]
    );

    harness.inject("unknown-fields");
    harness.send_texts(socket, &["three"]);
    let Some(Observed::Frame(frame)) = harness.observed(socket).pop() else {
        panic!("there is a frame")
    };
    assert_eq!(frame["body"]["text"], "three");
    assert!(frame["simulatedField"].is_object() && frame["body"]["channel"]["simulatedField"].is_object());

    harness.inject("fragment:3");
    harness.send_texts(socket, &["four"]);
    assert!(matches!(
        harness.cloud.poll_output(),
        Some(Output::Frame { fragments: 3, .. })
    ));
}

#[test]
fn throttle_refuses_the_given_number_of_frames() {
    let (mut harness, socket) = harness("throttle:9s:x2");
    for _ in 0..2 {
        let frame = harness.ask(socket, text("one"));
        assert_eq!((code(&frame), &frame["body"]["retryAfter"]), (429, &json!(9)));
        assert_eq!(
            (&frame["body"]["errorCode"], &frame["tracingId"]),
            (&json!(4029), &json!("t-1"))
        );
    }
    assert_eq!(code(&harness.ask(socket, text("one"))), 200);
    harness.inject("throttle");
    let frame = harness.ask(socket, configure());
    assert_eq!(
        (&frame["body"]["errorCode"], &frame["body"]["retryAfter"]),
        (&json!(429), &json!(3))
    );
    assert_eq!(harness.cloud.counters().rate_limited, 3);
}

#[test]
fn evict_closes_the_socket_and_clock_moves_the_clock() {
    let (mut harness, socket) = harness("evict");
    harness.send_texts(socket, &["one"]);
    assert_eq!(
        summaries(&harness.observed(socket)),
        ["one", "ConnectionClosedEvent", "Closed(1000)"]
    );

    let socket = harness.guest();
    harness.inject("clock:+14m@in1");
    harness.send_texts(socket, &["two"]);
    let outputs: Vec<_> = std::iter::from_fn(|| harness.cloud.poll_output()).collect();
    assert!(outputs.contains(&Output::Advance(840 * SECOND)));
}

#[test]
fn clock_fault_stops_at_the_year_9000() {
    let (mut harness, socket) = harness("clock:+3650d:always@in1");
    for _ in 0..1_000 {
        harness.send_frame(socket, json!({"action": "echo", "token": TOKEN}));
        while let Some(output) = harness.cloud.poll_output() {
            if let Output::Advance(by) = output {
                harness.now.instant += by;
                harness.now.utc += by;
            }
        }
    }
    assert!(
        (8_990..=9_000).contains(&harness.now.utc.year()),
        "{}",
        harness.now.utc
    );
    assert!(harness.cloud.counters().faults.values().sum::<u64>() >= 1_000);
}

#[test]
fn evict_always_terminates() {
    let (mut harness, socket) = harness("evict:always");
    harness.send_texts(socket, &["one"]);
    assert_eq!(harness.observed(socket).len(), 3);
}

#[test]
fn handshake_faults_delay_or_refuse() {
    let mut harness = Harness::quiet();
    harness.inject("slow-handshake:3s");
    let socket = harness.connect();
    assert_eq!(
        harness.cloud.handshake_due(socket),
        Some(harness.now.instant + 3 * SECOND)
    );
    let socket = harness.connect();
    assert_eq!(harness.cloud.handshake_due(socket), None);
    for (fault, status) in [("refuse-handshake", 403), ("refuse-handshake:503", 503)] {
        harness.inject(fault);
        assert_eq!(harness.handshake(DEPLOYMENT, None).unwrap_err().status(), status);
    }
    assert_eq!(harness.cloud.counters().refused, 2);
    harness.connect();
}

#[test]
fn rest_faults_refuse_requests_except_control_endpoints() {
    let (mut harness, socket) = harness("rest:503:/api:x2");
    let jwt = harness.jwt(socket);
    assert_eq!(get(&mut harness.cloud, "/sim/state", harness.now).0.status(), 200);
    let config = format!("/webdeployments/v1/deployments/{DEPLOYMENT}/config.json");
    assert_eq!(get(&mut harness.cloud, &config, harness.now).0.status(), 200);
    for _ in 0..2 {
        let (status, body) = harness.history(&jwt, "");
        assert_eq!((status, &body["code"]), (503, &json!("service.unavailable")));
    }
    assert_eq!(harness.history(&jwt, "").0, 200);
    for (fault, code) in [
        ("rest:401", "bad.credentials"),
        ("rest:403", "not.authorized"),
        ("rest:429", "too.many.requests"),
        ("rest:500", "internal.server.error"),
        ("rest:504", "request.timeout"),
        ("expired-jwt", "credentials.expired"),
    ] {
        harness.inject(fault);
        assert_eq!(harness.history(&jwt, "").1["code"], code);
    }
    assert_eq!(harness.history(&jwt, "").0, 200);
}

#[test]
fn fault_of_one_session_does_not_apply_to_others() {
    let mut harness = Harness::quiet();
    let other = "11111111-2222-4333-8444-555555555555";
    for fault in ["drop:always", "rest:503:always"] {
        let faults = &mut harness.cloud.active_faults;
        faults
            .add(fault.parse().unwrap(), Some(other.to_owned()))
            .unwrap();
    }
    let socket = harness.guest();
    harness.send_texts(socket, &["one"]);
    assert_eq!(summaries(&harness.observed(socket)), ["one"]);
    let jwt = harness.jwt(socket);
    assert_eq!(harness.history(&jwt, "").0, 200);

    let victim = harness.connect();
    let mut configure = configure();
    configure["token"] = json!(other);
    harness.send_frame(victim, configure);
    assert_eq!(harness.observed(victim), [Observed::Closed(1001)]);
}

#[test]
fn upload_failure_fails_one_upload() {
    let (mut harness, socket) = harness("upload-failure");
    let mut upload = || {
        let grant = harness.granted(socket, 5);
        assert_eq!(harness.put(&grant, b"12345"), 200);
        summaries(&harness.observed(socket)).remove(0)
    };
    assert_eq!(upload(), "UploadFailureEvent");
    assert_eq!(upload(), "UploadSuccessEvent");
}

#[test]
fn faults_do_not_apply_to_notification_channels() {
    let (mut harness, _) = harness("drop:always");
    let bearer = harness.access_token();
    let channel = harness.channel(&bearer, &json!([]));
    let listener = harness.listen(&channel).unwrap();
    harness.send_frame(listener, json!({"message": "ping"}));
    assert!(matches!(&harness.observed(listener)[..], [Observed::Frame(_)]));
}

#[test]
fn faults_repeat_for_the_same_seed_inputs_and_times() {
    let run = || {
        let mut harness = Harness::new(Rules {
            limits: Limits::none(),
            faults: [
                "delay:700ms~20%",
                "duplicate~20%",
                "reorder~20%",
                "unknown-class~10%",
                "drop~2%",
            ]
            .map(|text| text.parse().unwrap())
            .to_vec(),
            ..rules()
        });
        let mut socket = harness.connect();
        let mut received = Vec::new();
        for step in 0..200 {
            if harness.cloud.counters().open == 0 {
                socket = harness.connect();
            }
            harness.send_frame(socket, configure());
            harness.send_frame(socket, text(&step.to_string()));
            harness.advance(Duration::from_millis(300));
            received.extend(harness.received());
        }
        (received, harness.cloud.counters())
    };
    let (one, other) = (run(), run());
    assert_eq!(one, other);
    let faults = one.1.faults;
    for kind in ["delay", "drop", "duplicate", "reorder"] {
        assert!(faults.contains_key(kind), "{kind}");
    }
}
