//! `consent export`: the controller's records and the guests' receipts.

use serde_json::Value;

use super::Example;
use crate::process::{Ended, run};

async fn export(example: &Example, more: &[&str]) -> (Ended, Vec<Value>) {
    let out = example.path(&format!("consent-{}.jsonl", genesys_api::entropy::number()));
    let config = example.write();
    let path = out.display().to_string();
    let mut arguments = vec!["consent", "export", "--config", &config, "--out", &path];
    arguments.extend(more);
    let ended = run(arguments).await;
    let text = std::fs::read_to_string(&out).unwrap_or_default();
    (
        ended,
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

#[tokio::test]
async fn consent_export_has_choices_and_controller() {
    let mut example = Example::new();
    example.text.push_str(
        "\n[controller]\nwithdrawal_method = \"https://shop.example/consent\"\n\n[[controller.pii_controllers]]\n\
         party_id = \"shop\"\nparty_name = \"Shop Ltd\"\n\n[[controller.pii_processors]]\nparty_id = \"cloud\"\n\
         party_name = \"Cloud Ltd\"\n",
    );
    let serving = example.serve().await;
    let session = serving.session().await;
    let other = serving.session().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));

    let (ended, records) = export(&example, &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.starts_with("2 records exported to "), "{}", ended.out);
    for session in [&session, &other] {
        let id = &session["id"];
        let record = records.iter().find(|record| &record["record_id"] == id).unwrap();
        assert_eq!(record["pii_principal_id"], session["guestId"]);
        assert_eq!(record["pii_controllers"][0]["party_name"], "Shop Ltd");
        assert_eq!(record["purposes"][0]["lawful_basis"], "consent");
    }

    let only = session["id"].as_str().unwrap();
    let (ended, receipts) = export(&example, &["--receipts", "--session", only]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0]["record_id"], only);
    assert_eq!(receipts[0]["withdrawal_method"], "https://shop.example/consent");
    assert!(receipts[0].get("pii_processors").is_none());

    let (ended, _) = export(&example, &["--session", "nobody"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(
        ended.error_line().contains("no session nobody in the store"),
        "{}",
        ended.err
    );
    // a process that was killed leaves a partial file only
    let (out, config) = (example.path("consent.jsonl"), example.write());
    let path = out.display().to_string();
    std::fs::write(example.path("consent.jsonl.partial"), "{").unwrap();
    let busy = run(["consent", "export", "--config", &config, "--out", &path]).await;
    assert_eq!(busy.code, Some(2), "{}", busy.err);
    assert!(
        busy.error_line().contains("consent.jsonl.partial"),
        "{}",
        busy.err
    );
    // the failed exports made no file, and no entry
    let files = std::fs::read_dir(example.folder.path()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("consent-")).count(), 2);
    assert!(!out.exists());
    let tail = run(["audit", "tail", "--lines", "100", "--config", &config]).await;
    assert_eq!(tail.out.matches(" consent.exported ").count(), 2, "{}", tail.out);
}
