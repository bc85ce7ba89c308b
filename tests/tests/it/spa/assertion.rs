//! Assertions: what the backend of a page signs about its guest.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use ring::hmac;
use serde_json::{Value, json};

use super::{CREATE, Visit, consent, of_page, world_with};
use crate::api::Call;
use crate::sensitive::DIAGNOSIS;
use crate::world::{ASSERTION_SECRET, World};

/// The claims of an assertion.
#[derive(Clone)]
pub(crate) struct Claims {
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

impl Claims {
    /// Valid claims about a guest.
    pub(crate) fn of(world: &World, guest: &str) -> Self {
        let expiry = world.clock.now().utc.unix_timestamp() + 300;
        Self {
            header: json!({ "alg": "HS256", "kid": "tests" }),
            claims: json!({
                "sub": guest,
                "aud": world.gateway.host().to_string(),
                "exp": expiry,
                "jti": genesys_api::entropy::uuid().to_string(),
            }),
        }
    }

    /// Replaces a claim. `Null` removes it.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        match value.is_null() {
            true => drop(self.claims.as_object_mut().unwrap().remove(name)),
            false => self.claims[name] = value,
        }
        self
    }

    /// The assertion, signed with the secret of the tests.
    pub(crate) fn sign(&self) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&self.header), encode(&self.claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, ASSERTION_SECRET.as_bytes());
        format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
        )
    }
}

#[tokio::test]
async fn assertion_of_the_backend_names_the_guest_once() {
    let (world, api) = world_with("anonymous = false").await;
    let create = async |assertion: Option<String>| {
        let mut body = consent();
        if let Some(assertion) = assertion {
            body["assertion"] = assertion.into();
        }
        api.send(of_page(Call::post(CREATE).json(&body))).await
    };
    assert_eq!(create(None).await.json()["code"], "assertion.required");
    let assertion = Claims::of(&world, "guest-7").sign();
    let created = create(Some(assertion.clone())).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let path = format!(
        "{}/{}",
        crate::api::SESSIONS,
        created.json()["id"].as_str().unwrap()
    );
    assert_eq!(api.ask(Call::get(&path)).await["guestId"], "guest-7");
    let ensure_used = |replayed: Value| {
        assert_eq!(replayed["code"], "assertion.invalid");
        assert!(replayed["message"].as_str().unwrap().contains("used before"));
    };
    ensure_used(create(Some(assertion.clone())).await.json());
    let world = world.restart().await;
    ensure_used(create(Some(assertion)).await.json());
    let fresh = Claims::of(&world, "guest-7").sign();
    assert_eq!(create(Some(fresh)).await.status, StatusCode::OK);
    world.stop().await;
}

#[tokio::test]
async fn assertion_is_used_only_with_its_session() {
    let (world, api) = world_with("anonymous = false").await;
    let toml = world.toml.replace("\n[sessions]\n", "\n[sessions]\nlimit = 1\n");
    world.reload(&toml).await.unwrap();
    let create = async |assertion: &str| {
        let mut body = consent();
        body["assertion"] = assertion.into();
        api.send(of_page(Call::post(CREATE).json(&body))).await
    };
    let [first, second] = ["guest-7", "guest-8"].map(|guest| Claims::of(&world, guest).sign());
    // of two requests at once
    let (one, other) = tokio::join!(create(&first), create(&first));
    let (created, replayed) = match one.status {
        StatusCode::CREATED => (one, other),
        _ => (other, one),
    };
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    assert_eq!(replayed.json()["code"], "assertion.invalid");

    let refused = create(&second).await;
    assert_eq!(
        refused.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        refused.text
    );
    let end = Visit::of(&created).call(Call::new(Method::DELETE, "/spa/session"));
    assert_eq!(api.send(end).await.status, StatusCode::NO_CONTENT);
    let again = create(&second).await;
    assert_eq!(again.status, StatusCode::CREATED, "{}", again.text);
    let replayed = create(&second).await;
    assert_eq!(replayed.json()["code"], "assertion.invalid");
    world.stop().await;
}

#[tokio::test]
async fn guest_of_an_assertion_has_one_session_in_all_browsers() {
    let (world, api) = world_with("anonymous = false").await;
    let create = async |consent: Value| {
        let assertion = Claims::of(&world, "guest-7").sign();
        let body = json!({ "guestAttributes": { "region": "EU", "diagnosis": DIAGNOSIS }, "consent": consent, "assertion": assertion });
        let answer = api.send(of_page(Call::post(CREATE).json(&body))).await;
        (answer.status, Visit::of(&answer))
    };
    let mut choices = consent()["consent"].clone();
    let (status, first) = create(choices.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    choices["analytics"] = false.into();
    let (status, second) = create(choices.clone()).await;
    assert_eq!(
        (status, &second.session["id"]),
        (StatusCode::OK, &first.session["id"])
    );
    // the choice in the second browser counts in the first one
    let seen = first.fetch(&api).await.json();
    assert_eq!(seen["consent"], second.session["consent"]);
    assert_ne!(seen["consent"], first.session["consent"]);
    // a choice that was made before it
    choices["consentTimestamp"] = "2026-01-01T00:00:00Z".into();
    choices["analytics"] = true.into();
    let assertion = Claims::of(&world, "guest-7").sign();
    let body = json!({ "guestAttributes": { "region": "EU", "diagnosis": DIAGNOSIS }, "consent": choices, "assertion": assertion });
    let outdated = api.send(of_page(Call::post(CREATE).json(&body))).await;
    assert_eq!(outdated.json()["code"], "consent.outdated");
    api.send(first.call(Call::new(Method::DELETE, "/spa/session")))
        .await;
    choices.as_object_mut().unwrap().remove("consentTimestamp");
    let (status, next) = create(choices).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_ne!(next.session["id"], first.session["id"]);
    world.stop().await;
}

#[tokio::test]
async fn reload_changes_the_rules_of_pages_and_accepts_no_assertion_again() {
    let (world, api) = world_with("sessions_per_minute = 3").await;
    let create = async |assertion: Option<&str>| {
        let mut body = consent();
        if let Some(assertion) = assertion {
            body["assertion"] = assertion.into();
        }
        api.send(of_page(Call::post(CREATE).json(&body))).await
    };
    let visit = Visit::create(&api).await;
    let mut page = visit.open(&api).await;
    let [used, other] = ["guest-7", "guest-8"].map(|guest| Claims::of(&world, guest).sign());
    assert_eq!(create(Some(&used)).await.status, StatusCode::CREATED);

    let toml = world.toml.replace("\n[spa]\n", "\n[spa]\nanonymous = false\n");
    let reloaded = world.reload(&toml).await.unwrap();
    assert!(reloaded.changed.iter().eq(["spa.anonymous"]), "{reloaded:?}");
    let replayed = create(Some(&used)).await.json();
    assert!(
        replayed["message"].as_str().unwrap().contains("used before"),
        "{replayed}"
    );
    // the third of this minute was the last one
    assert_eq!(create(None).await.status, StatusCode::TOO_MANY_REQUESTS);
    let toml = toml.replace("sessions_per_minute = 3", "sessions_per_minute = 30");
    let toml = toml.replace("id = \"tests\"", "id = \"renamed\"");
    let reloaded = world.reload(&toml).await.unwrap();
    assert!(
        reloaded
            .changed
            .iter()
            .eq(["spa.assertion_key", "spa.sessions_per_minute"])
    );
    assert_eq!(create(None).await.json()["code"], "assertion.required");
    assert_eq!(create(Some(&other)).await.json()["code"], "assertion.invalid");

    // what cannot change while pages have their credentials
    let moved = toml.replace("\n[spa]\n", "\n[spa]\nembedding = \"cross-site\"\n");
    let refused = world.reload(&moved).await.unwrap_err().to_string();
    assert!(refused.contains("spa.embedding needs a restart"), "{refused}");
    page.message("hello").await;
    page.until("message").await;
    assert_eq!(visit.fetch(&api).await.status, StatusCode::OK);
    world.stop().await;
}
