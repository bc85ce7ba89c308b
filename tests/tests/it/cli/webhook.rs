//! `webhook`: the webhooks of an API client.

use genesys_http::Tls;
use guest_suite::webhook::Secret;
use http::Method;

use super::Example;
use super::running::ask;
use crate::api::{Call, WEBHOOKS, path_of};

#[tokio::test]
async fn webhook_is_found_by_name_or_id_and_gets_a_new_secret() {
    let serving = Example::new().serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    let body = serde_json::json!({
        "name": "crm sync", "uri": "https://crm.invalid/sync",
        "eventFilters": [{ "predicate": { "type": "event", "values": ["webmessaging.guestsession.ended"] } }],
    });
    let registered = api.ask(Call::post(WEBHOOKS).json(&body)).await;
    let id = registered["id"].as_str().unwrap();
    let listed = ask(&serving, &["webhook", "list"]).await;
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    assert_eq!(
        listed.out,
        format!("{id} active waiting 0 \"crm sync\" https://crm.invalid/sync\n")
    );
    let mut secrets = vec![registered["secret"].as_str().unwrap().to_owned()];
    for webhook in ["crm sync", id] {
        let rotated = ask(&serving, &["webhook", "rotate", webhook]).await;
        assert_eq!(rotated.code, Some(0), "{}", rotated.err);
        let secret = rotated.out.trim_end();
        assert!(secret.parse::<Secret>().is_ok());
        assert!(!secrets.contains(&secret.to_owned()));
        assert!(
            rotated.err.contains("24 hours") && !rotated.err.contains(secret),
            "{}",
            rotated.err
        );
        secrets.push(secret.to_owned());
    }
    // a name that does not resolve (RFC 6761)
    let tested = ask(&serving, &["webhook", "test", id]).await;
    assert_eq!(tested.code, Some(1), "{}", tested.err);
    assert!(tested.out.contains(" error connect after "), "{}", tested.out);
    let succeeds = async |arguments: &[&str]| {
        let ended = ask(&serving, arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.err);
        ended.out
    };
    let idle = succeeds(&["webhook", "show", id]).await;
    assert!(idle.contains("\n  waiting: none\n"), "{idle}");
    succeeds(&["webhook", "pause", id]).await;
    let session = serving.session().await;
    let session_id = session["id"].as_str().unwrap();
    for of in [
        ["--session", session_id],
        ["--guest", session["guestId"].as_str().unwrap()],
    ] {
        let preview = succeeds(&[&["webhook", "preview", id][..], &of].concat()).await;
        let preview: serde_json::Value = serde_json::from_str(&preview).unwrap();
        assert_eq!(preview["data"]["id"], session_id);
    }
    api.ask(Call::new(Method::DELETE, &path_of(&session, ""))).await;
    let shown = succeeds(&["webhook", "show", id]).await;
    assert!(shown.contains(" paused waiting 1 "), "{shown}");
    let waiting = succeeds(&["webhook", "deliveries", id, "--state", "waiting"]).await;
    assert!(
        waiting.contains(" waiting ") && waiting.contains(" 0 attempts\n"),
        "{waiting}"
    );
    let delivery = waiting.split(' ').next().unwrap();
    let one = succeeds(&["webhook", "deliveries", id, "--id", delivery]).await;
    assert!(
        one.starts_with(delivery) && one.contains("next attempt: "),
        "{one}"
    );
    let refused = ask(&serving, &["webhook", "replay", id, "--id", delivery]).await;
    assert!(refused.error_line().contains("it waits"), "{}", refused.err);
    assert_eq!(
        succeeds(&["webhook", "replay", id]).await,
        "0 deliveries are sent again.\n"
    );
    succeeds(&["webhook", "resume", id]).await;
    let unknown = ask(&serving, &["webhook", "rotate", "erp"]).await;
    assert_eq!(unknown.code, Some(2), "{}", unknown.err);
    assert!(unknown.error_line().contains("`webhook list`"), "{}", unknown.err);
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}
