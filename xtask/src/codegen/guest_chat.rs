//! The component `<guest-chat>` as one file: the browser client, the modules of the component and its styles, joined.

use std::error::Error;

use super::browser_client::join;
use super::facts::Sources;

pub(super) const SOURCES: &[&str] = &[
    super::BROWSER_CLIENT,
    "clients/browser/src/guest-chat/texts.js",
    "clients/browser/src/guest-chat/dom.js",
    "clients/browser/src/guest-chat/form.js",
    "clients/browser/src/guest-chat/content.js",
    "clients/browser/src/guest-chat/consent.js",
    "clients/browser/src/guest-chat/transcript.js",
    "clients/browser/src/guest-chat/uploads.js",
    "clients/browser/src/guest-chat/composer.js",
    "clients/browser/src/guest-chat/scroller.js",
    "clients/browser/src/guest-chat/element.js",
    STYLES,
];

const STYLES: &str = "clients/browser/src/guest-chat/styles.css";

pub(super) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let styles = sources.text(STYLES)?;
    if styles.contains(['`', '\\', '$']) {
        return Err(format!(
            "cannot embed {STYLES}: a backtick, a backslash or a dollar sign would end the template string, remove it"
        )
        .into());
    }
    let modules: Vec<&str> = SOURCES.iter().copied().filter(|path| *path != STYLES).collect();
    Ok(format!(
        "const STYLES = `\n{styles}`;\n\n{}",
        join(&modules, sources)?
    ))
}
