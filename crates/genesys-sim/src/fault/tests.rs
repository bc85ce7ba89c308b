//! Tests of the parser: valid texts, their full form, and errors.

use proptest::prelude::*;

use super::*;

#[test]
fn fault_parses_from_its_short_and_its_full_form() {
    for (short, full) in [
        ("drop", "drop:1001:x1@1"),
        ("drop:1011", "drop:1011:x1@1"),
        ("drop:abrupt@3", "drop:abrupt:x1@3"),
        ("drop@in2", "drop:1001:x1@in2"),
        ("hang", "hang:x1@1"),
        ("hang:10s", "hang:10s:x1@1"),
        ("delay:2s~10%", "delay:2s:always@1~10%"),
        ("reorder:x2~50%", "reorder:x2@1~50%"),
        ("duplicate:always", "duplicate:always@1"),
        ("fragment:3", "fragment:3:x1@1"),
        ("unknown-class", "unknown-class:x1@1"),
        ("unknown-fields", "unknown-fields:x1@1"),
        ("throttle:x5", "throttle:3s:x5@1"),
        ("throttle:9s", "throttle:9s:x1@1"),
        ("rest:503:x3", "rest:503:x3@1"),
        ("rest:401:/oauth", "rest:401:/oauth:x1@1"),
        ("slow-handshake:3s", "slow-handshake:3s:x1@1"),
        ("refuse-handshake", "refuse-handshake:403:x1@1"),
        ("expired-jwt", "expired-jwt:x1@1"),
        ("upload-failure", "upload-failure:x1@1"),
        ("evict", "evict:x1@1"),
        ("evict:reasonCode", "evict:reasonCode:x1@1"),
        ("evict:reason@in2", "evict:reason:x1@in2"),
        ("refuse:408", "refuse:408:string:x1@1"),
        ("refuse:400:ErrorMessage:x2", "refuse:400:ErrorMessage:x2@1"),
        ("refuse:4020:Error@in3", "refuse:4020:Error:x1@in3"),
        ("clock:+14m@2", "clock:+14m:x1@2"),
    ] {
        let fault: Fault = short.parse().unwrap();
        assert_eq!(fault.to_string(), full);
        assert_eq!(full.parse(), Ok(fault));
    }
}

#[test]
fn fault_error_names_what_is_valid() {
    for (text, part) in [
        (
            "explode",
            r#"invalid fault "explode": use one of clock, delay, drop, "#,
        ),
        ("", r#"invalid fault """#),
        (
            "delay",
            r#"invalid fault "delay": it needs an argument, use a time of at most an hour"#,
        ),
        (
            "delay:2",
            r#"invalid argument "2" of the fault "delay": use a time"#,
        ),
        ("delay:2h", r#"invalid argument "2h" of the fault "delay""#),
        ("drop:1005", "use abrupt, or a close code"),
        ("duplicate:2", "use no argument"),
        ("fragment:1", "use a number of fragments from 2 to 100"),
        ("evict:why", "use reason or reasonCode"),
        (
            "refuse",
            r#"invalid fault "refuse": it needs an argument, use a code from 400 to 5999"#,
        ),
        ("refuse:200", "use a code from 400 to 5999"),
        ("refuse:400:Err", "and perhaps string, ErrorMessage or Error"),
        ("rest:200", "use an HTTP status from 400 to 599"),
        ("rest:503:oauth", "the beginning of a path"),
        ("clock:14m", "with a plus, such as +14m"),
        (
            "drop:x0",
            r#"invalid number "x0": use a whole number from 1 to 1000000"#,
        ),
        ("drop@0", r#"invalid number "0""#),
        ("drop@in", r#"invalid number "in""#),
        ("drop~101%", r#"invalid chance "101%""#),
        ("drop~10", r#"invalid chance "10""#),
        ("delay:2s@in1", "cannot wait for a frame from the guest"),
    ] {
        let error = text.parse::<Fault>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let error = "x".repeat(257).parse::<Fault>().unwrap_err().to_string();
    assert_eq!(error, "invalid fault: it has 257 bytes, use at most 256");
}

proptest! {
    #[test]
    fn fault_parser_accepts_what_it_writes_and_never_panics(text in "[a-z0-9:@~%x+/é-]{0,40}") {
        if let Ok(fault) = text.parse::<Fault>() {
            prop_assert_eq!(fault.to_string().parse(), Ok(fault));
        }
    }
}

#[test]
fn grammar_names_each_kind() {
    for (kind, ..) in KINDS {
        let is_named = Fault::GRAMMAR.lines().any(|line| line.starts_with(kind));
        assert!(is_named, "{kind}");
    }
}
