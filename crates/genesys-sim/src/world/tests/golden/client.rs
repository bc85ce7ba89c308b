//! What guests send is accepted, and complained of by nobody.

use super::*;

/// A configured guest, who uploaded two files, and a JWT.
fn guest() -> (Stage, SocketId, String) {
    let mut stage = Stage::quiet();
    let (jwt, _) = stage.sign_in("");
    let socket = stage.guest();
    for id in [FILE, "99999999-4c3b-4a29-9180-7f6e5d4c3b2a"] {
        assert_eq!(stage.upload(socket, id, b"12345")["class"], "UploadSuccessEvent");
    }
    (stage, socket, jwt)
}

#[test]
fn every_frame_of_a_guest_is_accepted() {
    for (name, (_, golden)) in folder("client") {
        let (mut stage, socket, jwt) = guest();
        let socket = match name.as_str() {
            name if name.starts_with("configure-") => stage.connect(),
            "on-attachment" => {
                stage.ask(
                    socket,
                    json!({"action": "deleteAttachment", "token": TOKEN, "attachmentId": FILE}),
                );
                socket
            }
            _ => socket,
        };
        stage.seen();
        stage.tell(socket, ours(&golden, &jwt));
        let answers = stage.frames(socket);
        match answers.first() {
            Some(answer) => assert_eq!(code(answer), 200, "{name}: {answer}"),
            None => assert!(name.starts_with("typing"), "{name}: no answer"),
        }
        if let Some(id) = golden.get("tracingId").filter(|_| !answers.is_empty()) {
            assert_eq!(&answers[0]["tracingId"], id, "{name}");
        }
        assert_eq!(stage.world.violations(), [], "{name}");
    }
}

#[test]
fn a_form_and_list_items_come_back_as_they_were_sent() {
    let golden = folder("client");
    for name in ["date", "form", "list-items", "quick-reply-to"] {
        let (mut stage, socket, jwt) = guest();
        let (_, frame) = &golden[name];
        let echo = stage.ask(socket, ours(frame, &jwt));
        assert_eq!(echo["body"]["content"], frame["message"]["content"], "{name}");
        assert_eq!(echo["body"]["text"], frame["message"]["text"], "{name}");
    }
}
