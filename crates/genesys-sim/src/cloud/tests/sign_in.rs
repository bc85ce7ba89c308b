//! Sign-in, step-up, refresh and sign-out of guests.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;

use super::*;
use crate::config::SignInRules;

pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const OTHER: &str = "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c12";
pub(super) const EXCHANGE: &str = "/api/v2/webdeployments/token/oauthcodegrantjwtexchange";
pub(super) const REFRESH: &str = "/api/v2/webdeployments/token/refresh";
pub(super) const REVOKE: &str = "/api/v2/webdeployments/token/revoke";

pub(super) fn authorize(extra: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, VERIFIER.as_bytes()));
    format!(
        "/oauth/authorize?response_type=code&client_id=app&redirect_uri=https%3A%2F%2Fapp.test%2Fback%3Fa%3D1\
         &scope=openid&state=s%201&code_challenge={challenge}&code_challenge_method=S256&nonce=n{extra}"
    )
}

pub(super) fn exchange(code: &str, verifier: &str) -> Value {
    json!({"deploymentId": DEPLOYMENT, "oauth": {"code": code, "redirectUri": "https://app.test/back?a=1",
        "codeVerifier": verifier, "nonce": "n"}})
}

pub(super) fn signed_in(token: &str, jwt: &str) -> Value {
    json!({"action": "configureAuthenticatedSession", "token": token, "deploymentId": DEPLOYMENT,
        "data": {"code": jwt}, "tracingId": "t-1"})
}

impl Harness {
    pub(super) fn location(&mut self, path: &str) -> String {
        let (response, _) = get(&mut self.cloud, path, self.now);
        assert_eq!(response.status(), 302, "{path}");
        response.headers()["location"].to_str().unwrap().to_owned()
    }

    pub(super) fn code(&mut self, extra: &str) -> String {
        let location = self.location(&authorize(extra));
        let (_, query) = location.split_once("?a=1&").unwrap();
        assert!(query.ends_with("&state=s+1"), "{location}");
        crate::query::parameter(query, "code").unwrap()
    }

    /// JWT and refresh token.
    pub(super) fn sign_in(&mut self, extra: &str) -> (String, String) {
        let code = self.code(extra);
        let (response, body) = self.call("POST", EXCHANGE, "", &exchange(&code, VERIFIER));
        assert_eq!(response.status(), 200, "{body}");
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        (text("jwt"), text("refreshToken"))
    }

    fn status(&mut self, method: &str, path: &str, bearer: &str, body: &Value) -> u16 {
        self.call(method, path, bearer, body).0.status().as_u16()
    }
}

#[test]
fn code_is_exchanged_once_with_its_verifier() {
    let mut harness = Harness::quiet();
    let code = harness.code("");
    let wrong = exchange(&code, &"x".repeat(43));
    assert_eq!(harness.status("POST", EXCHANGE, "", &wrong), 401);
    assert_eq!(
        harness.status("POST", EXCHANGE, "", &exchange(&code, VERIFIER)),
        401,
        "the code is used"
    );
    let code = harness.code("");
    assert_eq!(
        harness.status("POST", EXCHANGE, "", &exchange(&code, VERIFIER)),
        200
    );
    assert_eq!(
        harness.status("POST", EXCHANGE, "", &exchange(&code, VERIFIER)),
        401
    );

    for change in [
        |body: &mut Value| body["oauth"]["redirectUri"] = json!("https://app.test/elsewhere"),
        |body: &mut Value| body["oauth"]["nonce"] = json!("other"),
        |body: &mut Value| {
            body["oauth"].as_object_mut().unwrap().remove("codeVerifier");
        },
    ] {
        let code = harness.code("");
        let mut body = exchange(&code, VERIFIER);
        change(&mut body);
        assert_eq!(harness.status("POST", EXCHANGE, "", &body), 401, "{body}");
    }
    let code = harness.code("");
    harness.advance(Duration::from_secs(300));
    assert_eq!(
        harness.status("POST", EXCHANGE, "", &exchange(&code, VERIFIER)),
        401,
        "too late"
    );
    let mut elsewhere = exchange(&code, VERIFIER);
    elsewhere["deploymentId"] = json!("other");
    assert_eq!(harness.status("POST", EXCHANGE, "", &elsewhere), 404);
    for broken in [
        json!([]),
        json!({"deploymentId": DEPLOYMENT}),
        json!({"deploymentId": DEPLOYMENT, "oauth": {}}),
    ] {
        assert_eq!(harness.status("POST", EXCHANGE, "", &broken), 400);
    }
    assert_eq!(harness.cloud.violations.list(), []);
}

#[test]
fn provider_refuses_invalid_authorization_requests() {
    let mut harness = Harness::quiet();
    let good = authorize("");
    for bad in [
        good.replace("client_id=app", "client_id="),
        good.replace("redirect_uri=https%3A%2F%2F", "redirect_uri=javascript%3A"),
        good.replace("back%3F", "back%23"),
    ] {
        assert_eq!(
            get(&mut harness.cloud, &bad, harness.now).0.status(),
            400,
            "{bad}"
        );
    }
    for (bad, error) in [
        (good.replace("method=S256", "method=plain"), "invalid_request"),
        (
            good.replace("response_type=code", "response_type=token"),
            "unsupported_response_type",
        ),
    ] {
        let location = harness.location(&bad);
        assert!(
            location.contains(&format!("error={error}&state=s+1")),
            "{location}"
        );
    }
    harness.cloud.rules.sign_in.redirect_uris = Some(vec!["https://app.test/".to_owned()]);
    assert_eq!(
        get(&mut harness.cloud, &good, harness.now).0.status(),
        400,
        "not exactly that location"
    );
}

#[test]
fn id_token_yields_a_jwt_without_refresh() {
    let mut harness = Harness::quiet();
    let location = harness.location(&authorize("").replace("response_type=code", "response_type=id_token"));
    let (_, fragment) = location.split_once('#').unwrap();
    let token = crate::query::parameter(fragment, "id_token").unwrap();
    let body = |nonce: &str| json!({"deploymentId": DEPLOYMENT, "oauth": {"idToken": token, "nonce": nonce}});
    assert_eq!(harness.status("POST", EXCHANGE, "", &body("other")), 401);
    let (response, body) = harness.call("POST", EXCHANGE, "", &body("n"));
    assert_eq!(response.status(), 200);
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    let socket = harness.connect();
    let jwt = body["jwt"].as_str().unwrap().to_owned();
    assert_eq!(code(&harness.ask(socket, signed_in(TOKEN, &jwt))), 200);
}

#[test]
fn jwt_expires_after_fifteen_minutes_and_is_refreshed_for_a_day() {
    let mut harness = Harness::quiet();
    let (jwt, refresh) = harness.sign_in("");
    harness.advance(Duration::from_secs(900));
    let socket = harness.connect();
    assert_eq!(code(&harness.ask(socket, signed_in(TOKEN, &jwt))), 401);
    assert_eq!(code(&harness.ask(socket, signed_in(TOKEN, "no.jwt.at-all"))), 401);
    assert_eq!(harness.status("DELETE", REVOKE, &jwt, &json!({})), 401);
    let body = json!({"refreshToken": refresh, "deploymentId": DEPLOYMENT});
    let (_, fresh) = harness.call("POST", REFRESH, "", &body);
    assert_eq!(fresh.as_object().unwrap().len(), 1, "the refresh token stays");
    let fresh = fresh["jwt"].as_str().unwrap().to_owned();
    assert_eq!(code(&harness.ask(socket, signed_in(TOKEN, &fresh))), 200);
    harness.advance(Duration::from_secs(86_400 - 901));
    let (_, last) = harness.call("POST", REFRESH, "", &json!({"refreshToken": refresh}));
    let last = last["jwt"].as_str().unwrap().to_owned();
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.status("POST", REFRESH, "", &body), 401);
    let refused = harness.ask(socket, signed_in(TOKEN, &last));
    assert_eq!(code(&refused), 403);
    assert!(
        refused["body"]
            .as_str()
            .unwrap()
            .starts_with("Try to authenticate again")
    );
}

#[test]
fn signed_in_session_cannot_be_downgraded() {
    let mut harness = Harness::quiet();
    let (jwt, _) = harness.sign_in("");
    let socket = harness.connect();
    let answer = harness.ask(socket, signed_in(TOKEN, &jwt));
    assert_eq!(
        (&answer["class"], &answer["body"]["newSession"]),
        (&json!("SessionResponse"), &json!(true))
    );
    assert_eq!(
        harness.ask(socket, text("hi"))["body"]["metadata"]["authenticated"],
        "true"
    );
    assert_eq!(code(&harness.ask(socket, configure())), 4017);
    let (other, _) = harness.sign_in("&login_hint=eve");
    let refused = harness.ask(socket, signed_in(TOKEN, &other));
    assert_eq!(code(&refused), 403);
    assert!(
        refused["body"]
            .as_str()
            .unwrap()
            .starts_with("Session authentication failed")
    );
    let again = harness.connect();
    assert_eq!(
        harness.ask(again, signed_in(TOKEN, &jwt))["body"]["newSession"],
        false
    );
}

#[test]
fn step_up_closes_the_other_sockets() {
    let mut harness = Harness::quiet();
    let (jwt, _) = harness.sign_in("");
    let earlier = harness.connect();
    harness.ask(earlier, signed_in(OTHER, &jwt));
    let (socket, sibling) = (harness.guest(), harness.guest());
    harness.ask(socket, configure());
    harness.send_frame(socket, signed_in(TOKEN, &jwt));
    let received = harness.received();
    let classes: Vec<_> = received
        .iter()
        .map(|(to, received)| match received {
            Received::Frame(frame) => (*to, frame["class"].as_str().unwrap()),
            Received::Closed(_) => (*to, "closed"),
        })
        .collect();
    assert_eq!(
        classes,
        [
            (sibling, "ConnectionClosedEvent"),
            (sibling, "closed"),
            (earlier, "SessionClearedEvent"),
            (earlier, "ConnectionClosedEvent"),
            (earlier, "closed"),
            (socket, "SessionResponse"),
            (socket, "StructuredMessage"),
        ]
    );
    let frame = |index: usize| match &received[index].1 {
        Received::Frame(frame) => frame.clone(),
        Received::Closed(code) => panic!("closed with {code}"),
    };
    assert_eq!(frame(0)["body"], json!({"reason": "signedIn"}));
    assert_eq!(frame(5)["body"]["clearedExistingSession"], true);
    assert_eq!(frame(5)["body"]["newSession"], false);
    assert_eq!(frame(6)["body"]["events"][0]["presence"]["type"], "SignIn");
    assert_eq!(
        frame(6)["body"]["channel"]["from"],
        json!({"firstName": "Jo", "lastName": "Doe"})
    );
}

#[test]
fn step_up_needs_permission() {
    let mut harness = Harness::new(Rules {
        sign_in: SignInRules {
            allow_session_upgrade: false,
            ..SignInRules::default()
        },
        limits: Limits::none(),
        ..rules()
    });
    let (jwt, _) = harness.sign_in("");
    let socket = harness.guest();
    assert_eq!(code(&harness.ask(socket, signed_in(TOKEN, &jwt))), 403);
    assert_eq!(
        code(&harness.ask(socket, signed_in(OTHER, &jwt))),
        200,
        "a session of its own is"
    );
}

#[test]
fn sign_out_applies_to_all_sessions_of_the_user() {
    let mut harness = Harness::quiet();
    let (jwt, refresh) = harness.sign_in("");
    let (elsewhere, _) = harness.sign_in("");
    let (other, _) = harness.sign_in("&login_hint=eve");
    let sockets = [TOKEN, OTHER, "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c13"]
        .into_iter()
        .zip([&jwt, &elsewhere, &other])
        .map(|(token, jwt)| {
            let socket = harness.connect();
            harness.ask(socket, signed_in(token, jwt));
            socket
        })
        .collect::<Vec<_>>();
    harness.received();
    assert_eq!(harness.status("DELETE", REVOKE, &jwt, &json!({})), 204);
    let logout =
        || Received::Frame(json!({"type": "message", "class": "LogoutEvent", "code": 200, "body": {}}));
    assert_eq!(
        harness.received(),
        [(sockets[0], logout()), (sockets[1], logout())]
    );
    assert_eq!(code(&harness.ask(sockets[0], text("hi"))), 4007);
    assert_eq!(code(&harness.ask(sockets[0], signed_in(TOKEN, &jwt))), 403);
    assert_eq!(
        harness.status("POST", REFRESH, "", &json!({"refreshToken": refresh})),
        401
    );
    assert_eq!(harness.status("DELETE", REVOKE, &jwt, &json!({})), 401);
    assert_eq!(harness.status("DELETE", REVOKE, "", &json!({})), 401);
}

#[test]
fn sign_in_calls_have_separate_limits() {
    let mut harness = Harness::new(rules());
    for _ in 0..300 {
        assert_eq!(
            harness.status("POST", REFRESH, "", &json!({"refreshToken": "x"})),
            401
        );
    }
    let (response, body) = harness.call("POST", REFRESH, "", &json!({"refreshToken": "x"}));
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "60");
    assert_eq!(body["limit"]["key"], "refresh.token.rate.per.minute");
    harness.sign_in("");
}

#[test]
fn unknown_field_of_a_sign_in_call_is_a_violation() {
    let mut harness = Harness::quiet();
    let body = json!({"deploymentId": DEPLOYMENT, "oauth": {"code": "1.x", "redirect_uri": "y"}});
    harness.status("POST", EXCHANGE, "", &body);
    assert_eq!(
        harness.cloud.violations.list()[0].location,
        "token exchange oauth.redirect_uri"
    );
}

#[test]
fn user_debug_hides_the_name() {
    assert_eq!(
        format!("{:?}", SignInRules::default().user),
        r#"User { id: "jo", .. }"#
    );
}
