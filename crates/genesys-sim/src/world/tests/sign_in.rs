//! Guests who sign in, step up, refresh, and are signed out.

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

impl Stage {
    pub(super) fn location(&mut self, path: &str) -> String {
        let (response, _) = get(&mut self.world, path, self.now);
        assert_eq!(response.status(), 302, "{path}");
        response.headers()["location"].to_str().unwrap().to_owned()
    }

    pub(super) fn code(&mut self, extra: &str) -> String {
        let place = self.location(&authorize(extra));
        let (_, query) = place.split_once("?a=1&").unwrap();
        assert!(query.ends_with("&state=s+1"), "{place}");
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
fn a_code_is_exchanged_once_by_who_has_the_verifier() {
    let mut stage = Stage::quiet();
    let code = stage.code("");
    let wrong = exchange(&code, &"x".repeat(43));
    assert_eq!(stage.status("POST", EXCHANGE, "", &wrong), 401);
    assert_eq!(
        stage.status("POST", EXCHANGE, "", &exchange(&code, VERIFIER)),
        401,
        "the code is spent"
    );
    let code = stage.code("");
    assert_eq!(
        stage.status("POST", EXCHANGE, "", &exchange(&code, VERIFIER)),
        200
    );
    assert_eq!(
        stage.status("POST", EXCHANGE, "", &exchange(&code, VERIFIER)),
        401
    );

    for change in [
        |body: &mut Value| body["oauth"]["redirectUri"] = json!("https://app.test/elsewhere"),
        |body: &mut Value| body["oauth"]["nonce"] = json!("other"),
        |body: &mut Value| {
            body["oauth"].as_object_mut().unwrap().remove("codeVerifier");
        },
    ] {
        let code = stage.code("");
        let mut body = exchange(&code, VERIFIER);
        change(&mut body);
        assert_eq!(stage.status("POST", EXCHANGE, "", &body), 401, "{body}");
    }
    let code = stage.code("");
    stage.pass(Duration::from_secs(300));
    assert_eq!(
        stage.status("POST", EXCHANGE, "", &exchange(&code, VERIFIER)),
        401,
        "too late"
    );
    let mut elsewhere = exchange(&code, VERIFIER);
    elsewhere["deploymentId"] = json!("other");
    assert_eq!(stage.status("POST", EXCHANGE, "", &elsewhere), 404);
    for broken in [
        json!([]),
        json!({"deploymentId": DEPLOYMENT}),
        json!({"deploymentId": DEPLOYMENT, "oauth": {}}),
    ] {
        assert_eq!(stage.status("POST", EXCHANGE, "", &broken), 400);
    }
    assert_eq!(stage.world.violations(), []);
}

#[test]
fn the_provider_refuses_what_is_not_well_formed() {
    let mut stage = Stage::quiet();
    let good = authorize("");
    for bad in [
        good.replace("client_id=app", "client_id="),
        good.replace("redirect_uri=https%3A%2F%2F", "redirect_uri=javascript%3A"),
        good.replace("back%3F", "back%23"),
    ] {
        assert_eq!(get(&mut stage.world, &bad, stage.now).0.status(), 400, "{bad}");
    }
    for (bad, error) in [
        (good.replace("method=S256", "method=plain"), "invalid_request"),
        (
            good.replace("response_type=code", "response_type=token"),
            "unsupported_response_type",
        ),
    ] {
        let place = stage.location(&bad);
        assert!(place.contains(&format!("error={error}&state=s+1")), "{place}");
    }
    stage.world.rules.sign_in.redirect_uris = Some(vec!["https://app.test/".to_owned()]);
    assert_eq!(
        get(&mut stage.world, &good, stage.now).0.status(),
        400,
        "not exactly that place"
    );
}

#[test]
fn an_id_token_gives_a_jwt_that_cannot_be_refreshed() {
    let mut stage = Stage::quiet();
    let place = stage.location(&authorize("").replace("response_type=code", "response_type=id_token"));
    let (_, fragment) = place.split_once('#').unwrap();
    let token = crate::query::parameter(fragment, "id_token").unwrap();
    let body = |nonce: &str| json!({"deploymentId": DEPLOYMENT, "oauth": {"idToken": token, "nonce": nonce}});
    assert_eq!(stage.status("POST", EXCHANGE, "", &body("other")), 401);
    let (response, body) = stage.call("POST", EXCHANGE, "", &body("n"));
    assert_eq!(response.status(), 200);
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    let socket = stage.connect();
    let jwt = body["jwt"].as_str().unwrap().to_owned();
    assert_eq!(code(&stage.ask(socket, signed_in(TOKEN, &jwt))), 200);
}

#[test]
fn a_jwt_lives_fifteen_minutes_and_is_refreshed_for_a_day() {
    let mut stage = Stage::quiet();
    let (jwt, refresh) = stage.sign_in("");
    stage.pass(Duration::from_secs(900));
    let socket = stage.connect();
    assert_eq!(code(&stage.ask(socket, signed_in(TOKEN, &jwt))), 401);
    assert_eq!(code(&stage.ask(socket, signed_in(TOKEN, "no.jwt.at-all"))), 401);
    assert_eq!(stage.status("DELETE", REVOKE, &jwt, &json!({})), 401);
    let body = json!({"refreshToken": refresh, "deploymentId": DEPLOYMENT});
    let (_, fresh) = stage.call("POST", REFRESH, "", &body);
    assert_eq!(fresh.as_object().unwrap().len(), 1, "the refresh token stays");
    let fresh = fresh["jwt"].as_str().unwrap().to_owned();
    assert_eq!(code(&stage.ask(socket, signed_in(TOKEN, &fresh))), 200);
    stage.pass(Duration::from_secs(86_400 - 901));
    let (_, last) = stage.call("POST", REFRESH, "", &json!({"refreshToken": refresh}));
    let last = last["jwt"].as_str().unwrap().to_owned();
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.status("POST", REFRESH, "", &body), 401);
    let refused = stage.ask(socket, signed_in(TOKEN, &last));
    assert_eq!(code(&refused), 403);
    assert!(
        refused["body"]
            .as_str()
            .unwrap()
            .starts_with("Try to authenticate again")
    );
}

#[test]
fn a_session_that_is_signed_in_cannot_go_back() {
    let mut stage = Stage::quiet();
    let (jwt, _) = stage.sign_in("");
    let socket = stage.connect();
    let answer = stage.ask(socket, signed_in(TOKEN, &jwt));
    assert_eq!(
        (&answer["class"], &answer["body"]["newSession"]),
        (&json!("SessionResponse"), &json!(true))
    );
    assert_eq!(
        stage.ask(socket, text("hi"))["body"]["metadata"]["authenticated"],
        "true"
    );
    assert_eq!(code(&stage.ask(socket, configure())), 4017);
    let (other, _) = stage.sign_in("&login_hint=eve");
    let refused = stage.ask(socket, signed_in(TOKEN, &other));
    assert_eq!(code(&refused), 403);
    assert!(
        refused["body"]
            .as_str()
            .unwrap()
            .starts_with("Session authentication failed")
    );
    let again = stage.connect();
    assert_eq!(
        stage.ask(again, signed_in(TOKEN, &jwt))["body"]["newSession"],
        false
    );
}

#[test]
fn a_guest_steps_up_and_its_other_sockets_go() {
    let mut stage = Stage::quiet();
    let (jwt, _) = stage.sign_in("");
    let earlier = stage.connect();
    stage.ask(earlier, signed_in(OTHER, &jwt));
    let (socket, sibling) = (stage.guest(), stage.guest());
    stage.ask(socket, configure());
    stage.tell(socket, signed_in(TOKEN, &jwt));
    let seen = stage.seen();
    let classes: Vec<_> = seen
        .iter()
        .map(|(to, seen)| match seen {
            Seen::Frame(frame) => (*to, frame["class"].as_str().unwrap()),
            Seen::Closed(_) => (*to, "closed"),
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
    let frame = |index: usize| match &seen[index].1 {
        Seen::Frame(frame) => frame.clone(),
        Seen::Closed(code) => panic!("closed with {code}"),
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
fn stepping_up_has_to_be_allowed() {
    let mut stage = Stage::new(Rules {
        sign_in: SignInRules {
            allow_session_upgrade: false,
            ..SignInRules::default()
        },
        limits: Limits::none(),
        ..rules()
    });
    let (jwt, _) = stage.sign_in("");
    let socket = stage.guest();
    assert_eq!(code(&stage.ask(socket, signed_in(TOKEN, &jwt))), 403);
    assert_eq!(
        code(&stage.ask(socket, signed_in(OTHER, &jwt))),
        200,
        "a session of its own is"
    );
}

#[test]
fn whoever_signs_out_is_signed_out_everywhere() {
    let mut stage = Stage::quiet();
    let (jwt, refresh) = stage.sign_in("");
    let (elsewhere, _) = stage.sign_in("");
    let (stranger, _) = stage.sign_in("&login_hint=eve");
    let sockets = [TOKEN, OTHER, "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c13"]
        .into_iter()
        .zip([&jwt, &elsewhere, &stranger])
        .map(|(token, jwt)| {
            let socket = stage.connect();
            stage.ask(socket, signed_in(token, jwt));
            socket
        })
        .collect::<Vec<_>>();
    stage.seen();
    assert_eq!(stage.status("DELETE", REVOKE, &jwt, &json!({})), 204);
    let logout = || Seen::Frame(json!({"type": "message", "class": "LogoutEvent", "code": 200, "body": {}}));
    assert_eq!(stage.seen(), [(sockets[0], logout()), (sockets[1], logout())]);
    assert_eq!(code(&stage.ask(sockets[0], text("hi"))), 4007);
    assert_eq!(code(&stage.ask(sockets[0], signed_in(TOKEN, &jwt))), 403);
    assert_eq!(
        stage.status("POST", REFRESH, "", &json!({"refreshToken": refresh})),
        401
    );
    assert_eq!(stage.status("DELETE", REVOKE, &jwt, &json!({})), 401);
    assert_eq!(stage.status("DELETE", REVOKE, "", &json!({})), 401);
}

#[test]
fn each_call_of_sign_in_has_its_own_limit() {
    let mut stage = Stage::new(rules());
    for _ in 0..300 {
        assert_eq!(
            stage.status("POST", REFRESH, "", &json!({"refreshToken": "x"})),
            401
        );
    }
    let (response, body) = stage.call("POST", REFRESH, "", &json!({"refreshToken": "x"}));
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "60");
    assert_eq!(body["limit"]["key"], "refresh.token.rate.per.minute");
    stage.sign_in("");
}

#[test]
fn a_field_that_no_client_sends_is_complained_of() {
    let mut stage = Stage::quiet();
    let body = json!({"deploymentId": DEPLOYMENT, "oauth": {"code": "1.x", "redirect_uri": "y"}});
    stage.status("POST", EXCHANGE, "", &body);
    assert_eq!(
        stage.world.violations()[0].place,
        "token exchange oauth.redirect_uri"
    );
}

#[test]
fn a_user_shows_an_id_and_no_name() {
    assert_eq!(
        format!("{:?}", SignInRules::default().user),
        r#"User { id: "jo", .. }"#
    );
}
