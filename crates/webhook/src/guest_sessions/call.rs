//! The calls of a client.

use bytes::Bytes;
use genesys_api::{Call, Host, ReplyError, WebhookId, json};
use http::{Method, Request, Response, StatusCode};
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

use super::Webhook;
use super::body::{self, Fields};
use crate::{Secret, Subscription};

const PATH: &str = "/api/v2/webhooks";

/// Registers a subscription, unless one of the same name and content is there: then that one is answered, and nothing
/// changes. One of the same name and another content is refused with 409 `webhook.name.in.use`.
///
/// So it can be sent twice. But the secret is only in the first answer: if that got lost, remove the webhook and
/// register it again.
#[derive(Clone, Copy, Debug)]
pub struct Register<'a> {
    /// What to register.
    pub subscription: &'a Subscription,
}

/// A subscription as the server has it now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Registered {
    /// Its id.
    pub id: WebhookId,
    /// Whether this call created it.
    pub created: bool,
    /// The secret that its deliveries are signed with, if this call made it. Keep it: it is never shown again.
    pub secret: Option<Secret>,
    /// What it asks for.
    pub subscription: Subscription,
}

impl Call for Register<'_> {
    type Reply = Registered;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::with_body(Method::POST, host, PATH, &body::value(self.subscription))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Registered, ReplyError> {
        registered(response)
    }
}

/// Replaces what a webhook asks for. Its secret stays.
#[derive(Clone, Copy, Debug)]
pub struct Replace<'a> {
    /// Which.
    pub id: &'a WebhookId,
    /// What it shall ask for.
    pub subscription: &'a Subscription,
}

impl Call for Replace<'_> {
    type Reply = Registered;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::with_body(Method::PUT, host, &path(self.id), &body::value(self.subscription))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Registered, ReplyError> {
        registered(response)
    }
}

/// Reads one webhook.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a> {
    /// Which.
    pub id: &'a WebhookId,
}

impl Call for Fetch<'_> {
    type Reply = Webhook;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::get(host, &path(self.id))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Webhook, ReplyError> {
        let status = response.status().as_u16();
        let value: Value = json::reply(response, ONE)?;
        webhook(value)
            .map(|(webhook, _)| webhook)
            .ok_or(ReplyError::Malformed {
                status,
                expected: ONE,
            })
    }
}

/// Reads all webhooks of the API client.
#[derive(Clone, Copy, Debug)]
pub struct List;

impl Call for List {
    type Reply = Vec<Webhook>;
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::get(host, PATH)
    }

    fn reply(&self, response: Response<Bytes>) -> Result<Vec<Webhook>, ReplyError> {
        const EXPECTED: &str = "a list of webhooks";
        let status = response.status().as_u16();
        let mut value: Value = json::reply(response, EXPECTED)?;
        let entities = value.get_mut("entities").map(Value::take).and_then(body::list);
        entities
            .and_then(|entities| {
                let read = |value| webhook(value).map(|(webhook, _)| webhook);
                entities.into_iter().map(read).collect()
            })
            .ok_or(ReplyError::Malformed {
                status,
                expected: EXPECTED,
            })
    }
}

/// Removes a webhook. What was not delivered yet is not delivered any more.
#[derive(Clone, Copy, Debug)]
pub struct Remove<'a> {
    /// Which.
    pub id: &'a WebhookId,
}

impl Call for Remove<'_> {
    type Reply = ();
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        json::delete(host, &path(self.id))
    }

    fn reply(&self, response: Response<Bytes>) -> Result<(), ReplyError> {
        json::accepted(response).map(|_| ())
    }
}

const ONE: &str = "a webhook";

fn path(id: &WebhookId) -> String {
    format!("{PATH}/{id}")
}

fn registered(response: Response<Bytes>) -> Result<Registered, ReplyError> {
    let status = response.status();
    let value: Value = json::reply(response, ONE)?;
    let malformed = ReplyError::Malformed {
        status: status.as_u16(),
        expected: ONE,
    };
    let (webhook, secret) = webhook(value).ok_or(malformed)?;
    Ok(Registered {
        id: webhook.id,
        created: status == StatusCode::CREATED,
        secret,
        subscription: webhook.subscription,
    })
}

/// Reads what a server answers. Fields that a later version may add are passed over.
fn webhook(value: Value) -> Option<(Webhook, Option<Secret>)> {
    let mut fields = Fields::of(value, "").ok()?;
    let id = fields
        .required("id", body::text, "a string")
        .ok()?
        .try_into()
        .ok()?;
    let secret = fields
        .optional("secret", body::text, "a string")
        .ok()?
        .map(Zeroizing::new);
    let secret = secret.map(|text| text.parse()).transpose().ok()?;
    let subscription = body::subscription(&mut fields).ok()?;
    Some((Webhook { id, subscription }, secret))
}

#[cfg(test)]
mod tests {
    use genesys_api::Problem;
    use serde_json::json;

    use super::*;
    use crate::EventName;

    fn subscription() -> Subscription {
        Subscription {
            name: "crm".parse().unwrap(),
            target: "https://crm.example/sync".parse().unwrap(),
            enabled: true,
            events: EventName::ALL.into_iter().collect(),
            headers: crate::CustomHeaders::default(),
        }
    }

    fn host() -> Host {
        "https://gateway.example".parse().unwrap()
    }

    fn answer(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
        Response::builder().status(status).body(body.into()).unwrap()
    }

    #[test]
    fn a_registration_is_read_by_the_servers_own_reader() {
        let subscription = subscription();
        let request = Register {
            subscription: &subscription,
        }
        .request(&host());
        assert_eq!((request.method(), request.uri().path()), (&Method::POST, PATH));
        assert_eq!(body::parse(request.body()), Ok(subscription.clone()));

        let id: WebhookId = "w-1".parse().unwrap();
        let request = Replace {
            id: &id,
            subscription: &subscription,
        }
        .request(&host());
        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::PUT, "/api/v2/webhooks/w-1")
        );
        assert_eq!(body::parse(request.body()), Ok(subscription));
        assert_eq!(Fetch { id: &id }.request(&host()).method(), Method::GET);
        assert_eq!(Remove { id: &id }.request(&host()).method(), Method::DELETE);
        assert_eq!(List.request(&host()).uri().path(), PATH);
    }

    #[test]
    fn what_a_server_renders_is_what_a_client_reads() {
        let subscription = subscription();
        let secret = Secret::generate([7; 32]);
        let webhook = Webhook {
            id: "w-1".parse().unwrap(),
            subscription: subscription.clone(),
        };
        let register = Register {
            subscription: &subscription,
        };

        let created = register
            .reply(answer(201, webhook.render(Some(&secret))))
            .unwrap();
        assert!(created.created);
        assert_eq!(created.secret.as_ref().map(Secret::expose), Some(secret.expose()));
        assert!(!format!("{created:?}").contains(&secret.expose()[6..]));

        let known = register.reply(answer(200, webhook.render(None))).unwrap();
        assert!(!known.created && known.secret.is_none());
        assert!(known.subscription.same_content(&subscription));
        assert_eq!(known.id, webhook.id);

        let fetch = Fetch { id: &webhook.id };
        assert_eq!(fetch.reply(answer(200, webhook.render(None))).unwrap(), webhook);
        let list = List
            .reply(answer(200, Webhook::render_list([&webhook, &webhook])))
            .unwrap();
        assert_eq!(list, [webhook.clone(), webhook.clone()]);
        assert_eq!(List.reply(answer(200, Webhook::render_list([]))).unwrap(), []);
        Remove { id: &webhook.id }.reply(answer(204, "")).unwrap();
    }

    #[test]
    fn a_later_field_is_passed_over_and_a_wrong_one_is_not() {
        let subscription = subscription();
        let mut body = body::value(&subscription);
        body["id"] = "w-1".into();
        body["status"] = json!({"state": "active"});
        let fetch = Fetch {
            id: &"w-1".parse().unwrap(),
        };
        assert!(fetch.reply(answer(200, body.to_string())).is_ok());
        for (field, value) in [
            ("id", json!(1)),
            ("id", json!("a/b")),
            ("uri", json!("nowhere")),
            ("secret", json!("x")),
        ] {
            let mut wrong = body.clone();
            wrong[field] = value;
            assert!(
                matches!(
                    fetch.reply(answer(200, wrong.to_string())),
                    Err(ReplyError::Malformed { status: 200, .. })
                ),
                "{wrong}"
            );
        }
        assert!(List.reply(answer(200, "[]")).is_err());
    }

    #[test]
    fn a_name_in_use_is_a_refusal() {
        let subscription = subscription();
        let problem = Problem::new(409, "webhook.name.in.use", "another webhook has this name");
        let body = serde_json::to_vec(&problem).unwrap();
        let error = Register {
            subscription: &subscription,
        }
        .reply(answer(409, body))
        .unwrap_err();
        assert_eq!(error.problem().unwrap().code, "webhook.name.in.use");
    }
}
