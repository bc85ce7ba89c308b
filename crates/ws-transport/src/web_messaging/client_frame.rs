//! What a guest sends: one flat JSON object with an `action`.

use genesys_api::DeploymentId;
use secrecy::SecretString;
use serde::Serialize;

use super::CustomAttributes;
use crate::wire::{SecretText, Text};

/// A frame of the guest. `token` is the session itself, a bearer secret; `tracingId` comes back in the answer.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum ClientFrame<'a> {
    /// Leaves a read-only conversation, so that a new one can be configured on the same socket.
    CloseSession {
        /// The session.
        token: SecretText<'a>,
        /// Whether the session's other sockets are closed as well.
        close_all_connections: bool,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// The first frame of a signed-in guest's socket; on a guest's socket, it signs the guest in.
    ConfigureAuthenticatedSession {
        /// The session.
        token: SecretText<'a>,
        /// Its deployment.
        deployment_id: &'a DeploymentId,
        /// `true` only for a fresh conversation after a read-only one.
        start_new: bool,
        /// Who the guest is.
        data: AuthenticationData<'a>,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// The first frame of a socket: makes or resumes the session. At most 60 a minute a session.
    ConfigureSession {
        /// The session.
        token: SecretText<'a>,
        /// Its deployment.
        deployment_id: &'a DeploymentId,
        /// `true` only for a fresh conversation after a read-only one.
        start_new: bool,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// The service's own health check, at most 2 a minute a connection. The answer has the session's new expiry.
    Echo {
        /// The session.
        token: SecretText<'a>,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
        /// Any text.
        message: GuestMessage<'a>,
    },
    /// Asks for the token that reads the history; it lives for one minute.
    GetJwt {
        /// The session.
        token: SecretText<'a>,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// A message or an event of the guest.
    OnMessage {
        /// The session.
        token: SecretText<'a>,
        /// Comes back in the echo, which is the only acknowledgement of delivery.
        tracing_id: Text<'a>,
        /// The message.
        message: GuestMessage<'a>,
    },
}

impl ClientFrame<'_> {
    /// The frame as it travels.
    ///
    /// # Panics
    /// Never: every field can be JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("frames are plain structs with text keys")
    }
}

/// Who a signed-in guest is.
#[derive(Clone, Debug, Serialize)]
pub struct AuthenticationData<'a> {
    code: SecretText<'a>,
}

impl<'a> AuthenticationData<'a> {
    /// By the JWT of the exchange. Genesys calls the field `code`, but it is no authorization code.
    #[must_use]
    pub fn new(jwt: &'a SecretString) -> Self {
        Self { code: jwt.into() }
    }
}

/// What the guest says or does.
#[derive(Clone, Debug, Serialize)]
pub struct GuestMessage<'a>(Shape<'a>);

impl<'a> GuestMessage<'a> {
    /// Text, at most [`TEXT_LIMIT`](crate::TEXT_LIMIT) bytes, with the attributes that it carries.
    #[must_use]
    pub fn text(text: &'a str, attributes: Option<&'a CustomAttributes>) -> Self {
        Self(Shape::Text {
            text: text.into(),
            channel: attributes.map(Channel::new),
        })
    }

    /// The guest is typing; at most once in 5 s.
    #[must_use]
    pub fn typing() -> Self {
        Self(Shape::Event {
            events: [GuestEvent::Typing {
                typing: State { state: "On" },
            }],
            channel: None,
        })
    }

    /// The guest joins: starts the conversation before any text, where the deployment has autostart on.
    #[must_use]
    pub fn join(attributes: Option<&'a CustomAttributes>) -> Self {
        Self(Shape::Event {
            events: [GuestEvent::Presence {
                presence: State { state: "Join" },
            }],
            channel: attributes.map(Channel::new),
        })
    }

    /// The guest clears the conversation: it ends, and its history is lost. The deployment must allow it.
    #[must_use]
    pub fn clear() -> Self {
        Self(Shape::Event {
            events: [GuestEvent::Presence {
                presence: State { state: "Clear" },
            }],
            channel: None,
        })
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
enum Shape<'a> {
    Event {
        events: [GuestEvent; 1],
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<Channel<'a>>,
    },
    Text {
        text: Text<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<Channel<'a>>,
    },
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "eventType")]
enum GuestEvent {
    Presence { presence: State },
    Typing { typing: State },
}

#[derive(Clone, Debug, Serialize)]
struct State {
    #[serde(rename = "type")]
    state: &'static str,
}

/// Genesys' own clients put it inside `message`, and others beside it; the schema has both places.
#[derive(Clone, Debug, Serialize)]
struct Channel<'a> {
    metadata: ChannelMetadata<'a>,
}

impl<'a> Channel<'a> {
    fn new(custom_attributes: &'a CustomAttributes) -> Self {
        Self {
            metadata: ChannelMetadata { custom_attributes },
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChannelMetadata<'a> {
    custom_attributes: &'a CustomAttributes,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn assert_json(frame: &ClientFrame<'_>, expected: &str) {
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&frame.to_json()), value(expected));
        assert!(frame.to_json().starts_with(r#"{"action":""#));
        assert!(!format!("{frame:?}").contains("7d1f"), "{frame:?}");
    }

    #[test]
    fn every_action_has_the_shape_that_genesys_clients_send() {
        let secret = SecretString::from("7d1f");
        let token = SecretText::from(&secret);
        let deployment: DeploymentId = "b3c2".parse().unwrap();
        let tracing_id = Text::from("5b0e");
        let attributes =
            CustomAttributes::new(BTreeMap::from([("accountId".to_owned(), "42".to_owned())])).unwrap();
        let on_message = |message| ClientFrame::OnMessage {
            token: token.clone(),
            tracing_id: tracing_id.clone(),
            message,
        };
        assert_json(
            &ClientFrame::ConfigureSession {
                token: token.clone(),
                deployment_id: &deployment,
                start_new: false,
                tracing_id: tracing_id.clone(),
            },
            include_str!("../../tests/golden/client/configure-session.json"),
        );
        assert_json(
            &on_message(GuestMessage::text("Hello", Some(&attributes))),
            include_str!("../../tests/golden/client/text-with-attributes.json"),
        );
        assert_json(
            &on_message(GuestMessage::typing()),
            include_str!("../../tests/golden/client/typing.json"),
        );
        assert_json(
            &on_message(GuestMessage::join(Some(&attributes))),
            include_str!("../../tests/golden/client/join-with-attributes.json"),
        );
        assert_json(
            &on_message(GuestMessage::clear()),
            include_str!("../../tests/golden/client/clear.json"),
        );
        assert_json(
            &ClientFrame::Echo {
                token: token.clone(),
                tracing_id: tracing_id.clone(),
                message: GuestMessage::text("ping", None),
            },
            include_str!("../../tests/golden/client/echo.json"),
        );
        assert_json(
            &ClientFrame::GetJwt {
                token: token.clone(),
                tracing_id: tracing_id.clone(),
            },
            include_str!("../../tests/golden/client/get-jwt.json"),
        );
        assert_json(
            &ClientFrame::CloseSession {
                token: token.clone(),
                close_all_connections: true,
                tracing_id: tracing_id.clone(),
            },
            include_str!("../../tests/golden/client/close-session.json"),
        );
    }
}
