//! Rules of a messenger deployment.

use std::time::Duration;

/// Permissions of guests in the configuration of a deployment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the switches of a deployment's configuration, which are independent of each other"
)]
#[expect(clippy::exhaustive_structs, reason = "plain flags, made from a configuration")]
pub struct DeploymentRules {
    /// Files may be sent. Default: yes.
    pub attachments: bool,
    /// A new session joins automatically. Default: no.
    pub autostart: bool,
    /// The guest may clear the conversation. Default: yes; the service decides.
    pub clear: bool,
    /// Lifetime of a session after its last message, if the service does not report it. Default: unknown.
    pub session_duration: Option<Duration>,
    /// The guest's typing is shown to the agent. Default: yes.
    pub typing: bool,
}

impl Default for DeploymentRules {
    fn default() -> Self {
        Self {
            attachments: true,
            autostart: false,
            clear: true,
            session_duration: None,
            typing: true,
        }
    }
}
