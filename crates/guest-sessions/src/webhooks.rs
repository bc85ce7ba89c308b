//! Bodies of `/api/v2/webhooks`.

use std::collections::{BTreeMap, BTreeSet};

use genesys_api::WebhookId;
use genesys_api::strict_json::{BodyError, Field, Object};
use serde::{Serialize, Serializer};
use webhook::{CustomHeaders, EventName, Secret, Subscription};

use crate::WebhookStatus;

/// Most entries of `eventFilters`, and of a filter's `values`. Our choice.
const MOST: usize = 16;

/// The body that registers or replaces a webhook.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionBody<'a>(pub &'a Subscription);

impl SubscriptionBody<'_> {
    /// Parses the body. `method` can only be `POST`, `enabled` is true by default. Several filters are combined.
    ///
    /// # Errors
    /// If the body does not match the contract. No error repeats a value.
    pub fn parse(bytes: &[u8]) -> Result<Subscription, BodyError> {
        let mut body = Object::parse(bytes)?;
        let subscription = subscription(&mut body)?;
        body.finish()?;
        Ok(subscription)
    }
}

impl Serialize for SubscriptionBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Body::new(self.0).serialize(serializer)
    }
}

/// A webhook of the gateway: the body of a response.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its id, assigned by the gateway.
    pub id: WebhookId,
    /// The subscription.
    pub subscription: Subscription,
    /// The secret that deliveries are signed with. Only the response that creates it has it, **in the clear**.
    pub secret: Option<Secret>,
    /// Its state and its queue. A list and a read have it.
    pub status: Option<WebhookStatus>,
}

impl Webhook {
    /// Parses the body of a response. Unknown fields are ignored: a later version of the gateway may add some.
    ///
    /// # Errors
    /// If a field is missing or invalid.
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        webhook(&mut Object::parse(bytes)?)
    }
}

impl Serialize for Webhook {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Body {
            id: Some(&self.id),
            secret: self.secret.as_ref().map(Secret::expose),
            status: self.status.as_ref(),
            ..Body::new(&self.subscription)
        }
        .serialize(serializer)
    }
}

/// All webhooks of an API client: the body of a response.
#[derive(Clone, Debug, Serialize)]
pub struct WebhookList {
    total: usize,
    entities: Vec<Webhook>,
}

impl WebhookList {
    /// Parses the body of a response.
    ///
    /// # Errors
    /// If a webhook of it is invalid.
    pub fn parse(bytes: &[u8]) -> Result<Vec<Webhook>, BodyError> {
        let entities = Object::parse(bytes)?.required("entities")?;
        let webhooks = entities.list()?.into_iter();
        webhooks.map(|entity| webhook(&mut entity.object()?)).collect()
    }
}

impl From<Vec<Webhook>> for WebhookList {
    fn from(entities: Vec<Webhook>) -> Self {
        Self {
            total: entities.len(),
            entities,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a WebhookId>,
    name: &'a str,
    uri: &'a str,
    method: &'static str,
    enabled: bool,
    event_filters: [Filter; 1],
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a WebhookStatus>,
}

#[derive(Serialize)]
struct Filter {
    predicate: Predicate,
}

#[derive(Serialize)]
struct Predicate {
    r#type: &'static str,
    values: Vec<&'static str>,
}

impl<'a> Body<'a> {
    fn new(subscription: &'a Subscription) -> Self {
        let predicate = Predicate {
            r#type: EVENT,
            values: subscription.events.iter().map(|event| event.as_str()).collect(),
        };
        Self {
            id: None,
            name: subscription.name.as_str(),
            uri: subscription.target.as_str(),
            method: POST,
            enabled: subscription.enabled,
            event_filters: [Filter { predicate }],
            headers: subscription.headers.iter().collect(),
            secret: None,
            status: None,
        }
    }
}

const EVENT: &str = "event";
const POST: &str = "POST";

fn webhook(body: &mut Object<'_>) -> Result<Webhook, BodyError> {
    Ok(Webhook {
        id: body.required("id")?.parse()?,
        secret: body.optional("secret").map(|field| field.parse()).transpose()?,
        // that of a later version may have other values
        status: body
            .optional("status")
            .and_then(|field| field.deserialize("a status").ok()),
        subscription: subscription(body)?,
    })
}

fn subscription(body: &mut Object<'_>) -> Result<Subscription, BodyError> {
    if let Some(method) = body.optional("method")
        && &*method.text()? != POST
    {
        return Err(method.invalid("deliveries are made by POST only"));
    }
    let enabled = body
        .optional("enabled")
        .map(|field| field.boolean())
        .transpose()?;
    let headers = body
        .optional("headers")
        .map(|field| custom_headers(&field))
        .transpose()?;
    Ok(Subscription {
        name: body.required("name")?.parse()?,
        target: body.required("uri")?.parse()?,
        enabled: enabled.unwrap_or(true),
        events: events(&body.required("eventFilters")?)?,
        headers: headers.unwrap_or_default(),
    })
}

fn events(filters: &Field<'_>) -> Result<BTreeSet<EventName>, BodyError> {
    let mut events = BTreeSet::new();
    for filter in bounded(filters)? {
        let mut filter = filter.object()?;
        let mut predicate = filter.required("predicate")?.object()?;
        filter.finish()?;
        let kind = predicate.required("type")?;
        if &*kind.text()? != EVENT {
            return Err(kind.invalid("the only type of predicate is \"event\""));
        }
        for value in bounded(&predicate.required("values")?)? {
            events.insert(value.parse()?);
        }
        predicate.finish()?;
    }
    Ok(events)
}

fn bounded<'a>(field: &Field<'a>) -> Result<Vec<Field<'a>>, BodyError> {
    let entries = field.list()?;
    match entries.len() {
        1..=MOST => Ok(entries),
        _ => Err(field.invalid(format_args!("give 1 to {MOST} entries"))),
    }
}

fn custom_headers(field: &Field<'_>) -> Result<CustomHeaders, BodyError> {
    let header = |field: Field<'_>| Ok((field.name().to_owned(), field.text()?.to_string()));
    let headers: Vec<_> = field
        .object()?
        .into_fields()
        .map(header)
        .collect::<Result<_, BodyError>>()?;
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    CustomHeaders::parse(headers).map_err(|error| field.rejected(error))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::DetailCode;

    /// As the founding tutorial sends it, but for the order of its keys.
    const TUTORIAL: &str = r#"{
        "name": "GuestSessionCRMSync",
        "uri": "https://your-crm-endpoint.com/api/guest-sync",
        "method": "POST",
        "enabled": true,
        "eventFilters": [{"predicate": {"type": "event", "values": [
            "webmessaging.guestsession.created", "webmessaging.guestsession.updated"
        ]}}],
        "headers": {"X-Source": "GenesysWebMessaging", "Content-Type": "application/json"}
    }"#;

    fn parse(body: &str) -> Result<Subscription, BodyError> {
        SubscriptionBody::parse(body.as_bytes())
    }

    #[test]
    fn body_of_the_tutorial_is_accepted_and_round_trips() {
        let subscription = parse(TUTORIAL).unwrap();
        assert_eq!(subscription.name.as_str(), "GuestSessionCRMSync");
        let body = serde_json::to_value(SubscriptionBody(&subscription)).unwrap();
        assert_eq!(
            body,
            json!({
                "name": "GuestSessionCRMSync",
                "uri": "https://your-crm-endpoint.com/api/guest-sync",
                "method": "POST",
                "enabled": true,
                "eventFilters": [{"predicate": {"type": "event", "values": [
                    "webmessaging.guestsession.created", "webmessaging.guestsession.updated"
                ]}}],
                "headers": {"x-source": "GenesysWebMessaging"},
            })
        );
        assert_eq!(parse(&body.to_string()), Ok(subscription));
    }

    #[test]
    fn optional_field_has_a_default() {
        let subscription = parse(
            r#"{"name": "n", "uri": "https://crm.example/", "eventFilters": [
            {"predicate": {"type": "event", "values": ["webmessaging.guestsession.ended"]}},
            {"predicate": {"type": "event", "values": ["webmessaging.guestsession.created"]}}
        ]}"#,
        )
        .unwrap();
        assert!(subscription.enabled);
        assert_eq!(subscription.headers, CustomHeaders::default());
        assert_eq!(subscription.events, [EventName::Created, EventName::Ended].into());
    }

    /// Changes one place of the tutorial's body, and compares the field and the code of the error.
    #[track_caller]
    fn refused(pointer: &str, value: Option<Value>, field: &str, code: DetailCode) {
        let mut body: Value = serde_json::from_str(TUTORIAL).unwrap();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap();
        match value {
            Some(value) if parent.is_array() => parent[key.parse::<usize>().unwrap()] = value,
            Some(value) => parent[key] = value,
            None => drop(parent.as_object_mut().unwrap().remove(key)),
        }
        let error = parse(&body.to_string()).unwrap_err();
        assert_eq!(
            (error.field(), DetailCode::of_body(&error)),
            (Some(field), Some(code)),
            "{error}"
        );
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    const PREDICATE: &str = "/eventFilters/0/predicate";
    const VALUES: &str = "/eventFilters/0/predicate/values";

    #[test]
    fn missing_or_unknown_field_is_named() {
        for (pointer, field) in [
            ("/name", "name"),
            ("/uri", "uri"),
            ("/eventFilters", "eventFilters"),
            (PREDICATE, "eventFilters[0].predicate"),
            (&format!("{PREDICATE}/type"), "eventFilters[0].predicate.type"),
            (VALUES, "eventFilters[0].predicate.values"),
        ] {
            refused(pointer, None, field, DetailCode::FieldMissing);
        }
        for (pointer, field) in [
            ("/secret", "secret"),
            ("/eventFilters/0/extra", "eventFilters[0].extra"),
            (&format!("{PREDICATE}/extra"), "eventFilters[0].predicate.extra"),
        ] {
            refused(pointer, Some(json!("s3cret")), field, DetailCode::FieldUnknown);
        }
    }

    #[test]
    fn value_of_another_type_is_refused_without_being_repeated() {
        for (pointer, value, field) in [
            ("/name", json!(7), "name"),
            ("/uri", json!(["s3cret"]), "uri"),
            ("/method", json!(null), "method"),
            ("/enabled", json!("true"), "enabled"),
            ("/eventFilters", json!({}), "eventFilters"),
            ("/eventFilters/0", json!("s3cret"), "eventFilters[0]"),
            (PREDICATE, json!(1), "eventFilters[0].predicate"),
            (VALUES, json!("s3cret"), "eventFilters[0].predicate.values"),
            (
                &format!("{VALUES}/1"),
                json!(1),
                "eventFilters[0].predicate.values[1]",
            ),
            ("/headers", json!([]), "headers"),
            ("/headers/X-Source", json!(1), "headers.X-Source"),
        ] {
            refused(pointer, Some(value), field, DetailCode::FieldType);
        }
    }

    #[test]
    fn value_that_is_not_allowed_is_refused_without_being_repeated() {
        let seventeen = |item: Value| Value::Array(vec![item; 17]);
        for (pointer, value, field) in [
            ("/name", json!(""), "name"),
            ("/name", json!("s3cret\n"), "name"),
            ("/uri", json!("http://s3cret.example/"), "uri"),
            ("/uri", json!("https://joe:s3cret@crm.example/"), "uri"),
            ("/method", json!("PUT"), "method"),
            ("/eventFilters", json!([]), "eventFilters"),
            ("/eventFilters", seventeen(json!({})), "eventFilters"),
            (
                &format!("{PREDICATE}/type"),
                json!("s3cret"),
                "eventFilters[0].predicate.type",
            ),
            (VALUES, json!([]), "eventFilters[0].predicate.values"),
            (
                VALUES,
                seventeen(json!("webmessaging.guestsession.ended")),
                "eventFilters[0].predicate.values",
            ),
            (
                &format!("{VALUES}/0"),
                json!("s3cret.created"),
                "eventFilters[0].predicate.values[0]",
            ),
            ("/headers/Authorization", json!("Bearer s3cret"), "headers"),
            ("/headers/X-Source", json!("s3cret\r\nx: y"), "headers"),
        ] {
            refused(pointer, Some(value), field, DetailCode::FieldValue);
        }
    }

    #[test]
    fn webhook_round_trips_and_debug_hides_its_secret() {
        let secret = Secret::generate([7; 32]);
        let webhook = Webhook {
            id: "w-1".parse().unwrap(),
            subscription: parse(TUTORIAL).unwrap(),
            secret: Some(secret.clone()),
            status: None,
        };
        assert!(!format!("{webhook:?}").contains(&secret.expose()[6..]));
        let mut body = serde_json::to_value(&webhook).unwrap();
        body["status"] = json!({"state": "a later version"});
        let read = Webhook::parse(body.to_string().as_bytes()).unwrap();
        assert_eq!(read.secret.as_ref().map(Secret::expose), Some(secret.expose()));
        assert_eq!((read.id, read.subscription), (webhook.id, webhook.subscription));
        for (field, value) in [
            ("id", json!(1)),
            ("id", json!("a/b")),
            ("uri", json!("nowhere")),
            ("secret", json!("x")),
        ] {
            let mut wrong = body.clone();
            wrong[field] = value;
            assert!(Webhook::parse(wrong.to_string().as_bytes()).is_err(), "{wrong}");
        }
    }
}
