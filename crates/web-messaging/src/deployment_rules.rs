//! Rules of a messenger deployment.

use std::time::Duration;

/// What a deployment lets its guests do, as its configuration says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the switches of a deployment's configuration, which are independent of each other"
)]
#[expect(
    clippy::exhaustive_structs,
    reason = "plain flags, made by whoever read the configuration"
)]
pub struct DeploymentRules {
    /// Files may be sent. Default: yes.
    pub attachments: bool,
    /// A new session joins by itself. Default: no.
    pub autostart: bool,
    /// The guest may clear the conversation. Default: yes; the service has the last word.
    pub clear: bool,
    /// How long a session lives after its last message, where the service does not say it. Default: not known.
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
