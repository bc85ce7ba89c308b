//! The program itself. Cargo builds it for this test, so it is up to date when the end-to-end tests start it.

#[cfg(test)]
#[cfg(all(feature = "otlp", feature = "sim"))]
mod otlp;

#[cfg(test)]
mod version {
    use std::process::Command;

    #[test]
    fn program_prints_its_version() {
        let mut program = Command::new(env!("CARGO_BIN_EXE_guest-gateway"));
        let output = program.arg("--version").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text, concat!("guest-gateway ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}
