//! The whole audit log over HTTP: pages, checkpoints, proofs, and what an altered store makes of them.

use std::time::Duration;

use guest_store::LogPage;
use guest_suite::api::{parse_rfc3339, rfc3339};
use guest_suite::audit::proof::{ConsistencyProof, InclusionProof};
use guest_suite::audit::{Actor, Draft, Entry};
use guest_suite::store::{EntryQuery, Store, Unit};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::api::{Api, Call, guest};
use crate::guests::until;
use crate::page::soon;
use crate::proxy::ClosedPort;
use crate::world::{CLIENT, NEIGHBOR, World};

const AUDIT: &str = "/api/v2/audit";

async fn text(api: &Api, path: &str) -> String {
    let answer = api
        .send(Call::get(&format!("{AUDIT}/{path}")).bearer(&api.token))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.text
}

/// The size and the root of a signed note.
fn head(note: &str) -> u64 {
    note.lines().nth(1).unwrap().parse().unwrap()
}

async fn log_entries(world: &World, count: usize) {
    let entry = Draft::new(world.clock.now().utc, Actor::system("test"), "test.entry");
    let entries = vec![entry; count];
    world
        .gateway
        .store()
        .commit(Unit {
            entries,
            ..Unit::default()
        })
        .await
        .unwrap();
}

/// The text between the brackets of `lines`, split where a line begins.
fn lines(page: &str) -> Vec<String> {
    let (_, rest) = page.split_once("\"lines\":[").unwrap();
    let (lines, _) = rest.rsplit_once("],\"next\"").unwrap();
    let split = lines
        .replace("},{\"leaf\"", "}\n{\"leaf\"")
        .replace("},{\"checkpoint\"", "}\n{\"checkpoint\"");
    split.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn pages_of_the_log_are_the_bytes_of_its_export() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    Api::of(&world, NEIGHBOR).await.create(&guest()).await;
    log_entries(&world, 1_100).await;
    // logged before the log is signed, and counted within the minute
    text(&api, "entries?limit=1").await;
    let note = text(&api, "checkpoint").await;
    let (mut read, mut from) = (String::new(), 0);
    while from < head(&note) {
        let limit = (head(&note) - from).min(300);
        let page = text(&api, &format!("entries?from={from}&limit={limit}")).await;
        for line in lines(&page) {
            read.push_str(&line);
            read.push('\n');
        }
        let page: Value = serde_json::from_str(&page).unwrap();
        assert_eq!(page["more"], true, "{from}");
        from = page["next"].as_u64().unwrap();
    }
    assert!(
        read.contains("session.created") && read.contains(NEIGHBOR.0),
        "all clients"
    );
    let file = world.folder.path().join("export.jsonl");
    let exported = guest_store::export(&**world.gateway.store(), &file)
        .await
        .unwrap();
    assert_eq!(exported.note, note, "no read is logged within the minute");
    assert!(read == std::fs::read_to_string(&file).unwrap());
    let end = text(&api, &format!("entries?from={from}")).await;
    assert_eq!(end, format!("{{\"lines\":[],\"next\":{from},\"more\":false}}"));
    world.stop().await;
}

#[tokio::test]
async fn proofs_lead_from_entries_and_older_logs_to_a_checkpoint() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let old = text(&api, "checkpoint").await;
    log_entries(&world, 700).await;
    let note = text(&api, "checkpoint").await;
    let (store, key) = (world.gateway.store(), world.gateway.store().verifier_key());
    for entry in [0, 1, 255, 256, 300, 511, head(&note) - 1] {
        let proof: InclusionProof = text(&api, &format!("proof?entry={entry}&size={}", head(&note)))
            .await
            .parse()
            .unwrap();
        assert_eq!(proof.checkpoint, note);
        let found = store.entries(EntryQuery::From(entry), 1).await.unwrap();
        assert_eq!(
            proof.check(&found[0].bytes, key).unwrap().size,
            head(&note),
            "{entry}"
        );
        assert!(proof.check(b"another", key).is_err(), "{entry}");
    }
    let size = head(&old);
    assert_eq!(text(&api, &format!("checkpoint?size={size}")).await, old);
    let proof: ConsistencyProof = text(&api, &format!("consistency?old={size}"))
        .await
        .parse()
        .unwrap();
    let root = key.open(&old).unwrap().root;
    assert!(proof.check(root, key).unwrap().size >= head(&note));
    for (missing, named) in [
        ("proof?entry=0&size=5", "invalid size 5: "),
        ("proof?entry=99999", "invalid entry 99999: "),
        ("consistency?old=99999", "invalid old 99999: "),
        ("consistency?old=0", "invalid old 0: "),
    ] {
        let call = Call::get(&format!("{AUDIT}/{missing}")).bearer(&api.token);
        let refused = api.send(call).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{missing}");
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(named), "{message}");
    }
    world.stop().await;
}

#[tokio::test]
async fn entries_before_a_time_are_left_out_with_all_checkpoints() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    log_entries(&world, 300).await;
    world.clock.advance(Duration::from_secs(3));
    let since = rfc3339(world.clock.now().utc);
    log_entries(&world, 5).await;
    let page: Value =
        serde_json::from_str(&text(&api, &format!("entries?since={since}&limit=3")).await).unwrap();
    let page_lines = page["lines"].as_array().unwrap();
    assert!(page_lines.len() == 3 && page_lines.iter().all(|line| line.get("entry").is_some()));
    let time = page_lines[0]["entry"]["time"].as_str().unwrap();
    assert!(parse_rfc3339(time) >= parse_rfc3339(&since));
    world.stop().await;
}

/// The entries of reads of the whole log: what was read, and how often.
async fn reads(store: &dyn Store) -> Vec<(Value, Value)> {
    let page = LogPage::read(store, 0, 1_000).await.unwrap();
    let entries = page
        .entries
        .iter()
        .map(|entry| Entry::parse(&entry.bytes).unwrap());
    let reads = entries.filter(|entry| entry.draft.action == "audit.log_read");
    reads
        .map(|entry| {
            let detail = json!(entry.draft.detail);
            (detail["read"].clone(), detail["count"].clone())
        })
        .collect()
}

#[tokio::test]
async fn identical_reads_of_a_minute_are_one_entry() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    for _ in 0..5 {
        text(&api, "entries?limit=1").await;
    }
    text(&api, "checkpoint").await;
    let store = world.gateway.store().clone();
    let (entries, checkpoint) = (json!("entries"), json!("checkpoint"));
    let first = [(entries.clone(), Value::Null), (checkpoint, Value::Null)];
    assert_eq!(reads(&*store).await, first);
    world.clock.advance(Duration::from_secs(61));
    text(&api, "entries?limit=1").await;
    // the read after the minute is in the entry of the others, or the first of the next minute
    let counted = reads(&*store).await;
    let of_entries = counted.iter().filter(|(read, _)| *read == entries);
    let counts = of_entries.map(|(_, count)| count.as_u64().unwrap_or(1));
    assert_eq!(counts.sum::<u64>(), 6, "{counted:?}");
    assert!(counted.len() <= 4, "{counted:?}");
    world.stop().await;
}

#[tokio::test]
async fn altered_entry_is_named_by_each_read() {
    let world = World::on_a_file(genesys_sim::Rules::default(), |toml| toml).await;
    let api = Api::of(&world, CLIENT).await;
    api.create(&guest()).await;
    let size = head(&text(&api, "checkpoint").await);
    let file = rusqlite::Connection::open(world.folder.path().join("gateway.db")).unwrap();
    let created = "SELECT seq FROM entries WHERE CAST(bytes AS TEXT) LIKE '%session.created%'";
    let seq: i64 = file.query_row(created, [], |row| row.get(0)).unwrap();
    file.execute_batch(&format!(
        "DROP TRIGGER entries_no_update;
         UPDATE entries SET bytes = CAST(replace(bytes, 'created', 'crEated') AS BLOB) WHERE seq = {seq};
         UPDATE checkpoints SET note = replace(note, '{size}', '9') WHERE size = {size};"
    ))
    .unwrap();
    let entry = format!("entry {seq} was altered");
    for (read, named) in [
        ("entries", &entry),
        (&format!("proof?entry={seq}"), &entry),
        (&format!("consistency?old={size}"), &entry),
        (
            &format!("checkpoint?size={size}"),
            &format!("checkpoint {size} was altered"),
        ),
    ] {
        let answer = api
            .send(Call::get(&format!("{AUDIT}/{read}")).bearer(&api.token))
            .await;
        assert_eq!(
            answer.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{read}: {}",
            answer.text
        );
        assert!(answer.text.contains(named), "{read}: {}", answer.text);
    }
    world.gateway.stop().await;
    world.simulator.stop().await;
}

#[tokio::test]
async fn checkpoints_are_sent_to_the_configured_url() {
    let archive = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/notes?log=1", archive.local_addr().unwrap());
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        format!("audit.checkpoint_url = {url:?}\n{toml}")
    })
    .await;
    let (mut connection, _) = soon(archive.accept()).await.unwrap();
    let mut request = String::new();
    while !request.contains("\r\n\r\nguest-gateway/audit\n") || !request.ends_with("=\n") {
        let mut part = [0; 4096];
        let length = soon(connection.read(&mut part)).await.unwrap();
        request.push_str(std::str::from_utf8(&part[..length]).unwrap());
    }
    connection
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    let (head, note) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /notes?log=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
    assert!(world.gateway.store().verifier_key().open(note).is_ok(), "{note}");
    world.stop().await;
}

#[tokio::test]
async fn checkpoints_that_cannot_be_written_show_in_health() {
    let folder = tempfile::tempdir().unwrap();
    let (inner, closed) = (folder.path().join("inner"), ClosedPort::reserve());
    std::fs::create_dir(&inner).unwrap();
    let file = inner.join("checkpoints").display().to_string();
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        let url = format!("http://{}/", closed.address());
        format!("audit = {{ checkpoint_file = {file:?}, checkpoint_url = {url:?} }}\n{toml}")
    })
    .await;
    let api = Api::of(&world, CLIENT).await;
    let warnings = async || -> String {
        let health = api.send(Call::get("/health/ready")).await;
        assert_eq!(health.status, StatusCode::OK, "{}", health.text);
        health.json()["warnings"].to_string()
    };
    let reaches = async |expected: &dyn Fn(&str) -> bool| {
        until(async || {
            log_entries(&world, 1).await;
            world.clock.advance(Duration::from_secs(60));
            expected(&warnings().await)
        })
        .await;
    };
    reaches(&|text| text.contains("checkpoint_url") && !text.contains("checkpoint_file")).await;
    std::fs::remove_dir_all(&inner).unwrap();
    reaches(&|text| text.contains("checkpoint_url") && text.contains("checkpoint_file")).await;
    assert!(!warnings().await.contains("inner"), "paths are not published");
    std::fs::create_dir(&inner).unwrap();
    reaches(&|text| !text.contains("checkpoint_file")).await;
    world.stop().await;
}
