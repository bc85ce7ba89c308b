//! The pages for operators: their commands run as shown.

use super::{Example, root};
use crate::process::program;

/// Runs the `sh` blocks of a page in the folder of the example.
async fn run_blocks(page: &str, example: &Example) {
    let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
    let blocks: Vec<&str> = text
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty(), "{page}");
    let folder = program().parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    for block in blocks {
        let mut shell = tokio::process::Command::new("sh");
        shell
            .args(["-euc", block])
            .env("PATH", &path)
            .current_dir(example.folder.path());
        let ended = shell.output().await.unwrap();
        let err = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{page}: {block}{err}");
    }
}

#[tokio::test]
async fn commands_of_the_pages_run_as_shown() {
    run_blocks("install.md", &Example::new()).await;
    for page in ["upgrade.md", "backup.md"] {
        let example = Example::new();
        assert_eq!(example.serve().await.process.interrupt().await.code, Some(0));
        run_blocks(page, &example).await;
    }
}
