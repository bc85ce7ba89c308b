//! Every fault, by a virtual clock.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// What a socket got; a hang tells how long it will be.
#[derive(Debug, PartialEq)]
enum Got {
    Closed(u16),
    Dropped,
    Frame(Value),
    Hung(Option<Duration>),
}

fn stage(fault: &str) -> (Stage, SocketId) {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    stage.arm(fault);
    (stage, socket)
}

impl Stage {
    fn arm(&mut self, fault: &str) {
        self.world.arm(fault.parse().unwrap(), None).unwrap();
    }

    fn say(&mut self, socket: SocketId, words: &[&str]) {
        for word in words {
            self.tell(socket, text(word));
        }
    }

    fn got(&mut self, socket: SocketId) -> Vec<Got> {
        std::iter::from_fn(|| self.world.poll_output())
            .filter(|output| output.socket() == Some(socket))
            .map(|output| match output {
                Output::Close { code, .. } => Got::Closed(code),
                Output::Drop { .. } => Got::Dropped,
                Output::Frame { text, .. } => Got::Frame(serde_json::from_str(&text).unwrap()),
                Output::Hang { until, .. } => Got::Hung(until.map(|until| until - self.now.instant)),
                Output::Advance(_) => panic!("the clock is no socket"),
            })
            .collect()
    }

    fn happened(&self, kind: FaultKind) -> u64 {
        self.world.counters().faults.of(kind)
    }
}

/// The texts of frames; other things by their name.
fn words(seen: &[Got]) -> Vec<String> {
    seen.iter()
        .map(|seen| match seen {
            Got::Frame(frame) => match frame["body"]["text"].as_str() {
                Some(text) => text.to_owned(),
                None => frame["class"].as_str().unwrap().to_owned(),
            },
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_socket_is_dropped_with_or_without_a_close_frame() {
    for (fault, seen) in [
        ("drop@2", Got::Closed(1001)),
        ("drop:1011@2", Got::Closed(1011)),
        ("drop:abrupt@2", Got::Dropped),
    ] {
        let (mut stage, socket) = stage(fault);
        stage.say(socket, &["one", "two", "three"]);
        let got = stage.got(socket);
        assert_eq!(words(&got[..1]), ["one"], "{fault}");
        assert_eq!(got[1..], [seen], "{fault}");
        assert_eq!(stage.happened(FaultKind::Drop), 1);
        assert_eq!(stage.world.counters().open, 0);
        assert_eq!(
            stage.world.counters().guest_messages,
            3,
            "the world had read all of them"
        );

        let again = stage.guest();
        stage.say(again, &["four"]);
        assert_eq!(words(&stage.got(again)), ["four"], "and the session lives");
    }
}

#[test]
fn a_drop_on_the_way_in_loses_the_frame() {
    let (mut stage, socket) = stage("drop:abrupt@in2");
    stage.say(socket, &["one", "two"]);
    let got = stage.got(socket);
    assert_eq!(words(&got), ["one", "Dropped"]);
    assert_eq!(stage.world.counters().guest_messages, 1);
}

#[test]
fn a_socket_hangs_for_a_while_and_then_goes_on_where_it_was() {
    let (mut stage, socket) = stage("hang:10s");
    stage.say(socket, &["one"]);
    assert_eq!(stage.got(socket), [Got::Hung(Some(10 * SECOND))]);
    stage.say(socket, &["two"]);
    assert_eq!(
        stage.world.counters().guest_messages,
        1,
        "the second is not read yet"
    );
    stage.pass(9 * SECOND);
    assert_eq!(stage.got(socket), []);
    assert_eq!(stage.world.poll_timeout().unwrap().1, Reason::Fault);
    stage.pass(SECOND);
    assert_eq!(words(&stage.got(socket)), ["one", "two"]);
}

#[test]
fn a_socket_that_hangs_for_ever_is_cut_off_when_its_session_lets_it_go() {
    let (mut stage, socket) = stage("hang");
    stage.say(socket, &["one", "two"]);
    assert_eq!(stage.got(socket), [Got::Hung(None)]);
    stage.pass(Duration::from_secs(86_400));
    assert_eq!(stage.got(socket), []);
    for _ in 0..3 {
        let other = stage.connect();
        stage.tell(other, configure());
    }
    assert_eq!(stage.got(socket), [Got::Dropped]);
    assert_eq!(stage.world.counters().evicted, 1);
    assert!(stage.world.faults.holds_nothing(), "nothing is kept for it");
}

#[test]
fn what_waits_for_a_hung_socket_is_bounded() {
    let (mut stage, socket) = stage("hang:1h");
    for _ in 0..300 {
        stage.tell(socket, text("again"));
    }
    assert_eq!(stage.got(socket), [Got::Hung(Some(3_600 * SECOND)), Got::Dropped]);
}

#[test]
fn a_delayed_frame_delays_what_follows() {
    let (mut stage, socket) = stage("delay:2s");
    stage.say(socket, &["one", "two"]);
    assert_eq!(stage.got(socket), []);
    stage.pass(2 * SECOND);
    assert_eq!(words(&stage.got(socket)), ["one", "two"]);
    stage.say(socket, &["three"]);
    assert_eq!(words(&stage.got(socket)), ["three"]);
    assert_eq!(stage.happened(FaultKind::Delay), 1);
}

#[test]
fn a_close_waits_for_the_frames_before_it_but_not_when_the_simulator_stops() {
    let (mut stage, socket) = stage("delay:2s");
    stage.say(socket, &["one"]);
    stage.tell(socket, presence("Clear"));
    assert_eq!(stage.got(socket), []);
    stage.pass(2 * SECOND);
    let seen = words(&stage.got(socket));
    assert_eq!(
        seen,
        [
            "one",
            "StructuredMessage",
            "SessionClearedEvent",
            "ConnectionClosedEvent",
            "Closed(1000)"
        ]
    );

    let mut stage = Stage::quiet();
    let socket = stage.guest();
    stage.arm("delay:1h");
    stage.say(socket, &["one"]);
    stage.world.handle_shutdown();
    assert_eq!(stage.got(socket), [Got::Closed(1001)]);
}

#[test]
fn a_frame_is_overtaken_by_the_next_or_comes_a_second_late() {
    let (mut stage, socket) = stage("reorder:x2");
    stage.say(socket, &["one", "two", "three"]);
    assert_eq!(
        words(&stage.got(socket)),
        ["two", "one", "three"],
        "one waits at a time: the second time it is the overtaker's turn"
    );
    stage.arm("reorder");
    stage.say(socket, &["four"]);
    assert_eq!(stage.got(socket), []);
    stage.pass(SECOND);
    assert_eq!(words(&stage.got(socket)), ["four"]);
}

#[test]
fn a_frame_comes_twice_in_pieces_or_with_company() {
    let (mut stage, socket) = stage("duplicate");
    stage.say(socket, &["one"]);
    let twice = stage.got(socket);
    assert_eq!(twice[0], twice[1]);
    assert_eq!(words(&twice), ["one", "one"]);

    stage.arm("unknown-class");
    stage.say(socket, &["two"]);
    assert_eq!(words(&stage.got(socket)), ["SimulatedUnknownEvent", "two"]);

    stage.arm("unknown-fields");
    stage.say(socket, &["three"]);
    let Some(Got::Frame(frame)) = stage.got(socket).pop() else {
        panic!("there is a frame")
    };
    assert_eq!(frame["body"]["text"], "three");
    assert!(frame["simulatedField"].is_object() && frame["body"]["channel"]["simulatedField"].is_object());

    stage.arm("fragment:3");
    stage.say(socket, &["four"]);
    assert!(matches!(
        stage.world.poll_output(),
        Some(Output::Frame { fragments: 3, .. })
    ));
}

#[test]
fn a_storm_refuses_so_many_frames_as_it_was_asked_to() {
    let (mut stage, socket) = stage("throttle:9s:x2");
    for _ in 0..2 {
        let frame = stage.ask(socket, text("one"));
        assert_eq!((code(&frame), &frame["body"]["retryAfter"]), (429, &json!(9)));
        assert_eq!(
            (&frame["body"]["errorCode"], &frame["tracingId"]),
            (&json!(4029), &json!("t-1"))
        );
    }
    assert_eq!(code(&stage.ask(socket, text("one"))), 200);
    stage.arm("throttle");
    let frame = stage.ask(socket, configure());
    assert_eq!(
        (&frame["body"]["errorCode"], &frame["body"]["retryAfter"]),
        (&json!(429), &json!(3))
    );
    assert_eq!(stage.world.counters().rate_limited, 3);
}

#[test]
fn a_guest_is_put_out_and_the_clock_jumps() {
    let (mut stage, socket) = stage("evict");
    stage.say(socket, &["one"]);
    assert_eq!(
        words(&stage.got(socket)),
        ["one", "ConnectionClosedEvent", "Closed(1000)"]
    );

    let socket = stage.guest();
    stage.arm("clock:+14m@in1");
    stage.say(socket, &["two"]);
    let outputs: Vec<_> = std::iter::from_fn(|| stage.world.poll_output()).collect();
    assert!(outputs.contains(&Output::Advance(840 * SECOND)));
}

#[test]
fn no_fault_moves_the_clock_beyond_the_year_9000() {
    let (mut stage, socket) = stage("clock:+3650d:always@in1");
    for _ in 0..1_000 {
        stage.tell(socket, json!({"action": "echo", "token": TOKEN}));
        while let Some(output) = stage.world.poll_output() {
            if let Output::Advance(by) = output {
                stage.now.instant += by;
                stage.now.utc += by;
            }
        }
    }
    assert!(
        (8_990..=9_000).contains(&stage.now.utc.year()),
        "{}",
        stage.now.utc
    );
    assert!(stage.world.counters().faults.total() >= 1_000);
}

#[test]
fn evicting_always_ends() {
    let (mut stage, socket) = stage("evict:always");
    stage.say(socket, &["one"]);
    assert_eq!(stage.got(socket).len(), 3);
}

#[test]
fn handshakes_are_late_or_refused() {
    let mut stage = Stage::quiet();
    stage.arm("slow-handshake:3s");
    let socket = stage.connect();
    assert_eq!(stage.world.opens_at(socket), Some(stage.now.instant + 3 * SECOND));
    let socket = stage.connect();
    assert_eq!(stage.world.opens_at(socket), None);
    for (fault, status) in [("refuse-handshake", 403), ("refuse-handshake:503", 503)] {
        stage.arm(fault);
        assert_eq!(stage.handshake(DEPLOYMENT, None).unwrap_err().status(), status);
    }
    assert_eq!(stage.world.counters().refused, 2);
    stage.connect();
}

#[test]
fn requests_are_refused_but_never_the_simulators_own() {
    let (mut stage, socket) = stage("rest:503:/api:x2");
    let jwt = stage.jwt(socket);
    assert_eq!(get(&mut stage.world, "/sim/state", stage.now).0.status(), 200);
    let config = format!("/webdeployments/v1/deployments/{DEPLOYMENT}/config.json");
    assert_eq!(get(&mut stage.world, &config, stage.now).0.status(), 200);
    for _ in 0..2 {
        let (status, body) = stage.history(&jwt, "");
        assert_eq!((status, &body["code"]), (503, &json!("service.unavailable")));
    }
    assert_eq!(stage.history(&jwt, "").0, 200);
    for (fault, code) in [
        ("rest:401", "bad.credentials"),
        ("rest:403", "not.authorized"),
        ("rest:429", "too.many.requests"),
        ("rest:500", "internal.server.error"),
        ("rest:504", "request.timeout"),
        ("expired-jwt", "credentials.expired"),
    ] {
        stage.arm(fault);
        assert_eq!(stage.history(&jwt, "").1["code"], code);
    }
    assert_eq!(stage.history(&jwt, "").0, 200);
}

#[test]
fn a_fault_of_one_session_spares_the_others() {
    let mut stage = Stage::quiet();
    let other = "11111111-2222-4333-8444-555555555555";
    stage
        .world
        .arm("drop:always".parse().unwrap(), Some(other))
        .unwrap();
    stage
        .world
        .arm("rest:503:always".parse().unwrap(), Some(other))
        .unwrap();
    let socket = stage.guest();
    stage.say(socket, &["one"]);
    assert_eq!(words(&stage.got(socket)), ["one"]);
    let jwt = stage.jwt(socket);
    assert_eq!(stage.history(&jwt, "").0, 200);

    let victim = stage.connect();
    let mut configure = configure();
    configure["token"] = json!(other);
    stage.tell(victim, configure);
    assert_eq!(stage.got(victim), [Got::Closed(1001)]);
}

#[test]
fn an_upload_fails_when_it_was_asked_to() {
    let (mut stage, socket) = stage("upload-failure");
    let mut upload = || {
        let grant = stage.granted(socket, 5);
        assert_eq!(stage.put(&grant, b"12345"), 200);
        words(&stage.got(socket)).remove(0)
    };
    assert_eq!(upload(), "UploadFailureEvent");
    assert_eq!(upload(), "UploadSuccessEvent");
}

#[test]
fn notification_channels_are_spared() {
    let (mut stage, _) = stage("drop:always");
    let bearer = stage.access_token();
    let channel = stage.channel(&bearer, &json!([]));
    let listener = stage.listen(&channel).unwrap();
    stage.tell(listener, json!({"message": "ping"}));
    assert!(matches!(&stage.got(listener)[..], [Got::Frame(_)]));
}

#[test]
fn the_same_seed_inputs_and_times_give_the_same_outputs() {
    let run = || {
        let mut stage = Stage::new(Rules {
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
        let mut socket = stage.connect();
        let mut seen = Vec::new();
        for step in 0..200 {
            if stage.world.counters().open == 0 {
                socket = stage.connect();
            }
            stage.tell(socket, configure());
            stage.tell(socket, text(&step.to_string()));
            stage.pass(Duration::from_millis(300));
            seen.extend(stage.seen());
        }
        (seen, stage.world.counters())
    };
    let (one, other) = (run(), run());
    assert_eq!(one, other);
    let faults = one.1.faults;
    for kind in [
        FaultKind::Delay,
        FaultKind::Drop,
        FaultKind::Duplicate,
        FaultKind::Reorder,
    ] {
        assert!(faults.of(kind) > 0, "{kind}");
    }
}
