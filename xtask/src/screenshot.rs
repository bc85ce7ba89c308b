//! `screenshot`: makes the picture of the README anew. A test of the gate drives the browser and checks its size.

use std::error::Error;
use std::fs;
use std::path::Path;

use crate::workspace;

const TEST: &str = "screenshot_of_the_readme_can_be_made";
const PICTURE: &str = "docs/demo-shop.png";

/// Runs the test that opens the demo shop, and copies its picture.
pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let made = root.join("target/screenshots/demo-shop.png");
    // a picture of an earlier run must not pass for a new one
    let _absent = fs::remove_file(&made);
    let status = workspace::tool(root, "cargo")
        .args(["test", "--quiet", "--package", "end-to-end", "--test", "it", TEST])
        .status()?;
    if !made.exists() {
        return Err(format!("the test `{TEST}` made no picture, {status}: see above").into());
    }
    fs::copy(&made, root.join(PICTURE))?;
    println!("screenshot: wrote {PICTURE}: look at it before you commit it");
    Ok(())
}
