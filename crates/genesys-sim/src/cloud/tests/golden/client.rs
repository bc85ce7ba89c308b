//! Golden frames of guests are accepted without a violation.

use super::*;

/// A configured guest, who uploaded two files, and a JWT.
fn guest() -> (Harness, SocketId, String) {
    let mut harness = Harness::quiet();
    let (jwt, _) = harness.sign_in("");
    let socket = harness.guest();
    for id in [FILE, "99999999-4c3b-4a29-9180-7f6e5d4c3b2a"] {
        assert_eq!(
            harness.upload(socket, id, b"12345")["class"],
            "UploadSuccessEvent"
        );
    }
    (harness, socket, jwt)
}

#[test]
fn client_frames_of_the_golden_set_are_accepted() {
    for (name, (_, golden)) in folder("client") {
        let (mut harness, socket, jwt) = guest();
        let socket = match name.as_str() {
            name if name.starts_with("configure-") => harness.connect(),
            "on-attachment" => {
                harness.ask(
                    socket,
                    json!({"action": "deleteAttachment", "token": TOKEN, "attachmentId": FILE}),
                );
                socket
            }
            _ => socket,
        };
        harness.received();
        harness.send_frame(socket, ours(&golden, &jwt));
        let answers = harness.frames(socket);
        match answers.first() {
            Some(answer) => assert_eq!(code(answer), 200, "{name}: {answer}"),
            None => assert!(name.starts_with("typing"), "{name}: no answer"),
        }
        if let Some(id) = golden.get("tracingId").filter(|_| !answers.is_empty()) {
            assert_eq!(&answers[0]["tracingId"], id, "{name}");
        }
        assert_eq!(harness.cloud.violations.list(), [], "{name}");
    }
}

#[test]
fn form_and_list_responses_are_echoed_unchanged() {
    let golden = folder("client");
    for name in ["date", "form", "list-items", "quick-reply-to"] {
        let (mut harness, socket, jwt) = guest();
        let (_, frame) = &golden[name];
        let echo = harness.ask(socket, ours(frame, &jwt));
        assert_eq!(echo["body"]["content"], frame["message"]["content"], "{name}");
        assert_eq!(echo["body"]["text"], frame["message"]["text"], "{name}");
    }
}
