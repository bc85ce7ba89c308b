//! The public items of a Rust file, read from its text.
//!
//! The lint `unreachable_pub` is on, so an item that is written `pub` can be reached from outside.

use std::collections::BTreeSet;

use crate::tidy::Source;

/// The public items of a file, one line each: `Owner: pub fn name(…)`.
pub(crate) fn public_items(text: &str) -> BTreeSet<String> {
    let code = Source::new(String::new(), text.to_owned()).code;
    let mut scanner = Scanner {
        items: BTreeSet::new(),
        open: Vec::new(),
        scope: Scope::Module,
        depth: 0,
        head: String::new(),
    };
    for c in code.chars() {
        scanner.read(c);
    }
    scanner.items
}

/// The meaning of the braces around a piece of code.
#[derive(Clone, Debug)]
enum Scope {
    Module,
    /// An inherent `impl`: its public methods belong to a type.
    Methods(String),
    /// A public trait: all of its items are public.
    Trait(String),
    /// A public `struct` or `union`: fields are public one by one.
    Fields(String),
    /// A public `enum`: all of its variants are public.
    Variants(String),
    /// Code without public items.
    Private,
}

struct Scanner {
    items: BTreeSet<String>,
    /// Outer scopes, each with the depth of brackets in it.
    open: Vec<(Scope, usize)>,
    scope: Scope,
    /// Open brackets other than braces.
    depth: usize,
    /// The text since the last end of an item.
    head: String,
}

impl Scanner {
    fn read(&mut self, c: char) {
        let is_variants = matches!(self.scope, Scope::Variants(_));
        let is_list = is_variants || matches!(self.scope, Scope::Fields(_));
        match c {
            '{' | '}' if is_use(&self.head) => self.head.push(c),
            '{' if is_variants => {
                self.depth += 1;
                self.head.push(c);
            }
            '}' if is_variants && self.depth > 0 => {
                self.depth -= 1;
                self.head.push(c);
            }
            '{' => {
                let inner = self.enter();
                self.open
                    .push((std::mem::replace(&mut self.scope, inner), self.depth));
                self.depth = 0;
            }
            '}' => {
                self.item();
                if let Some((scope, depth)) = self.open.pop() {
                    self.scope = scope;
                    self.depth = depth;
                }
            }
            ';' if self.depth == 0 => self.item(),
            ',' if self.depth == 0 && is_list => self.item(),
            _ => {
                let is_arrow = c == '>' && self.head.ends_with(['-', '=']);
                match c {
                    '(' | '[' => self.depth += 1,
                    '<' if is_list => self.depth += 1,
                    ')' | ']' => self.depth = self.depth.saturating_sub(1),
                    '>' if is_list && !is_arrow => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                self.head.push(c);
            }
        }
    }

    /// Notes the item whose braces open, and gives the scope inside them.
    fn enter(&mut self) -> Scope {
        let (head, is_hidden) = without_attributes(&self.head);
        let scope = if self.depth > 0 || is_hidden {
            Scope::Private
        } else {
            inner(&head, &self.scope)
        };
        self.item();
        scope
    }

    /// Notes the item that ends here, if it is public.
    fn item(&mut self) {
        let (head, is_hidden) = without_attributes(&std::mem::take(&mut self.head));
        if head.is_empty() || is_hidden || self.depth > 0 {
            return;
        }
        let is_public = head.starts_with("pub ");
        let signature = match head.split_once(" = ") {
            Some((signature, _)) if head.contains("const ") || head.contains("static ") => {
                signature.to_owned()
            }
            _ => head,
        };
        match &self.scope {
            Scope::Module if is_public => {
                self.items.insert(signature);
            }
            Scope::Methods(owner) | Scope::Fields(owner) if is_public => {
                self.items.insert(format!("{owner}: {signature}"));
            }
            Scope::Trait(owner) | Scope::Variants(owner) => {
                self.items.insert(format!("{owner}: {signature}"));
            }
            _ => {}
        }
    }
}

/// The scope that the braces after `head` open.
fn inner(head: &str, outer: &Scope) -> Scope {
    let mut words = head
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty());
    let is_public = head.starts_with("pub ");
    if !matches!(outer, Scope::Module) {
        return Scope::Private;
    }
    if head.ends_with('!') {
        // items in the call of a macro are written as elsewhere
        return Scope::Module;
    }
    if head.starts_with("impl") {
        let is_of_trait = head.contains(" for ");
        return match owner_of_impl(head) {
            Some(owner) if !is_of_trait => Scope::Methods(owner),
            _ => Scope::Private,
        };
    }
    let keyword = words.find(|word| matches!(*word, "fn" | "mod" | "struct" | "enum" | "trait" | "union"));
    let name = words.next().unwrap_or_default().to_owned();
    match keyword {
        Some("mod") => Scope::Module,
        Some("struct" | "union") if is_public => Scope::Fields(name),
        Some("enum") if is_public => Scope::Variants(name),
        Some("trait") if is_public => Scope::Trait(name),
        _ => Scope::Private,
    }
}

/// `Window` of `impl<'a, T: Clone> Window<'a, T>`.
fn owner_of_impl(head: &str) -> Option<String> {
    let mut rest = head.strip_prefix("impl")?.trim_start();
    if rest.starts_with('<') {
        let mut depth = 0_usize;
        let end = rest.char_indices().find(|(_, c)| {
            match c {
                '<' => depth += 1,
                '>' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        rest = rest[end?.0 + 1..].trim_start();
    }
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

fn is_use(head: &str) -> bool {
    let (head, _) = without_attributes(head);
    head.starts_with("use ")
        || head.starts_with("pub use ")
        || head.starts_with("pub(") && head.contains(" use ")
}

/// A head on one line without its attributes, and whether an attribute hides the item from users.
fn without_attributes(head: &str) -> (String, bool) {
    let mut rest = head.trim_start();
    let mut is_hidden = false;
    while let Some(inside) = rest.strip_prefix("#![").or_else(|| rest.strip_prefix("#[")) {
        let mut depth = 1_usize;
        let end = inside.char_indices().find(|(_, c)| {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let end = end.map_or(inside.len(), |(at, _)| at);
        let attribute = &inside[..end];
        is_hidden |= attribute.starts_with("cfg(test") || attribute.starts_with("doc(hidden");
        rest = inside.get(end + 1..).unwrap_or_default().trim_start();
    }
    (rest.split_whitespace().collect::<Vec<_>>().join(" "), is_hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Vec<String> {
        public_items(text).into_iter().collect()
    }

    #[test]
    fn public_items_of_a_module_are_listed() {
        let text = "//! Doc.\n\npub use a::{B, c::D};\nuse e::{F};\npub(crate) use g::{H, I};\n\npub const J: u8 = K { l: 1 };\n\
                    pub(crate) struct M;\npub type N = O;\n#[derive(Debug)]\npub struct P(pub u8);\n\
                    pub mod q {\n    pub fn r() {}\n}\npub async fn s(\n    t: u8,\n) -> u8 {\n    pub_not();\n}\nfn u() {}\n";
        assert_eq!(
            items(text),
            [
                "pub async fn s( t: u8, ) -> u8",
                "pub const J: u8",
                "pub fn r()",
                "pub mod q",
                "pub struct P(pub u8)",
                "pub type N = O",
                "pub use a::{B, c::D}",
            ]
        );
    }

    #[test]
    fn members_of_public_types_are_listed_with_their_owner() {
        let text = "pub struct A<'a> {\n    /// Doc, with comma.\n    pub b: Map<u8, Vec<u8>>,\n    c: u8,\n}\n\
                    impl<'a, T: Into<u8>> A<'a, T> {\n    pub fn d(&self) -> u8 { f(|| { 1 }) }\n    fn e() {}\n}\n\
                    impl Clone for A { pub fn no() {} }\n\
                    pub enum F {\n    G,\n    H { i: u8 },\n    J(Fn(u8) -> K),\n}\n\
                    pub trait L {\n    fn m(&self);\n    fn n() {}\n}\nenum O { P }\n";
        assert_eq!(
            items(text),
            [
                "A: pub b: Map<u8, Vec<u8>>",
                "A: pub fn d(&self) -> u8",
                "F: G",
                "F: H { i: u8 }",
                "F: J(Fn(u8) -> K)",
                "L: fn m(&self)",
                "L: fn n()",
                "pub enum F",
                "pub struct A<'a>",
                "pub trait L",
            ]
        );
    }

    #[test]
    fn tests_and_hidden_items_are_left_out() {
        let text = "#[cfg(test)]\npub(crate) mod tests {\n    pub fn a() {}\n}\n#[doc(hidden)]\npub fn b() {}\n\
                    ids! {\n    pub struct C;\n}\n";
        assert_eq!(items(text), ["pub struct C"]);
    }
}
