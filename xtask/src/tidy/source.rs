//! A Rust file, split into code and comments so that a rule does not read a string or a comment as code.

/// A file and two views of it. A view keeps every line break and blanks what it does not show.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Relative to the root.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The code alone: comments and the insides of literals are blank.
    pub(crate) code: String,
    /// The comments alone.
    pub(crate) comments: String,
}

/// An attribute such as `#[test]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Attribute {
    /// Counted from 1.
    pub(crate) line: usize,
    /// The text between the brackets, with the insides of literals blank.
    pub(crate) body: String,
}

impl Source {
    pub(crate) fn new(path: String, text: String) -> Self {
        let (code, comments) = split(&text);
        Self {
            path,
            text,
            code,
            comments,
        }
    }

    /// The name of the file without its folder.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Every attribute, outer and inner.
    pub(crate) fn attributes(&self) -> Vec<Attribute> {
        let mut attributes = Vec::new();
        let mut line = 1;
        let mut rest = self.code.as_str();
        while let Some(hash) = rest.find('#') {
            line += rest[..hash].matches('\n').count();
            rest = &rest[hash + 1..];
            let inside = rest.strip_prefix('!').unwrap_or(rest);
            if let Some(inside) = inside.strip_prefix('[')
                && let Some(end) = closing_bracket(inside)
            {
                attributes.push(Attribute {
                    line,
                    body: inside[..end].to_owned(),
                });
            }
        }
        attributes
    }
}

impl Attribute {
    /// `allow` of `allow(dead_code)`.
    pub(crate) fn path(&self) -> &str {
        let body = self.body.trim_start();
        let end = body
            .find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
            .unwrap_or(body.len());
        &body[..end]
    }

    pub(crate) fn has_word(&self, word: &str) -> bool {
        words(&self.body).any(|found| found == word)
    }
}

/// The identifiers and numbers of a piece of code.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

fn closing_bracket(inside: &str) -> Option<usize> {
    let mut open = 1;
    for (at, c) in inside.char_indices() {
        match c {
            '[' => open += 1,
            ']' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// The code and the comments of a text.
fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut comments = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let (kind, end) = token(&chars, at);
        for &c in &chars[at..end] {
            let blank = if c == '\n' { '\n' } else { ' ' };
            code.push(if kind == Kind::Code { c } else { blank });
            comments.push(if kind == Kind::Comment { c } else { blank });
        }
        at = end;
    }
    (code, comments)
}

/// The token at `at`, and its end.
fn token(chars: &[char], at: usize) -> (Kind, usize) {
    let next = |offset: usize| chars.get(at + offset).copied();
    match chars[at] {
        '/' if next(1) == Some('/') => (Kind::Comment, find(chars, at, |c| c == '\n')),
        '/' if next(1) == Some('*') => (Kind::Comment, block_comment(chars, at)),
        '"' => (Kind::Literal, quoted(chars, at + 1, '"')),
        '\'' if next(1) == Some('\\') || next(2) == Some('\'') => {
            (Kind::Literal, quoted(chars, at + 1, '\''))
        }
        'r' | 'b' | 'c' => match raw_string(chars, at) {
            Some(end) => (Kind::Literal, end),
            None => (Kind::Code, word_end(chars, at)),
        },
        c if is_word(c) => (Kind::Code, word_end(chars, at)),
        _ => (Kind::Code, at + 1),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The end of a word that starts at `at`, so that the `r` of `for"` begins no raw string. A prefix of a literal, such
/// as the `b` of `b"…"`, counts as code.
fn word_end(chars: &[char], at: usize) -> usize {
    find(chars, at, |c| !is_word(c))
}

fn find(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    chars[from..]
        .iter()
        .position(|&c| wanted(c))
        .map_or(chars.len(), |offset| from + offset)
}

/// The end of a literal whose inside starts at `at`.
fn quoted(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of a raw string such as `r#"…"#` or `br"…"` that starts at `at`.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let r = if chars[at] == 'r' { at } else { at + 1 };
    if chars.get(r) != Some(&'r') {
        return None;
    }
    let quote = find(chars, r + 1, |c| c != '#');
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let hashes = quote - r - 1;
    let mut end = quote + 1;
    loop {
        end = find(chars, end, |c| c == '"') + 1;
        if end > chars.len() {
            return Some(chars.len());
        }
        if chars[end..].iter().take_while(|&&c| c == '#').count() >= hashes {
            return Some(end + hashes);
        }
    }
}

fn block_comment(chars: &[char], mut at: usize) -> usize {
    let mut open = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                open += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                open -= 1;
                at += 2;
                if open == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("a.rs".to_owned(), text.to_owned()).code
    }

    #[test]
    fn strings_and_comments_are_not_code() {
        for (text, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("fn x() {}")"#, "f(           )"),
            (r#"f("\"fn\"")"#, "f(        )"),
            ("f(r#\"a \" b\"#, c)", "f(          , c)"),
            ("f(br\"x\", c)", "f(     , c)"),
            ("f('\"', '\\'', c)", "f(   ,     , c)"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("r#type", "r#type"),
            ("\"a\n\nb\"", "  \n\n  "),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
    }

    #[test]
    fn comments_are_kept_apart_from_code() {
        let source = Source::new("a.rs".to_owned(), "/// doc\nfn f() { \"// no\" }\n".to_owned());
        assert_eq!(source.comments.trim(), "/// doc");
    }

    #[test]
    fn open_literal_or_comment_ends_with_the_file() {
        for text in ["\"abc", "r#\"abc\"", "/* abc", "'\\", "\"abc\\"] {
            assert_eq!(code(text).trim(), "", "{text}");
        }
    }

    #[test]
    fn attributes_are_found_over_several_lines() {
        let source = Source::new(
            "a.rs".to_owned(),
            "#![warn(x)]\n\n#[allow(\n    dead_code,\n    reason = \"]\"\n)]\n// #[not_one]\nfn f() {}\n"
                .to_owned(),
        );
        let attributes = source.attributes();
        let found: Vec<_> = attributes
            .iter()
            .map(|found| (found.line, found.path()))
            .collect();
        assert_eq!(found, [(1, "warn"), (3, "allow")]);
        assert!(attributes[1].has_word("reason"));
        assert!(!attributes[0].has_word("reason"));
    }
}
