//! Who has something to do: connections that are opened, tasks and signals from other threads put their token on one
//! list, and wake the shard once for all of them. A token stands on the list at most once, so the list is bounded by the
//! tokens. What happens to open sockets is seen in `lookout`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// What can become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The connection in this slot.
    Connection(u32),
    /// What the pass in this row does in the lane.
    Lane(u32),
    /// Something watched.
    Watch,
    /// A new DNS answer, the word to stop, or a turn of the wheel.
    Signal,
}

#[derive(Debug, Default)]
struct List {
    tokens: Vec<Token>,
    shard: Option<Waker>,
}

/// The list of one shard.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<Mutex<List>>);

/// Puts one token on the list when woken.
#[derive(Debug)]
pub struct Bell {
    token: Token,
    rung: AtomicBool,
    list: Arc<Mutex<List>>,
}

impl Ready {
    /// A bell for `token`.
    #[must_use]
    pub fn bell(&self, token: Token) -> Arc<Bell> {
        Arc::new(Bell {
            token,
            rung: AtomicBool::new(false),
            list: Arc::clone(&self.0),
        })
    }

    /// Moves everything that is ready into `out`, which is empty; pending while nothing is.
    #[inline]
    pub fn poll(&self, context: &mut Context<'_>, out: &mut Vec<Token>) -> Poll<()> {
        // A bell never panics while it holds the lock, so a poisoned list is whole.
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !list.tokens.is_empty() {
            std::mem::swap(&mut list.tokens, out);
            return Poll::Ready(());
        }
        if !list
            .shard
            .as_ref()
            .is_some_and(|shard| shard.will_wake(context.waker()))
        {
            list.shard = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Bell {
    /// From now on it can be put on the list again; call it before looking at what it stands for.
    #[inline]
    pub fn hush(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    #[inline]
    fn wake_by_ref(self: &Arc<Self>) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.tokens.push(self.token);
        if list.tokens.len() == 1
            && let Some(shard) = &list.shard
        {
            shard.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_once_until_it_is_hushed() {
        let ready = Ready::default();
        let (one, two) = (ready.bell(Token::Connection(1)), ready.bell(Token::Watch));
        let mut context = Context::from_waker(Waker::noop());
        let mut out = Vec::new();
        assert!(ready.poll(&mut context, &mut out).is_pending());
        for _ in 0..3 {
            one.wake_by_ref();
            two.wake_by_ref();
        }
        assert!(ready.poll(&mut context, &mut out).is_ready());
        assert_eq!(out, [Token::Connection(1), Token::Watch]);
        out.clear();
        one.wake_by_ref();
        assert!(ready.poll(&mut context, &mut out).is_pending(), "not hushed yet");
        one.hush();
        one.wake_by_ref();
        assert!(ready.poll(&mut context, &mut out).is_ready());
        assert_eq!(out, [Token::Connection(1)]);
    }
}
