//! The component `<guest-chat>` in a browser: its parts, and its appearance.

use std::path::PathBuf;

use serde_json::json;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::chromium::Browser;
use left_out::{Missing, leave_out, target};

/// The checks of accessibility. They are an npm package.
const AXE: Missing = Missing {
    program: "axe-core",
    install: "npm install --prefix target/axe axe-core@4.14.1",
};

/// The shadow tree of the component.
pub(crate) const ROOT: &str = "document.querySelector('guest-chat').shadowRoot";

/// A size of the page. The one of the name `dark` has the dark color scheme.
pub(crate) struct Look {
    pub(crate) name: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Browser {
    /// Waits until an element of the component is shown.
    pub(crate) async fn see(&mut self, selector: &str) {
        self.until(&format!("{ROOT}.querySelector({selector:?}).checkVisibility()"))
            .await;
    }

    /// Waits until the last message contains a text.
    pub(crate) async fn read(&mut self, text: &str) {
        let last = format!("[...{ROOT}.querySelectorAll('.message')].at(-1).textContent.includes({text:?})");
        self.until(&last).await;
    }

    /// Clicks on an element of the component.
    pub(crate) async fn click(&mut self, selector: &str) {
        self.see(selector).await;
        self.evaluate(&format!("{ROOT}.querySelector({selector:?}).click()"))
            .await;
    }

    /// Writes a message by keyboard, and waits until it is delivered.
    pub(crate) async fn write_message(&mut self, text: &str) {
        self.evaluate(&format!("{ROOT}.querySelector('textarea.compose').focus()"))
            .await;
        self.write(text).await;
        self.press("Enter").await;
        let sent = format!(
            "[...{ROOT}.querySelectorAll('.own')].at(-1).matches('.sent') && [...{ROOT}.querySelectorAll('.own')].at(-1).textContent.includes({text:?})"
        );
        self.until(&sent).await;
    }

    /// Checks the page in these looks, and takes a picture of each. Without axe-core, its checks alone are left out.
    pub(crate) async fn check_looks(&mut self, name: &str, looks: &[Look]) {
        let axe = axe().await;
        for look in looks {
            let scheme = if look.name == "dark" { "dark" } else { "light" };
            let name = format!("{name}-{}", look.name);
            self.show_as(look.width, look.height, scheme).await;
            let wide = "document.documentElement.scrollWidth > innerWidth || \
                 [...(document.querySelector('guest-chat')?.shadowRoot.querySelectorAll('.log, .consent, .message') ?? [])]\
                 .some((part) => part.scrollWidth > part.clientWidth + 1)";
            let is_wide = self.evaluate(wide).await;
            assert_eq!(is_wide, false, "{name}: wider than the page");
            if let Some(axe) = axe {
                // the page's policy allows no script but its own: the browser evaluates this one
                self.evaluate(&format!("{axe};0")).await;
                let violations = "axe.run(document).then(({ violations }) => violations.map(({ id, nodes }) => \
                                  id + ': ' + nodes.map(({ target, failureSummary }) => target + ' ' + failureSummary).join('; ')))";
                let found = self.evaluate(violations).await;
                assert_eq!(found, json!([]), "{name}");
            }
            let picture = target().join(format!("screenshots/{name}.png"));
            self.screenshot(&picture).await;
        }
    }

    /// Checks that nothing was written to the console, and no request left the machine.
    pub(crate) fn check_quiet(&self) {
        assert!(self.console.is_empty(), "{:?}", self.console);
        for url in &self.requests {
            let local = ["http://127.0.0.1:", "ws://127.0.0.1:", "data:"];
            assert!(local.iter().any(|start| url.starts_with(start)), "{url}");
        }
    }
}

/// The script of axe-core. The first test installs it below the target folder. `None` if npm or its registry is out of reach.
async fn axe() -> Option<&'static str> {
    static SCRIPT: OnceCell<Option<String>> = OnceCell::const_new();
    let script = SCRIPT.get_or_init(async || {
        let script = install_axe().await;
        if script.is_none() {
            leave_out("the checks of guest-chat by axe", AXE);
        }
        script
    });
    script.await.as_deref()
}

async fn install_axe() -> Option<String> {
    let folder: PathBuf = target().join("axe");
    let script = folder.join("node_modules/axe-core/axe.min.js");
    if !script.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let install = Command::new("npm")
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "axe-core@4.14.1",
                "--prefix",
            ])
            .arg(&folder)
            .output();
        install.await.ok().filter(|output| output.status.success())?;
    }
    std::fs::read_to_string(script).ok()
}
