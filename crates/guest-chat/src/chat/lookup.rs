//! What a person looks up: the commands, the link of a file, what was said before.

use secrecy::ExposeSecret as _;
use web_messaging::rest::history::HistoryPage;

use super::command::COMMANDS;
use super::{Chat, content, telling};

impl Chat {
    /// Lists the commands.
    pub(super) fn help(&mut self) {
        self.announce("what begins with no slash is said; these are commands:");
        for (usage, about) in COMMANDS {
            self.announce(&format!("{usage:<15} {about}"));
        }
        self.announce("a number chooses what is offered, 1,2 several of a list; // says a slash, a space before a number the number");
    }

    /// Shows the link of a file.
    pub(super) fn open(&mut self, number: usize) {
        match self.links.open(number) {
            Some(link) => {
                let link = link.expose_secret().to_owned();
                self.announce(
                    "whoever has this link can read the file, until it expires in about ten minutes:",
                );
                self.announce(&link);
            }
            None => self.trouble(&format!("there is no link {number}, or it is too long ago")),
        }
    }

    /// Shows a page of what was said, the oldest first.
    pub(super) fn remember(&mut self, page: &HistoryPage) {
        let older = if page.page < page.page_count {
            format!(" (/history {} has what came before)", page.page.saturating_add(1))
        } else {
            String::new()
        };
        if page.messages.is_empty() {
            self.announce(&format!("nothing is known to have been said{older}"));
            return;
        }
        self.announce(&format!("what was said{older}:"));
        for message in page.messages.iter().rev() {
            let pieces = content::pieces(message, None, &mut self.links);
            self.show(telling::remembered(message, &pieces));
        }
    }
}
