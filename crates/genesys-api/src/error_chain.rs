//! Errors as text for people.

use std::error::Error;

/// Returns the message of an error and those of its sources, separated by colons. A source that its error repeats at
/// the end is left out.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{fmt, io};

    use super::*;

    #[derive(Debug)]
    struct Outer(&'static str, io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn error_chain_names_each_source_once() {
        let chain = |message| error_chain(&Outer(message, io::Error::other("disk full")));
        assert_eq!(chain("cannot write x"), "cannot write x: disk full");
        assert_eq!(chain("cannot write x: disk full"), "cannot write x: disk full");
    }
}
