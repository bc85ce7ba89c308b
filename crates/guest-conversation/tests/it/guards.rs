//! Sizes of types and texts of errors.

use guest_conversation::{Conversation, Event, MessageIdError, RequestError, SendError, State};
use web_messaging::{AttributesError, FrameError};
use ws_transport::{HandshakeError, OriginError, OriginPolicyError, ParseOriginError, SocketUrl};

#[test]
fn errors_are_small_and_one_line() {
    fn check<E: std::error::Error + Send + Sync + 'static>(errors: &[E]) {
        assert!(size_of::<E>() <= 64, "{}", std::any::type_name::<E>());
        for error in errors {
            let text = error.to_string();
            assert!(!text.ends_with('.') && !text.contains('\n'), "{text}");
        }
    }
    check(&[AttributesError {
        bytes: 3000,
        most: 2048,
    }]);
    check(&[FrameError { bytes: 1 }]);
    check(&[
        HandshakeError::HttpVersion,
        HandshakeError::Key,
        HandshakeError::Method,
        HandshakeError::NotAnUpgrade,
    ]);
    check(&[MessageIdError]);
    check(&[
        OriginError::Missing,
        OriginError::Several,
        OriginError::Malformed {
            problem: ParseOriginError::Opaque,
        },
    ]);
    check::<OriginPolicyError>(&[]);
    check(&[
        SendError::Full { count: 256, bytes: 1 },
        SendError::TooLong { bytes: 5000 },
        SendError::Ended,
    ]);
    check(&[
        RequestError::Busy { waiting: 4 },
        RequestError::Ended,
        RequestError::NotAllowed,
        RequestError::NoHistoryHost,
        RequestError::NotReady { state: State::Idle },
    ]);
    check(&["".parse::<SocketUrl>().unwrap_err()]);
}

#[test]
fn conversation_is_send_and_small() {
    fn check<T: Send + 'static>() {}
    check::<Conversation>();
    check::<Event>();
    assert!(size_of::<Event>() <= 96, "{}", size_of::<Event>());
    // beside it an idle one has its contract, on the heap
    assert!(size_of::<Conversation>() <= 1280, "{}", size_of::<Conversation>());
}
