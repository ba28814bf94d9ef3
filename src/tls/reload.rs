//! When another pair takes the place of the one in force.
//!
//! Owns: telling a new pair from one that is still being written. Must not know: clocks, signals;
//! somebody calls it.
//!
//! Both files are read each time, as they are small, and compared by content: that sees a changed
//! link to a directory as well, which is how orchestrators replace secrets. What is new must look
//! the same twice before it is judged, so that nothing is said about a pair whose second file is
//! not there yet. It is judged once: a broken pair is not complained about for ever.

use std::sync::Arc;

use super::TlsError;
use super::identity::{Identity, Pair};

/// What lay there, or why nothing could be read.
type Sight = Result<Pair, String>;

/// What came of a look.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing changed, or it is not yet sure that it did.
    Unchanged,
    /// Another pair is in force.
    Replaced,
    /// What lies there cannot be used; the pair in force stays.
    Refused(TlsError),
}

/// See the module's head.
pub struct Reloader {
    identity: Arc<Identity>,
    /// What was judged last. None: only that the pair in force was read once.
    judged: Option<Sight>,
    /// What the last look saw, if that was something new.
    news: Option<Sight>,
}

impl Reloader {
    /// Compares with what lies there now, which is taken for the pair in force.
    pub fn new(identity: Arc<Identity>) -> Self {
        let judged = Some(sight(&identity).0);
        Reloader { identity, judged, news: None }
    }

    /// Looks whether there is something new; to be called every now and then.
    pub fn look(&mut self) -> Outcome {
        let (sight, error) = sight(&self.identity);
        if self.judged.as_ref() == Some(&sight) {
            self.news = None;
            return Outcome::Unchanged;
        }
        if self.news.as_ref() != Some(&sight) {
            self.news = Some(sight);
            return Outcome::Unchanged;
        }
        self.judge(sight, error)
    }

    /// Takes what lies there now: somebody says that it is complete.
    pub fn reload(&mut self) -> Outcome {
        let (sight, error) = sight(&self.identity);
        self.judge(sight, error)
    }

    fn judge(&mut self, sight: Sight, error: Option<TlsError>) -> Outcome {
        self.news = None;
        let result = match (&sight, error) {
            (Ok(pair), _) => self.identity.replace(pair),
            (Err(_), Some(error)) => Err(error),
            (Err(_), None) => unreachable!("what cannot be read has an error"),
        };
        self.judged = Some(sight);
        match result {
            Ok(()) => Outcome::Replaced,
            Err(error) => Outcome::Refused(error),
        }
    }
}

/// What lies there; the error once as itself and once as something to compare.
fn sight(identity: &Identity) -> (Sight, Option<TlsError>) {
    match identity.files().read() {
        Ok(pair) => (Ok(pair), None),
        Err(error) => (Err(error.to_string()), Some(error)),
    }
}

#[cfg(test)]
mod tests;
