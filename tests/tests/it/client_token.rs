//! Access tokens of API clients: forms of credentials, and the limit of failures.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use genesys_api::Clock;
use guest_suite::store::EntryQuery;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::{Answer, Api, Call};
use crate::page::soon;
use crate::world::{CLIENT, NEIGHBOR, World};

const GRANT: &str = "grant_type=client_credentials";

fn api(world: &World) -> Api {
    Api::without_token(world.http(), world.url(""))
}

fn form(id: &str, secret: &str) -> Call {
    let credentials = format!("client_id={id}&client_secret={secret}");
    Call::post("/oauth/token").form(&format!("{GRANT}&{credentials}"))
}

fn basic(credentials: &str) -> Call {
    let header = format!("Basic {}", STANDARD.encode(credentials));
    Call::post("/oauth/token")
        .form(GRANT)
        .header("authorization", &header)
}

/// The part of an answer that does not change: all but its date and its id.
fn visible(answer: &Answer) -> String {
    let mut headers = answer.headers.clone();
    headers.remove("date");
    headers.remove("inin-correlation-id");
    let context = answer.text.split("contextId").next().unwrap();
    format!("{} {headers:?} {context}", answer.status)
}

#[tokio::test]
async fn unknown_parameters_are_ignored() {
    let world = World::start().await;
    let (id, secret) = CLIENT;
    let known = format!("client_id={id}&client_secret={secret}");
    let token = |text: String| Call::post("/oauth/token").form(&text);
    let ignored = "audience=x&resource=y&audience=z&username=";
    let answer = api(&world)
        .send(token(format!("{GRANT}&{known}&{ignored}")))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for credentials in [&*known, "client_id=all-scopes"] {
        let password = format!("grant_type=password&username=guest&password=canary&{credentials}");
        let answer = api(&world).send(token(password)).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"], "unsupported_grant_type");
    }
    world.stop().await;
}

#[tokio::test]
async fn secret_in_basic_is_accepted_raw_and_form_encoded() {
    let secret = "a+b/c=d%41&e f";
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        toml.replace(NEIGHBOR.1, secret)
    })
    .await;
    let id = NEIGHBOR.0;
    let encoded = "a%2Bb%2Fc%3Dd%2541%26e+f";
    for given in [secret, encoded] {
        let answer = api(&world).send(basic(&format!("{id}:{given}"))).await;
        assert_eq!(answer.status, 200, "{given}: {}", answer.text);
    }
    let refused = async |given: &str| {
        let answer = api(&world).send(basic(&format!("{id}:{given}"))).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]),
            (401, &"invalid_client".into())
        );
        answer.json()["error_description"].as_str().unwrap().to_owned()
    };
    assert!(refused("a+b").await.contains("form-encoded"));
    assert_eq!(refused("wrong").await, "authentication failed");
    world.stop().await;
}

#[tokio::test]
async fn client_id_of_the_form_must_be_that_of_basic() {
    let world = World::start().await;
    let (id, secret) = NEIGHBOR;
    let credentials = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    for (in_form, expected) in [(id, 200), (CLIENT.0, 400)] {
        let call = Call::post("/oauth/token").form(&format!("{GRANT}&client_id={in_form}"));
        let answer = api(&world).send(call.header("authorization", &credentials)).await;
        assert_eq!(answer.status, expected, "{in_form}: {}", answer.text);
        if expected == 400 {
            assert_eq!(answer.json()["error"], "invalid_request");
            let text = answer.json()["error_description"].as_str().unwrap().to_owned();
            assert!(
                text.starts_with("invalid client_id: not the one in HTTP Basic"),
                "{text}"
            );
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn failed_authentications_are_limited_per_client_and_address() {
    let world = World::start().await;
    let api = api(&world);
    let (id, secret) = CLIENT;
    let wrong = |id: &str, address: &str| form(id, "guess").header("x-forwarded-for", address);
    let (attacker, network) = ("198.51.100.7", "2001:db8::");
    for guess in 0..10 {
        let address = format!("{network}{guess}");
        for (address, other) in [(attacker, "198.51.100.8"), (&address, "2001:db9::")] {
            let known = api.send(wrong(id, address)).await;
            assert_eq!(known.status, 401);
            let unknown = api.send(wrong(&format!("nobody-{guess}"), other)).await;
            assert_eq!(visible(&known), visible(&unknown));
        }
    }
    for (address, other) in [(attacker, "198.51.100.8"), ("2001:db8::ffff", "2001:db9::")] {
        let limited = api.send(wrong(id, address)).await;
        assert_eq!(limited.status, 429, "{}", limited.text);
        let wait: u64 = limited.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        let unknown = api.send(wrong("nobody", other)).await;
        assert_eq!(visible(&limited), visible(&unknown));
        // the failures of others at its address do not refuse a client
        let right = form(id, secret).header("x-forwarded-for", other);
        assert_eq!(api.send(right).await.status, 200);
        let right = form(id, secret).header("x-forwarded-for", address);
        assert_eq!(api.send(right).await.status, 429);
    }
    // the client itself, and another one at the address of the attacker
    for call in [
        form(id, secret).header("x-forwarded-for", "203.0.113.1"),
        form(id, secret).header("x-forwarded-for", &format!("{attacker}, 203.0.113.1")),
        form(id, secret),
        form(NEIGHBOR.0, NEIGHBOR.1).header("x-forwarded-for", attacker),
    ] {
        assert_eq!(api.send(call).await.status, 200);
    }
    world.clock.advance(Duration::from_secs(60));
    let right = form(id, secret).header("x-forwarded-for", attacker);
    assert_eq!(api.send(right).await.status, 200);
    world.stop().await;
}

#[tokio::test]
async fn parallel_guesses_do_not_pass_the_limit() {
    let world = World::start().await;
    let api = std::sync::Arc::new(api(&world));
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let api = api.clone();
        guesses.spawn(async move { api.send(form(CLIENT.0, "guess")).await.status.as_u16() });
    }
    let mut statuses = guesses.join_all().await;
    statuses.sort_unstable();
    let (checked, limited) = statuses.split_at(10);
    assert!(checked.iter().all(|status| *status == 401), "{statuses:?}");
    assert!(limited.iter().all(|status| *status == 429), "{statuses:?}");
    // one entry of each kind is written at once, in any order
    let store = world.gateway.store().clone();
    soon(async {
        loop {
            let entries = store.entries(EntryQuery::From(0), 100).await.unwrap();
            let failed = entries
                .iter()
                .filter(|entry| String::from_utf8_lossy(&entry.bytes).contains("auth.failed"));
            if failed.count() == 2 {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(store);
    world.stop().await;
}

#[tokio::test]
async fn address_of_an_untrusted_proxy_counts() {
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        toml.replacen("[listen]\n", "[listen]\ntrusted_proxies = []\n", 1)
    })
    .await;
    let api = api(&world);
    let guess =
        |address: usize| form(CLIENT.0, "guess").header("x-forwarded-for", &format!("203.0.113.{address}"));
    for address in 0..10 {
        assert_eq!(api.send(guess(address)).await.status, 401);
    }
    assert_eq!(api.send(guess(10)).await.status, 429);
    world.stop().await;
}

#[tokio::test]
async fn old_secret_is_valid_until_its_end() {
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        let secret = format!("secret = {:?}\n", NEIGHBOR.1);
        let until = Clock::system().now().utc + Duration::from_secs(3_600);
        let until = until
            .format(&time::format_description::well_known::Rfc3339)
            .unwrap();
        let old = format!("old_secret = {{ secret = \"before-rotation\", until = {until:?} }}\n");
        assert!(toml.contains(&secret), "{toml}");
        toml.replace(&secret, &format!("{secret}{old}"))
    })
    .await;
    let status = async |secret: &str| api(&world).send(form(NEIGHBOR.0, secret)).await.status.as_u16();
    assert_eq!(status(NEIGHBOR.1).await, 200);
    assert_eq!(status("before-rotation").await, 200);
    let store = world.gateway.store();
    let entries = store.entries(EntryQuery::From(0), 100).await.unwrap();
    let by_old = entries
        .iter()
        .filter(|entry| String::from_utf8_lossy(&entry.bytes).contains("\"secret\":\"old\""));
    assert_eq!(by_old.count(), 1);
    world.clock.advance(Duration::from_secs(3_601));
    assert_eq!(status("before-rotation").await, 401);
    assert_eq!(status(NEIGHBOR.1).await, 200);
    world.stop().await;
}

#[tokio::test]
async fn reload_during_a_request_applies_to_the_next_one() {
    let world = World::start().await;
    let body = format!("{GRANT}&client_id={}&client_secret={}", NEIGHBOR.0, NEIGHBOR.1);
    let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
    let mut send_until = async |text: &str, expected: &str| {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = vec![0; expected.len()];
        soon(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    };
    let length = body.len();
    let head = format!(
        "POST /oauth/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {length}\r\nexpect: 100-continue\r\n\r\n"
    );
    // sent when the gateway reads the body
    send_until(&head, "HTTP/1.1 100 Continue\r\n\r\n").await;
    let rotated = world.toml.replace(NEIGHBOR.1, "secret-after-rotation");
    world.reload(&rotated).await.unwrap();
    send_until(&body, "HTTP/1.1 200").await;
    let old = api(&world).send(form(NEIGHBOR.0, NEIGHBOR.1)).await;
    assert_eq!(old.status, 401, "{}", old.text);
    world.stop().await;
}
