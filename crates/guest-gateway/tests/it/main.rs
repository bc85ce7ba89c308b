//! The program itself. Cargo builds it for this test, and so it is fresh when the journeys start it.

#[cfg(test)]
mod version {
    use std::process::Command;

    #[test]
    fn the_program_says_its_version() {
        let output = Command::new(env!("CARGO_BIN_EXE_guest-gateway"))
            .arg("--version")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, concat!("guest-gateway ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}
