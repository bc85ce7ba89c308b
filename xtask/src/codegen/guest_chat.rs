//! The component `<guest-chat>` as one file: the browser client, its own modules and its styles, joined.

use std::error::Error;
use std::fmt::Write;

use super::facts::Sources;
use super::{
    CLIENT, CLIENTS, CONTRACT, CONTRACT_ERRORS, SHARED_STREAM, SPA_CLIENT, STREAM_CLIENT, browser_client,
};

/// The sources of the client, and the modules, each after those that it needs when it is evaluated.
pub(crate) const SOURCES: &[&str] = &[
    CONTRACT,
    CONTRACT_ERRORS,
    CLIENT,
    SPA_CLIENT,
    STREAM_CLIENT,
    SHARED_STREAM,
    "clients/browser/src/guest-chat/texts.js",
    "clients/browser/src/guest-chat/dom.js",
    "clients/browser/src/guest-chat/form.js",
    "clients/browser/src/guest-chat/content.js",
    "clients/browser/src/guest-chat/consent.js",
    "clients/browser/src/guest-chat/transcript.js",
    "clients/browser/src/guest-chat/uploads.js",
    ELEMENT,
    STYLES,
];

const STYLES: &str = "clients/browser/src/guest-chat/styles.css";
/// The module whose exports are those of the file, with those of the client.
const ELEMENT: &str = "clients/browser/src/guest-chat/element.js";

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let styles = sources.text(STYLES)?;
    if styles.contains(['`', '\\', '$']) {
        return Err(format!(
            "cannot embed {STYLES}: a backtick, a backslash or a dollar sign would end the template string, remove it"
        )
        .into());
    }
    let mut code = browser_client::generate(sources)?;
    write!(code, "\nconst STYLES = `\n{styles}`;\n")?;
    let is_module =
        |path: &&&str| ![CONTRACT, CONTRACT_ERRORS, STYLES].contains(*path) && !CLIENTS.contains(*path);
    for path in SOURCES.iter().filter(is_module) {
        code.push('\n');
        code.push_str(module(sources.text(path)?, *path == ELEMENT).trim());
        code.push('\n');
    }
    Ok(code)
}

/// The module without imports, and without exports unless they are those of the file.
fn module(text: &str, exports: bool) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("import "));
    let lines = lines.map(|line| match line.strip_prefix("export ") {
        Some(rest) if !exports => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_has_no_imports_and_only_the_exports_of_the_file() {
        let text = "import { a } from \"./a.js\";\n\nexport function b() {}\nfunction c() {}\n";
        assert_eq!(module(text, false), "\nfunction b() {}\nfunction c() {}");
        assert_eq!(module(text, true), "\nexport function b() {}\nfunction c() {}");
    }
}
