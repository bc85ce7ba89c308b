//! Requests of clients for the history, which are read one after the other.

use std::collections::VecDeque;
use std::time::Duration;

use guest_conversation::Message;
use guest_sessions::HistoryQuery;
use web_messaging::rest::history::HistoryPage;

/// Most requests that wait.
const WAITING: usize = 8;
/// Most pages that are read for one request.
const PAGES: u32 = 4;

/// The answer to a request for the history.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the API handles each")]
pub enum HistoryAnswer {
    /// The messages in the order of the query, and the number of the next older page, if older messages belong to the answer.
    Messages(Vec<Message>, Option<u32>),
    /// The history does not have the message to begin with.
    NotFound,
    /// Genesys allows no page for this time.
    Limited(Duration),
    /// Genesys cannot be reached, or refuses.
    Unavailable(String),
}

/// The requests. The first one is being read.
#[derive(Debug, Default)]
pub(super) struct HistoryRequests {
    waiting: VecDeque<Waiting>,
    /// Whether a page was requested, and not answered yet.
    reading: bool,
    answers: VecDeque<(u64, HistoryAnswer)>,
}

#[derive(Debug)]
struct Waiting {
    request: u64,
    query: HistoryQuery,
    page: u32,
    /// Newest first.
    messages: Vec<Message>,
}

impl HistoryRequests {
    pub(super) fn push(&mut self, request: u64, query: HistoryQuery) {
        if self.waiting.len() == WAITING {
            let reason = "too many requests for the history of this session wait".to_owned();
            return self
                .answers
                .push_back((request, HistoryAnswer::Unavailable(reason)));
        }
        let page = match query {
            HistoryQuery::Page(page) => page,
            HistoryQuery::From(_) => 1,
        };
        self.waiting.push_back(Waiting {
            request,
            query,
            page,
            messages: Vec::new(),
        });
    }

    /// Drops the requests of clients that gave up, but for the one that is being read.
    pub(super) fn retain(&mut self, is_open: impl Fn(u64) -> bool) {
        let first = usize::from(self.reading);
        let mut at = 0;
        self.waiting.retain(|waiting| {
            at += 1;
            at <= first || is_open(waiting.request)
        });
    }

    /// The page to read next.
    pub(super) fn poll_page(&mut self) -> Option<u32> {
        if self.reading {
            return None;
        }
        let page = self.waiting.front()?.page;
        self.reading = true;
        Some(page)
    }

    pub(super) fn handle_page(&mut self, page: HistoryPage) {
        if !std::mem::take(&mut self.reading) {
            return;
        }
        let Some(first) = self.waiting.front_mut() else {
            return;
        };
        let is_last = page.entries == 0 || first.page >= page.page_count;
        let next = (!is_last).then_some(first.page + 1);
        let answer = match &first.query {
            HistoryQuery::Page(_) => HistoryAnswer::Messages(page.messages, next),
            HistoryQuery::From(from) => {
                for message in page.messages {
                    // a message that arrived meanwhile moves another one to the next page
                    if first.messages.iter().all(|known| known.id != message.id) {
                        first.messages.push(message);
                    }
                }
                match first.messages.iter().position(|message| message.id == *from) {
                    Some(at) => {
                        first.messages.truncate(at + 1);
                        first.take(None)
                    }
                    None if is_last => HistoryAnswer::NotFound,
                    None if first.page < PAGES => {
                        first.page += 1;
                        return;
                    }
                    None => first.take(next),
                }
            }
        };
        self.answer(answer);
    }

    /// A page could not be read, because of the rate limit if there is a time to wait.
    pub(super) fn handle_failed(&mut self, reason: String, retry_after: Option<Duration>) {
        self.reading = false;
        let read = self
            .waiting
            .front_mut()
            .filter(|first| !first.messages.is_empty());
        let answer = match (retry_after, read) {
            (None, _) => HistoryAnswer::Unavailable(reason),
            (Some(wait), None) => HistoryAnswer::Limited(wait),
            (Some(_), Some(first)) => first.take(Some(first.page)),
        };
        self.answer(answer);
    }

    pub(super) fn poll_answer(&mut self) -> Option<(u64, HistoryAnswer)> {
        self.answers.pop_front()
    }

    fn answer(&mut self, answer: HistoryAnswer) {
        if let Some(waiting) = self.waiting.pop_front() {
            self.answers.push_back((waiting.request, answer));
        }
    }
}

impl Waiting {
    /// The messages that were read, oldest first.
    fn take(&mut self, next: Option<u32>) -> HistoryAnswer {
        let mut messages = std::mem::take(&mut self.messages);
        messages.reverse();
        HistoryAnswer::Messages(messages, next)
    }
}

#[cfg(test)]
mod tests {
    use guest_conversation::{Author, AuthorKind, Direction};
    use time::OffsetDateTime;

    use super::*;

    /// A page of messages with these numbers as ids, newest first.
    fn page(number: u32, of: u32, ids: impl Iterator<Item = u32>) -> HistoryPage {
        let message = |id: u32| Message {
            id: id.to_string(),
            text: id.to_string(),
            from: Author {
                kind: AuthorKind::Human,
                name: None,
            },
            at: OffsetDateTime::UNIX_EPOCH,
            direction: Direction::Outbound,
            content: Vec::new(),
            sequence: None,
        };
        let messages: Vec<Message> = ids.map(message).collect();
        HistoryPage {
            entries: messages.len(),
            messages,
            page: number,
            page_count: of,
        }
    }

    /// The number of a request, and the ids with the number of the next page.
    type Answered = (u64, Option<(Vec<String>, Option<u32>)>);

    fn ids(requests: &mut HistoryRequests) -> Answered {
        match requests.poll_answer().unwrap() {
            (request, HistoryAnswer::Messages(messages, next)) => {
                let ids = messages.into_iter().map(|message| message.id);
                (request, Some((ids.collect(), next)))
            }
            (request, _) => (request, None),
        }
    }

    #[test]
    fn pages_are_read_one_after_the_other() {
        let mut requests = HistoryRequests::default();
        requests.push(1, HistoryQuery::Page(1));
        requests.push(2, HistoryQuery::Page(2));
        assert_eq!((requests.poll_page(), requests.poll_page()), (Some(1), None));
        requests.handle_page(page(1, 2, [4, 3].into_iter()));
        let newest = (vec!["4".to_owned(), "3".to_owned()], Some(2));
        assert_eq!(ids(&mut requests), (1, Some(newest)));
        assert_eq!(requests.poll_page(), Some(2));
        requests.handle_page(page(2, 2, [2].into_iter()));
        assert_eq!(ids(&mut requests), (2, Some((vec!["2".to_owned()], None))));
        requests.handle_page(page(2, 2, [2].into_iter()));
        assert!(requests.poll_answer().is_none() && requests.poll_page().is_none());
    }

    #[test]
    fn messages_from_one_on_are_collected_over_pages_oldest_first() {
        let mut requests = HistoryRequests::default();
        requests.push(1, HistoryQuery::From("3".to_owned()));
        assert_eq!(requests.poll_page(), Some(1));
        requests.handle_page(page(1, 9, [6, 5].into_iter()));
        assert_eq!(requests.poll_page(), Some(2));
        // one arrived meanwhile
        requests.handle_page(page(2, 9, [5, 4, 3, 2].into_iter()));
        let expected = ["3", "4", "5", "6"].map(str::to_owned).to_vec();
        assert_eq!(ids(&mut requests), (1, Some((expected, None))));
        // beyond the most pages, and beyond the end
        let newest = ["4", "3", "2", "1"].map(str::to_owned).to_vec();
        for (pages, read, answer) in [(9, PAGES, Some((newest, Some(5)))), (2, 2, None)] {
            requests.push(2, HistoryQuery::From("absent".to_owned()));
            for number in 1..=read {
                assert_eq!(requests.poll_page(), Some(number));
                requests.handle_page(page(number, pages, [number].into_iter()));
            }
            assert_eq!(ids(&mut requests), (2, answer));
        }
    }

    #[test]
    fn rate_limit_is_answered_with_the_time_to_wait_or_what_was_read() {
        let (mut requests, wait) = (HistoryRequests::default(), Some(Duration::from_secs(7)));
        for query in [HistoryQuery::Page(3), HistoryQuery::From("3".to_owned())] {
            requests.push(1, query);
            requests.poll_page();
            requests.handle_failed("limited".to_owned(), wait);
            let answer = requests.poll_answer();
            assert!(
                matches!(answer, Some((1, HistoryAnswer::Limited(given))) if Some(given) == wait),
                "{answer:?}"
            );
        }
        requests.push(2, HistoryQuery::From("3".to_owned()));
        requests.poll_page();
        requests.handle_page(page(1, 9, [6, 5].into_iter()));
        assert_eq!(requests.poll_page(), Some(2));
        requests.handle_failed("limited".to_owned(), wait);
        let read = ["5", "6"].map(str::to_owned).to_vec();
        assert_eq!(ids(&mut requests), (2, Some((read, Some(2)))));
    }

    #[test]
    fn failed_and_surplus_requests_are_answered() {
        let mut requests = HistoryRequests::default();
        for request in 0..=WAITING as u64 {
            requests.push(request, HistoryQuery::Page(1));
        }
        assert_eq!(ids(&mut requests), (WAITING as u64, None));
        assert_eq!(requests.poll_page(), Some(1));
        requests.handle_failed("no route".to_owned(), None);
        assert_eq!(ids(&mut requests), (0, None));
        assert_eq!(requests.poll_page(), Some(1));
    }

    #[test]
    fn requests_of_clients_that_gave_up_free_their_slots() {
        let mut requests = HistoryRequests::default();
        for request in 0..WAITING as u64 {
            requests.push(request, HistoryQuery::Page(1));
        }
        assert_eq!(requests.poll_page(), Some(1));
        requests.retain(|request| request == 5);
        requests.push(9, HistoryQuery::Page(1));
        for answered in [0, 5, 9] {
            requests.handle_failed("no route".to_owned(), None);
            assert_eq!(ids(&mut requests), (answered, None));
            requests.poll_page();
        }
    }
}
