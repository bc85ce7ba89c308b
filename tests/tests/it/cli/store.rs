//! `store`: backup, restore, check, vacuum.

use std::os::unix::fs::PermissionsExt as _;

use genesys_http::Tls;

use super::Example;
use crate::api::{Call, SESSIONS};
use crate::process::{Ended, run};

async fn store(example: &Example, arguments: &[&str]) -> Ended {
    let config = example.write();
    let mut all = vec!["store"];
    all.extend(arguments);
    all.extend(["--config", &config]);
    run(all).await
}

fn succeeded(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[tokio::test]
async fn backup_of_a_running_gateway_is_restored() {
    let example = Example::new();
    let backup = example.path("backup.db").display().to_string();
    let serving = example.serve().await;
    let kept = serving.session().await;
    succeeded(&store(&example, &["backup", &backup]).await);
    succeeded(&store(&example, &["check"]).await);
    let later = serving.session().await;
    let locked = store(&example, &["restore", &backup, "--force"]).await;
    assert_eq!(locked.code, Some(2));
    assert!(
        locked.why().contains("in use by another process"),
        "{}",
        locked.why()
    );
    assert_eq!(serving.process.interrupt().await.code, Some(0));

    let mode = std::fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = store(&example, &["backup", &backup]).await;
    assert_eq!(again.code, Some(2));
    assert!(again.why().contains("it exists"), "{}", again.why());
    let refused = store(&example, &["restore", &backup]).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.why().contains("--force"), "{}", refused.why());
    let damaged = example.path("damaged.db");
    std::fs::write(&damaged, [b'x'; 10_000]).unwrap();
    let refused = store(&example, &["restore", &damaged.display().to_string(), "--force"]).await;
    assert_eq!(refused.code, Some(2));
    let restored = store(&example, &["restore", &backup, "--force"]).await;
    succeeded(&restored);
    succeeded(&store(&example, &["vacuum"]).await);
    succeeded(&store(&example, &["check"]).await);

    let serving = example.serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    for (session, status) in [(&kept, 200), (&later, 404)] {
        let path = format!("{SESSIONS}/{}", session["id"].as_str().unwrap());
        let answer = api.send(Call::get(&path).bearer(&api.token)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn restore_fills_an_empty_folder() {
    let example = Example::new();
    let backup = example.path("backup.db").display().to_string();
    let serving = example.serve().await;
    serving.session().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    succeeded(&store(&example, &["backup", &backup]).await);
    std::fs::remove_file(example.path("guest-gateway.db")).unwrap();
    let missing = store(&example, &["check"]).await;
    assert_eq!(missing.code, Some(2));
    assert!(missing.why().contains("no store"), "{}", missing.why());
    succeeded(&store(&example, &["restore", &backup]).await);
    succeeded(&store(&example, &["check"]).await);
}
