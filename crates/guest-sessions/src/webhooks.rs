//! Bodies of `/api/v2/webhooks`.

use std::collections::{BTreeMap, BTreeSet};

use genesys_api::WebhookId;
use genesys_api::strict_json::{BodyError, Field, Object};
use guest_payload::{Attributes, Jurisdiction};
use serde::{Serialize, Serializer};
use webhook::{Conditions, CustomHeaders, EventName, FieldSource, PublicKey, Secret, Subscription};

use crate::WebhookStatus;
use crate::session_event::{ALWAYS_SENT, ATTRIBUTES, FIELDS};

/// Most entries of `eventFilters`, and of a filter's `values`. Our choice.
const MOST: usize = 16;
/// Most characters of a constant, and of the value of an attribute. Our choice.
const MAX_TEXT: usize = 1024;
/// Fields of `consent` that `fields` can name.
const CONSENT_FIELDS: [&str; 11] = [
    "marketing",
    "personalization",
    "analytics",
    "policy",
    "policyVersion",
    "jurisdiction",
    "recordedAt",
    "gpc",
    "age",
    "purposes",
    "sensitive",
];
/// Most entries of `fields`. Our choice.
const MOST_FIELDS: usize = 32;

/// The body that registers or replaces a webhook.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionBody<'a>(pub &'a Subscription);

impl SubscriptionBody<'_> {
    /// Parses the body. `method` can only be `POST`, `enabled` is true by default, `ordered` false. The values of filters of the same type, or
    /// of the same attribute, are combined.
    ///
    /// # Errors
    /// If the body does not match the contract. No error repeats a value, but for that of a region.
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
    /// The shared secret that deliveries are signed with. Only the response that creates it has it, **in the clear**.
    pub secret: Option<Secret>,
    /// The public key of `v1a` signatures. The private key is never shown.
    pub public_key: Option<PublicKey>,
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
            public_key: self.public_key.map(|key| key.to_string()),
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
    ordered: bool,
    event_filters: Vec<Filter<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<&'a str, Source<'a>>,
    headers: BTreeMap<&'a str, &'a str>,
    signature: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a WebhookStatus>,
}

#[derive(Serialize)]
struct Filter<'a> {
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
struct Predicate<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    values: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Source<'a> {
    Constant { constant: &'a str },
    Path(&'a str),
}

impl<'a> From<&'a FieldSource> for Source<'a> {
    fn from(source: &'a FieldSource) -> Self {
        match source {
            FieldSource::Constant(constant) => Self::Constant { constant },
            FieldSource::Path(path) => Self::Path(path),
        }
    }
}

/// The filters of a type. One filter has at most 16 values.
fn filters<'a>(
    r#type: &'static str,
    name: Option<&'a str>,
    values: impl IntoIterator<Item = &'a str>,
) -> Vec<Filter<'a>> {
    let values: Vec<_> = values.into_iter().collect();
    let predicates = values.chunks(MOST).map(|values| Predicate {
        r#type,
        name,
        values: values.to_vec(),
    });
    predicates.map(|predicate| Filter { predicate }).collect()
}

impl<'a> Body<'a> {
    fn new(subscription: &'a Subscription) -> Self {
        let Conditions { regions, attributes } = &subscription.conditions;
        let mut event_filters = filters(
            EVENT,
            None,
            subscription.events.iter().map(|event| event.as_str()),
        );
        event_filters.extend(filters(REGION, None, regions.iter().map(String::as_str)));
        for (name, values) in attributes {
            event_filters.extend(filters(ATTRIBUTE, Some(name), values.iter().map(String::as_str)));
        }
        Self {
            id: None,
            name: subscription.name.as_str(),
            uri: subscription.target.as_str(),
            method: POST,
            enabled: subscription.enabled,
            ordered: subscription.ordered,
            event_filters,
            fields: subscription
                .fields
                .iter()
                .map(|(name, source)| (name.as_str(), source.into()))
                .collect(),
            headers: subscription.headers.iter().collect(),
            signature: subscription.signature.as_str(),
            secret: None,
            public_key: None,
            status: None,
        }
    }
}

const EVENT: &str = "event";
const REGION: &str = "region";
const ATTRIBUTE: &str = "attribute";
const POST: &str = "POST";

fn webhook(body: &mut Object<'_>) -> Result<Webhook, BodyError> {
    Ok(Webhook {
        id: body.required("id")?.parse()?,
        secret: body.optional("secret").map(|field| field.parse()).transpose()?,
        public_key: body
            .optional("publicKey")
            .map(|field| field.parse())
            .transpose()?,
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
    let mut boolean = |name| body.optional(name).map(|field| field.boolean()).transpose();
    let (enabled, ordered) = (boolean("enabled")?, boolean("ordered")?);
    let headers = body
        .optional("headers")
        .map(|field| custom_headers(&field))
        .transpose()?;
    let signature = body
        .optional("signature")
        .map(|field| field.parse())
        .transpose()?;
    let (name, target) = (body.required("name")?.parse()?, body.required("uri")?.parse()?);
    let (events, conditions) = parse_filters(&body.required("eventFilters")?)?;
    let fields = body
        .optional("fields")
        .map(|field| parse_fields(&field))
        .transpose()?;
    Ok(Subscription {
        name,
        target,
        enabled: enabled.unwrap_or(true),
        ordered: ordered.unwrap_or_default(),
        events,
        conditions,
        fields: fields.unwrap_or_default(),
        headers: headers.unwrap_or_default(),
        signature: signature.unwrap_or_default(),
    })
}

fn parse_filters(filters: &Field<'_>) -> Result<(BTreeSet<EventName>, Conditions), BodyError> {
    let (mut events, mut conditions) = (BTreeSet::new(), Conditions::default());
    for filter in bounded(filters)? {
        let mut filter = filter.object()?;
        let mut predicate = filter.required("predicate")?.object()?;
        filter.finish()?;
        let kind = predicate.required("type")?;
        match &*kind.text()? {
            EVENT => {
                for value in bounded(&predicate.required("values")?)? {
                    events.insert(value.parse()?);
                }
            }
            REGION => {
                for value in bounded(&predicate.required("values")?)? {
                    let region: Jurisdiction = value.parse()?;
                    conditions.regions.insert(region.as_str().to_owned());
                }
            }
            ATTRIBUTE => {
                let field = predicate.required("name")?;
                let name = field.text()?;
                if Attributes::default().insert(&*name, "").is_err() {
                    return Err(field.invalid("give 1 to 64 characters without control characters"));
                }
                let values = conditions.attributes.entry(name.to_string()).or_default();
                for value in bounded(&predicate.required("values")?)? {
                    values.insert(bounded_text(&value)?);
                }
            }
            _ => return Err(kind.invalid("give \"event\", \"region\" or \"attribute\"")),
        }
        predicate.finish()?;
    }
    match events.is_empty() {
        true => Err(filters.invalid("give a predicate of the type \"event\"")),
        false => Ok((events, conditions)),
    }
}

fn parse_fields(fields: &Field<'_>) -> Result<BTreeMap<String, FieldSource>, BodyError> {
    let entries: Vec<_> = fields.object()?.into_fields().collect();
    if entries.len() > MOST_FIELDS {
        return Err(fields.invalid(format_args!("give at most {MOST_FIELDS} entries")));
    }
    let source = |field: Field<'_>| {
        let name = field.name();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(is_name) {
            return Err(fields.invalid("a name has 1 to 64 characters of A-Z a-z 0-9 _ . -"));
        }
        if ALWAYS_SENT.contains(&name) {
            return Err(field.invalid("this field is always sent, choose another name"));
        }
        Ok((name.to_owned(), parse_source(&field)?))
    };
    entries.into_iter().map(source).collect()
}

fn parse_source(field: &Field<'_>) -> Result<FieldSource, BodyError> {
    if let Ok(mut object) = field.object() {
        let constant = bounded_text(&object.required("constant")?)?;
        object.finish()?;
        return Ok(FieldSource::Constant(constant));
    }
    let path = field
        .text()
        .map_err(|_| field.wrong_type("a path, or an object with a constant"))?;
    let (head, name) = path
        .split_once('.')
        .map_or((&*path, None), |(head, name)| (head, Some(name)));
    let is_known = match (head, name) {
        (_, None) => FIELDS.contains(&head),
        (ATTRIBUTES, Some(name)) => Attributes::default().insert(name, "").is_ok(),
        ("consent", Some(name)) => CONSENT_FIELDS.contains(&name),
        _ => false,
    };
    match is_known {
        true => Ok(FieldSource::Path(path.to_string())),
        false => Err(field.invalid(format_args!(
            "give one of {}, or {ATTRIBUTES}. and the name of an attribute, or consent. and one of {}",
            FIELDS.join(", "),
            CONSENT_FIELDS.join(", ")
        ))),
    }
}

fn bounded_text(field: &Field<'_>) -> Result<String, BodyError> {
    let text = field.text()?.to_string();
    match text.chars().count() {
        0..=MAX_TEXT => Ok(text),
        _ => Err(field.invalid(format_args!("give at most {MAX_TEXT} characters"))),
    }
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
                "ordered": false,
                "eventFilters": [{"predicate": {"type": "event", "values": [
                    "webmessaging.guestsession.created", "webmessaging.guestsession.updated"
                ]}}],
                "headers": {"x-source": "GenesysWebMessaging"},
                "signature": "v1",
            })
        );
        assert_eq!(parse(&body.to_string()), Ok(subscription));
    }

    #[test]
    fn conditions_round_trip_in_normal_form() {
        let values: Vec<String> = (0..20).map(|number| format!("v-{number}")).collect();
        let mut body: Value = serde_json::from_str(TUTORIAL).unwrap();
        let filter = |predicate: Value| json!({ "predicate": predicate });
        let filters = body["eventFilters"].as_array_mut().unwrap();
        filters.extend([
            filter(json!({"type": "region", "values": ["eu", "UK"]})),
            filter(json!({"type": "attribute", "name": "source", "values": values[..16]})),
            filter(json!({"type": "attribute", "name": "source", "values": values[10..]})),
            filter(json!({"type": "attribute", "name": "marketing.segment", "values": ["spring"]})),
        ]);
        let subscription = parse(&body.to_string()).unwrap();
        let Conditions { regions, attributes } = &subscription.conditions;
        assert_eq!(regions.iter().collect::<Vec<_>>(), ["EU", "GB"]);
        assert_eq!(attributes["source"].len(), 20);
        assert_eq!(attributes["marketing.segment"].len(), 1);
        let body = serde_json::to_string(&SubscriptionBody(&subscription)).unwrap();
        assert_eq!(parse(&body), Ok(subscription));
    }

    #[test]
    fn fields_round_trip() {
        let mut body: Value = serde_json::from_str(TUTORIAL).unwrap();
        let fields = json!({
            "contact": "guestId",
            "marketing": "consent.marketing",
            "origin": {"constant": "shop"},
            "segment": "guestAttributes.marketing.segment",
        });
        body["fields"] = fields.clone();
        body["ordered"] = json!(true);
        let subscription = parse(&body.to_string()).unwrap();
        assert!(subscription.ordered);
        assert_eq!(
            subscription.fields["origin"],
            FieldSource::Constant("shop".to_owned())
        );
        let body = serde_json::to_value(SubscriptionBody(&subscription)).unwrap();
        assert_eq!(body["fields"], fields);
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
        assert!(subscription.enabled && !subscription.ordered);
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
        let attribute = json!({"type": "attribute", "values": ["s3cret"]});
        refused(
            PREDICATE,
            Some(attribute),
            "eventFilters[0].predicate.name",
            DetailCode::FieldMissing,
        );
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
            ("/ordered", json!(1), "ordered"),
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
            ("/fields", json!(["s3cret"]), "fields"),
            ("/fields", json!({"x": 1}), "fields.x"),
            ("/fields", json!({"x": {"constant": 1}}), "fields.x.constant"),
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
            ("/signature", json!("s3cret"), "signature"),
            ("/fields", json!({"": "state"}), "fields"),
            ("/fields", json!({"s3cret name": "state"}), "fields"),
            (
                "/fields",
                json!({"sequence": {"constant": "1"}}),
                "fields.sequence",
            ),
            ("/fields", json!({"x": "s3cret"}), "fields.x"),
            ("/fields", json!({"x": "id"}), "fields.x"),
            ("/fields", json!({"x": "consent.s3cret"}), "fields.x"),
            ("/fields", json!({"x": "state.s3cret"}), "fields.x"),
            ("/fields", json!({"x": "guestAttributes."}), "fields.x"),
            (
                "/fields",
                json!({"x": {"constant": "s3cret".repeat(200)}}),
                "fields.x.constant",
            ),
            (
                "/fields",
                Value::Object(
                    (0..33)
                        .map(|number| (format!("f-{number}"), json!("state")))
                        .collect(),
                ),
                "fields",
            ),
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
            (
                PREDICATE,
                json!({"type": "region", "values": ["EU"]}),
                "eventFilters",
            ),
            (
                PREDICATE,
                json!({"type": "region", "values": ["Atlantis"]}),
                "eventFilters[0].predicate.values[0]",
            ),
            (
                PREDICATE,
                json!({"type": "attribute", "name": "s3cret\n", "values": ["x"]}),
                "eventFilters[0].predicate.name",
            ),
            (
                PREDICATE,
                json!({"type": "attribute", "name": "x", "values": ["s3cret".repeat(200)]}),
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
        let public_key = Secret::generate_private([7; 32]).public_key();
        let webhook = Webhook {
            id: "w-1".parse().unwrap(),
            subscription: parse(TUTORIAL).unwrap(),
            secret: Some(secret.clone()),
            public_key,
            status: None,
        };
        assert!(!format!("{webhook:?}").contains(&secret.expose()[6..]));
        let mut body = serde_json::to_value(&webhook).unwrap();
        body["status"] = json!({"state": "a later version"});
        let read = Webhook::parse(body.to_string().as_bytes()).unwrap();
        assert_eq!(read.secret.as_ref().map(Secret::expose), Some(secret.expose()));
        assert_eq!(read.public_key, public_key);
        assert_eq!((read.id, read.subscription), (webhook.id, webhook.subscription));
        for (field, value) in [
            ("id", json!(1)),
            ("id", json!("a/b")),
            ("uri", json!("nowhere")),
            ("secret", json!("x")),
            ("publicKey", json!(secret.expose())),
        ] {
            let mut wrong = body.clone();
            wrong[field] = value;
            assert!(Webhook::parse(wrong.to_string().as_bytes()).is_err(), "{wrong}");
        }
    }
}
