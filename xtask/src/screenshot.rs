//! `screenshot`: makes the pictures of the documentation anew. Tests of the gate drive the browser.

use std::error::Error;
use std::fs;
use std::path::Path;

use crate::workspace;

/// The tests, each with the name of its picture.
const PICTURES: [(&str, &str); 2] = [
    ("screenshot_of_the_readme_can_be_made", "demo-shop.png"),
    (
        "dashboard_shows_sessions_live_and_the_timeline_of_one",
        "dashboard.png",
    ),
];

/// Runs the tests, and copies their pictures.
pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    for (test, picture) in PICTURES {
        let made = root.join("target/screenshots").join(picture);
        // a picture of an earlier run must not pass for a new one
        let _absent = fs::remove_file(&made);
        let status = workspace::tool(root, "cargo")
            .args(["test", "--quiet", "--package", "end-to-end", "--test", "it", test])
            .status()?;
        if !made.exists() {
            return Err(format!("the test `{test}` made no picture, {status}: see above").into());
        }
        fs::copy(&made, root.join("docs").join(picture))?;
        println!("screenshot: wrote docs/{picture}: look at it before you commit it");
    }
    Ok(())
}
