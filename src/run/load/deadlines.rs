//! Deadlines of everything that waits equally long: first in, first due, and anyone may leave from the middle.
//! A linked list through slots, so a request costs no timer. Knows no clock.

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    due_us: u64,
    before: u32,
    after: u32,
    listed: bool,
}

/// The deadlines; a slot is listed at most once.
#[derive(Debug)]
pub struct Deadlines {
    wait_us: u64,
    links: Vec<Link>,
    first: u32,
    last: u32,
}

impl Deadlines {
    /// Everything listed is due `wait_us` later.
    #[must_use]
    pub fn new(wait_us: u64) -> Self {
        Self {
            wait_us,
            links: Vec::new(),
            first: NONE,
            last: NONE,
        }
    }

    /// Lists `slot`, which must not be listed; `now_us` must not go back.
    #[inline]
    pub fn push(&mut self, slot: u32, now_us: u64) {
        let index = slot as usize;
        if self.links.len() <= index {
            let free = Link {
                due_us: 0,
                before: NONE,
                after: NONE,
                listed: false,
            };
            self.links.resize(index + 1, free);
        }
        debug_assert!(!self.links[index].listed);
        self.links[index] = Link {
            due_us: now_us.saturating_add(self.wait_us),
            before: self.last,
            after: NONE,
            listed: true,
        };
        match self.last {
            NONE => self.first = slot,
            last => self.links[last as usize].after = slot,
        }
        self.last = slot;
    }

    /// Takes `slot` off the list, if it is on it.
    #[inline]
    pub fn remove(&mut self, slot: u32) {
        let Some(link) = self.links.get_mut(slot as usize).filter(|link| link.listed) else {
            return;
        };
        link.listed = false;
        let Link { before, after, .. } = *link;
        match before {
            NONE => self.first = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.links[after as usize].before = before,
        }
    }

    /// Takes the first one off the list if it is due.
    #[inline]
    pub fn pop_due(&mut self, now_us: u64) -> Option<u32> {
        let slot = self.first;
        let due = self.next_us().is_some_and(|due_us| due_us <= now_us);
        due.then(|| {
            self.remove(slot);
            slot
        })
    }

    /// When the first one is due.
    #[must_use]
    #[inline]
    pub fn next_us(&self) -> Option<u64> {
        self.links.get(self.first as usize).map(|link| link.due_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_in_is_the_first_due_and_others_leave_from_anywhere() {
        let mut deadlines = Deadlines::new(100);
        for slot in [4, 2, 7, 0] {
            deadlines.push(slot, 10 + u64::from(slot == 0) * 5);
        }
        deadlines.remove(2);
        deadlines.remove(2);
        deadlines.remove(9);
        assert_eq!(deadlines.next_us(), Some(110));
        assert_eq!(deadlines.pop_due(109), None);
        assert_eq!(deadlines.pop_due(110), Some(4));
        assert_eq!(deadlines.pop_due(110), Some(7));
        assert_eq!(deadlines.pop_due(110), None);
        deadlines.push(4, 20);
        deadlines.remove(0);
        assert_eq!(deadlines.pop_due(120), Some(4));
        assert_eq!(deadlines.next_us(), None);
        deadlines.push(1, 30);
        assert_eq!(deadlines.next_us(), Some(130));
    }
}
