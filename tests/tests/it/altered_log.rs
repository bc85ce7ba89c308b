//! A gateway whose audit log another program alters.

use http::StatusCode;

use crate::api::{Api, Call, SESSIONS, guest};
use crate::guests::until;
use crate::world::{CLIENT, World};

/// Alters entry 3, the creation of a session, in the store.
fn alter(world: &World) {
    if world.is_in_postgres() {
        let statement = "ALTER TABLE guest_store.entries DISABLE TRIGGER ALL;
             UPDATE guest_store.entries SET bytes =
             convert_to(replace(convert_from(bytes, 'UTF8'), 'created', 'crEated'), 'UTF8') WHERE seq = 3;";
        return world.execute(statement);
    }
    let file = rusqlite::Connection::open(world.folder.path().join("gateway.db")).unwrap();
    let changed = file
        .execute_batch(
            "DROP TRIGGER entries_no_update;
             UPDATE entries SET bytes = CAST(replace(bytes, 'created', 'crEated') AS BLOB) WHERE seq = 3;
             CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
             BEGIN SELECT raise(ABORT, 'entries are never changed'); END;",
        )
        .is_ok();
    assert!(changed);
}

/// The detail of the first answer that is not 200.
async fn detail_of_health(api: &Api) -> String {
    until(async || api.send(Call::get("/health/ready")).await.status != StatusCode::OK).await;
    let health = api.send(Call::get("/health/ready")).await.json();
    health["notReady"][0]["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn gateway_refuses_an_altered_entry_and_is_not_ready_after_verification() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let [first, second] = [api.create(&guest()).await, api.create(&guest()).await];
    let trail = |session: &serde_json::Value| {
        Call::get(&format!("{SESSIONS}/{}/audit", session["id"].as_str().unwrap())).bearer(&api.token)
    };
    assert_eq!(api.send(trail(&first)).await.status, StatusCode::OK);
    alter(&world);
    assert_eq!(
        api.send(trail(&first)).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(api.send(trail(&second)).await.status, StatusCode::OK);
    let detail = detail_of_health(&api).await;
    assert!(detail.contains("entry 3 was altered"), "{detail}");

    let world = world.restart().await;
    let detail = detail_of_health(&api).await;
    assert!(detail.contains("entry 3 was altered"), "{detail}");
    world.stop().await;
}
