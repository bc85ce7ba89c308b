//! Results of the engine on which its machine acts.

use crate::event::{Ending, Loss};

/// An action that is due for the machine.
#[derive(Debug)]
pub enum Due {
    /// Request the session.
    Configure,
    /// Go on with the shutdown: messages were waited for long enough.
    Drained,
    /// Go on with the shutdown: the answer to the clearing was waited for long enough.
    Cleared,
    /// End the conversation.
    Finish(Ending),
}

/// A step of a shutdown for the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shutdown {
    /// End the conversation at once.
    Finish,
    /// Messages on their way are waited for.
    Drain,
    /// The session is read-only: nothing is waited for.
    Clear,
    /// Queue the close frame.
    Close,
    /// Nothing: it is over, or closing already.
    Nothing,
}

/// The way a connection ended.
#[derive(Debug)]
pub enum Closed {
    /// This side closed it.
    ByUs,
    /// It is lost.
    Lost(Loss),
}
