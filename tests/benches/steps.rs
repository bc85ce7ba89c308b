//! CPU time of the inner loops of the steps, each beside the minimum of the layer below, in the same run.
//!
//! Rounds are interleaved, and each figure is a median. These loops wait for nothing, so their time is CPU
//! time as long as the machine is not full.
//!
//! ```sh
//! cargo bench -p end-to-end --bench steps
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its figures on stdout")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use audit::{Actor, Draft, Pseudonym, Signer, Tree, leaf_hash};
use genesys_api::{Call as _, ChannelId, Clock, GuestId, Host, IdempotencyKey, Now};
use guest_payload::{
    Age, Choice, Consent, DecisionInput, Evidence, Jurisdiction, Jurisdictions, NewGuest, Policy, Purpose,
    Scope, Signals,
};
use guest_sessions::client::calls::create_session;
use http::HeaderMap;
use ring::{digest, hmac};
use serde_json::Value;
use serde_json::value::RawValue;
use session_metrics::{Journey, Metrics};
use token_window::Schedule;
use web_messaging::ServerFrame;
use webhook::{MessageId, Secret, Verifier, sign};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Approximate time of one measurement in a round.
const ROUND: Duration = Duration::from_millis(40);
/// Rounds that are counted.
const ROUNDS: usize = 7;
/// Sessions at which growth is shown.
const SMALL: u32 = 10_000;
const LARGE: u32 = 1_000_000;

fn main() -> Outcome<()> {
    let clock = Clock::system();
    let mut rows = Vec::new();
    webhooks(&mut rows, clock.now())?;
    log(&mut rows, clock.now())?;
    schedule(&mut rows, clock.now().instant)?;
    metrics(&mut rows, clock.now());
    decisions(&mut rows, clock.now())?;
    payload(&mut rows, clock.now())?;
    frames(&mut rows);

    let count = |row: &mut Row, times: u32| {
        let before = clock.now().instant;
        for _ in 0..times {
            (row.run)();
        }
        clock.now().instant - before
    };
    for row in &mut rows {
        while count(row, row.times) < ROUND / 4 {
            row.times *= 2;
        }
        row.times *= 4;
    }
    for _ in 0..ROUNDS {
        for row in &mut rows {
            let nanoseconds = count(row, row.times).as_secs_f64() * 1e9;
            row.rounds.push(nanoseconds / f64::from(row.times));
        }
    }
    report(&mut rows);
    Ok(())
}

/// One figure of the table.
struct Row {
    what: &'static str,
    kind: Kind,
    run: Box<dyn FnMut()>,
    /// Iterations in one round.
    times: u32,
    /// Nanoseconds of one run.
    rounds: Vec<f64>,
}

enum Kind {
    /// The baseline of the following rows.
    Baseline,
    Measured,
}

fn row<T>(rows: &mut Vec<Row>, kind: Kind, what: &'static str, mut work: impl FnMut() -> T + 'static) {
    rows.push(Row {
        what,
        kind,
        run: Box::new(move || {
            black_box(work());
        }),
        times: 1,
        rounds: Vec::new(),
    });
}

fn report(rows: &mut [Row]) {
    println!("Nanoseconds, medians of {ROUNDS} rounds:\n");
    let mut baseline = f64::NAN;
    for row in rows {
        row.rounds.sort_by(f64::total_cmp);
        let median = row.rounds[ROUNDS / 2];
        match row.kind {
            Kind::Baseline => {
                baseline = median;
                println!("{:60}{median:>10.1}", row.what);
            }
            Kind::Measured => println!("{:60}{median:>10.1}{:>10.2} x", row.what, median / baseline),
        }
    }
}

fn webhooks(rows: &mut Vec<Row>, now: Now) -> Outcome<()> {
    let body = vec![b'x'; 1024];
    let id = MessageId::generate([7; 16]);
    let secret = Secret::from_bytes(&[9; 32])?;

    let mut signed = format!("{id}.{}.", now.utc.unix_timestamp()).into_bytes();
    signed.extend(&body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[9; 32]);
    row(rows, Kind::Baseline, "HMAC-SHA256 of 1 KiB", move || {
        hmac::sign(&key, &signed)
    });

    let mut headers = HeaderMap::new();
    headers.extend(sign(&secret, &[], &id, now.utc, &body));
    let (to_sign, signer) = (body.clone(), secret.clone());
    row(rows, Kind::Measured, "webhook: sign 1 KiB", move || {
        sign(&signer, &[], &id, now.utc, &to_sign)
    });
    let verifier = Verifier::new([secret]);
    row(rows, Kind::Measured, "webhook: verify 1 KiB", move || {
        verifier.verify(&headers, &body, now.utc).is_ok()
    });
    Ok(())
}

fn log(rows: &mut Vec<Row>, now: Now) -> Outcome<()> {
    let draft = Draft::new(now.utc, Actor::client("bench"), "session.created")
        .subject(Pseudonym::of(&[3; 32], "f93df19e-a328-4ea2-bdc7-a9346171a288"))
        .detail("marketing", "granted, on (tutorial-strict/EU/marketing)")
        .detail(
            "personalization",
            "granted, on (tutorial-strict/EU/personalization)",
        )
        .detail("policy", "tutorial-strict 1.0.0")
        .detail("jurisdiction", "EU");
    let line = draft.seal(1, "guest-gateway/audit")?;
    row(rows, Kind::Baseline, "SHA-256 of an audit entry", move || {
        digest::digest(&digest::SHA256, &line)
    });
    let (mut tree, recorded) = (Tree::new(), draft.clone());
    row(
        rows,
        Kind::Measured,
        "audit: canonical JSON, hash, and place in the tree",
        move || {
            let line = recorded.seal(tree.size(), "guest-gateway/audit");
            tree.append(leaf_hash(line.as_deref().unwrap_or_default()));
        },
    );
    verification(rows, &draft)
}

fn verification(rows: &mut Vec<Row>, draft: &Draft) -> Outcome<()> {
    let mut log = audit::Log::new(Signer::from_seed("guest-gateway/audit", &[7; 32])?);
    let (mut lines, mut entries) = (Vec::new(), Vec::new());
    for seq in 0..u64::from(SMALL) {
        entries.push(draft.seal(seq, "guest-gateway/audit")?);
        lines.push(log.append(draft)?);
        if (seq + 1) % 1_000 == 0 {
            lines.push(log.checkpoint());
        }
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("audit.jsonl");
    std::fs::write(&path, lines.concat())?;
    let key = log.verifier_key().clone();
    row(
        rows,
        Kind::Baseline,
        "leaf and node hashes of 10,000 entries",
        move || {
            entries
                .iter()
                .map(|entry| leaf_hash(entry))
                .collect::<Tree>()
                .root()
        },
    );
    let line_key = key.clone();
    row(
        rows,
        Kind::Measured,
        "audit: verification of 10,000 entries, on one core",
        move || audit::verify(&line_key, &lines).is_ok(),
    );
    row(
        rows,
        Kind::Measured,
        "audit: verification of a file of 10,000 entries, on all",
        move || {
            // the folder is removed with the row
            let _ = folder.path();
            audit::files::verify_file(&path, &key, None).is_ok()
        },
    );
    Ok(())
}

fn schedule(rows: &mut Vec<Row>, now: Instant) -> Outcome<()> {
    let lifetime = Duration::from_secs(3_600);
    // in random order, so that neighbors in time are not neighbors in memory; each is queued again, as after a refresh
    let due = move |session: u32| {
        let place = u64::from(session) * 611_953 % u64::from(LARGE);
        now + lifetime.mul_f64(place as f64 / f64::from(LARGE))
    };
    let mut wheel = FlatWheel::new(LARGE, |session| (due(session) - now).as_secs_f64() * 10.0);
    row(
        rows,
        Kind::Baseline,
        "a flat wheel of 1,000,000: pop and push",
        move || wheel.reschedule(36_000),
    );
    let mut heap: BinaryHeap<_> = (0..LARGE)
        .map(|session| Reverse((due(session), session)))
        .collect();
    row(
        rows,
        Kind::Measured,
        "a binary heap of 1,000,000: pop and push",
        move || {
            if let Some(Reverse((at, session))) = heap.pop() {
                heap.push(Reverse((at + lifetime, session)));
            }
        },
    );
    let mut order: BTreeSet<_> = (0..LARGE).map(|session| (due(session), session)).collect();
    let mut deadlines: BTreeMap<_, _> = order.iter().map(|(at, session)| (*session, *at)).collect();
    row(
        rows,
        Kind::Measured,
        "two B-trees of 1,000,000: pop and push",
        move || {
            let (at, session) = order.pop_first()?;
            deadlines.remove(&session);
            deadlines.insert(session, at + lifetime);
            order.insert((at + lifetime, session));
            Some(session)
        },
    );
    for (sessions, rotate, idle) in [
        (
            SMALL,
            "token-window: pop what is due and reschedule, at 10,000",
            "token-window: nothing is due, at 10,000",
        ),
        (
            LARGE,
            "token-window: pop what is due and reschedule, at 1,000,000",
            "token-window: nothing is due, at 1,000,000",
        ),
    ] {
        let mut schedule = Schedule::new(LARGE as usize, now);
        for session in 0..sessions {
            schedule.insert(session, due(session))?;
        }
        let mut idle_schedule = schedule.clone();
        let mut at = now;
        row(rows, Kind::Measured, rotate, move || {
            loop {
                if let Some(session) = schedule.pop_due(at) {
                    return schedule.insert(session, at + lifetime).ok();
                }
                at = schedule.next_deadline()?;
            }
        });
        row(rows, Kind::Measured, idle, move || idle_schedule.pop_due(now));
    }
    Ok(())
}

/// The minimum of a timer wheel: one list of sessions for each tick, without removal.
struct FlatWheel {
    ticks: Vec<u32>,
    next: Vec<u32>,
    slots: Vec<u32>,
    now: u32,
}

impl FlatWheel {
    fn new(sessions: u32, tick_of: impl Fn(u32) -> f64) -> Self {
        let mut wheel = Self {
            ticks: vec![0; sessions as usize],
            next: vec![u32::MAX; sessions as usize],
            slots: vec![u32::MAX; 1 << 16],
            now: 0,
        };
        for session in 0..sessions {
            wheel.push(session, tick_of(session) as u32);
        }
        wheel
    }

    fn push(&mut self, session: u32, tick: u32) {
        self.ticks[session as usize] = tick;
        let slot = &mut self.slots[tick as usize % (1 << 16)];
        self.next[session as usize] = std::mem::replace(slot, session);
    }

    fn reschedule(&mut self, ticks: u32) {
        loop {
            let slot = &mut self.slots[self.now as usize % (1 << 16)];
            let session = *slot;
            if session != u32::MAX {
                *slot = self.next[session as usize];
                self.push(session, self.ticks[session as usize].wrapping_add(ticks));
                return;
            }
            self.now = self.now.wrapping_add(1);
        }
    }
}

fn metrics(rows: &mut Vec<Row>, now: Now) {
    static COUNTER: AtomicU64 = AtomicU64::new(0);

    row(rows, Kind::Baseline, "one atomic addition", || {
        COUNTER.fetch_add(1, Ordering::Release)
    });
    let group = Metrics::new().group("web", "EU");
    row(
        rows,
        Kind::Measured,
        "session-metrics: record an event",
        move || {
            group.record(Journey::begin(now.utc).1, now.instant);
        },
    );
    let metrics = Metrics::new();
    row(rows, Kind::Measured, "session-metrics: snapshot", move || {
        metrics.snapshot(now)
    });
}

fn payload(rows: &mut Vec<Row>, now: Now) -> Outcome<()> {
    let host: Host = "https://127.0.0.1".parse()?;
    let channel: ChannelId = "channel".parse()?;
    let guest: GuestId = "a382603a-ba10-4859-8d8d-9077ae4b51e0".parse()?;
    let jurisdictions: Jurisdictions = "EU".parse()?;
    let policy = Policy::find("tutorial-strict")?;
    let consent = Consent::together([Choice::Granted; 3], Evidence::at(now.utc));
    let mut new = NewGuest::new(channel, jurisdictions, consent);
    new.guest = Some(guest);
    new.attributes.insert("source", "web")?;
    let build = move || {
        let new = new.clone().decide(policy, now.utc).ok()?;
        Some(create_session(&new, IdempotencyKey::random()).request(&host))
    };
    let request = build().ok_or("the policy refuses its own example")?;
    let body: Value = serde_json::from_slice(request.body())?;
    row(
        rows,
        Kind::Baseline,
        "serde_json: write the body of a creation",
        move || body.to_string(),
    );
    row(
        rows,
        Kind::Measured,
        "guest-payload: decide consent and build the request",
        build,
    );
    Ok(())
}

/// A decision looks up its rules. The baseline is a search of the whole table.
fn decisions(rows: &mut Vec<Row>, now: Now) -> Outcome<()> {
    let policy = Policy::purpose_scoped();
    let place: Jurisdiction = "US-WA".parse()?;
    let holds = move |purpose: Purpose, wider: Jurisdiction| {
        policy.rules().iter().find(|rule| {
            rule.subject == purpose.into()
                && matches!(&rule.scope, Scope::Places(places) if places.contains(&wider))
        })
    };
    row(
        rows,
        Kind::Baseline,
        "three rules, by a search of the table",
        move || Purpose::ALL.map(|purpose| place.ancestors().find_map(|wider| holds(purpose, wider))),
    );
    row(
        rows,
        Kind::Measured,
        "guest-payload: three rules, looked up",
        move || Purpose::ALL.map(|purpose| policy.rule(Some(black_box(place)), purpose)),
    );
    let consent = Consent::together([Choice::Granted; 3], Evidence::at(now.utc));
    row(
        rows,
        Kind::Measured,
        "guest-payload: a whole decision",
        move || {
            let decision = policy.decide(&DecisionInput {
                jurisdictions: &[black_box(place)],
                age: Age::UNKNOWN,
                signals: Signals::default(),
                consent: &consent,
                now: now.utc,
            });
            decision.is_ok()
        },
    );
    Ok(())
}

fn frames(rows: &mut Vec<Row>) {
    row(
        rows,
        Kind::Baseline,
        "serde_json: walk over a frame of 500 B",
        || serde_json::from_str::<&RawValue>(FRAME).is_ok(),
    );
    row(
        rows,
        Kind::Measured,
        "ws-transport: read a frame of 500 B",
        || ServerFrame::parse(FRAME).is_ok(),
    );
}

/// A message of an agent, as Genesys Cloud sends it.
const FRAME: &str = r#"{"type":"message","class":"StructuredMessage","code":200,"body":{"text":"The blue one is back in stock from Monday on. Shall I put one aside for you?","type":"Text","direction":"Outbound","id":"d5a1c8a2-6f3b-4c6e-9d53-0e2f7b1a4c11","channel":{"time":"2026-11-22T12:30:00.000Z","messageId":"d5a1c8a2-6f3b-4c6e-9d53-0e2f7b1a4c11","type":"Private","to":{"id":"f93df19e"},"from":{"nickname":"Ann","type":"Agent"}},"originatingEntity":"Human","metadata":{"correlationId":"4f1d9c52-72a4"}}}"#;
