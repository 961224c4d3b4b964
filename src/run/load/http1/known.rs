//! Heads that come again and again: most servers send the same bytes until their clock's next second, and the same bytes
//! mean the same, so they are recognised instead of parsed once more. Keeps few and short ones; knows nothing of what
//! their reader makes of them.

use super::head::Found;

/// Heads kept: as many as servers that take turns behind one address in most tests.
const HEADS: usize = 4;
/// Bytes of a head that is kept.
const LENGTH_MAX: usize = 1024;
/// After so many in a row that were not known, only one in so many is kept: a head with an id in it never comes again.
const UNKNOWN_MAX: u32 = 32;

#[derive(Clone, Debug)]
struct Row<T> {
    head: Vec<u8>,
    found: Found,
    told: T,
}

/// The last different heads and what their reader took from each.
#[derive(Clone, Debug)]
pub struct Known<T> {
    rows: Vec<Row<T>>,
    oldest: usize,
    unknown: u32,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            rows: Vec::with_capacity(HEADS),
            oldest: 0,
            unknown: 0,
        }
    }
}

impl<T: Copy> Known<T> {
    /// The head that `input` begins with, if it came before: its length, what it says of the body, and what was told.
    #[inline]
    pub fn recall(&mut self, input: &[u8]) -> Option<(usize, Found, T)> {
        let row = self.rows.iter().find(|row| input.starts_with(&row.head))?;
        self.unknown = 0;
        Some((row.head.len(), row.found, row.told))
    }

    /// A head that was not known, in place of the one learnt first.
    pub fn learn(&mut self, head: &[u8], found: Found, told: T) {
        self.unknown = self.unknown.wrapping_add(1);
        let often = self.unknown > UNKNOWN_MAX && !self.unknown.is_multiple_of(UNKNOWN_MAX);
        if often || head.len() > LENGTH_MAX {
            return;
        }
        if self.rows.len() < HEADS {
            let head = head.to_vec();
            self.rows.push(Row { head, found, told });
            return;
        }
        let row = &mut self.rows[self.oldest];
        self.oldest = (self.oldest + 1) % HEADS;
        row.head.clear();
        row.head.extend_from_slice(head);
        (row.found, row.told) = (found, told);
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::Framing;
    use super::*;

    fn head(number: usize) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nx-id: {number}\r\ncontent-length: 0\r\n\r\n").into_bytes()
    }

    fn known(numbers: impl Iterator<Item = usize>) -> Known<usize> {
        let mut known = Known::default();
        numbers.for_each(|number| known.learn(&head(number), FOUND, number));
        known
    }

    const FOUND: Found = Found {
        framing: Framing::Length(0),
        reusable: true,
    };

    #[test]
    fn the_last_few_are_known_and_nothing_else() {
        let mut known = known(0..6);
        for number in 0..7 {
            let input = [head(number), b"rest".to_vec()].concat();
            let recalled = known.recall(&input).map(|(length, _, told)| (length, told));
            assert_eq!(
                recalled,
                (2..6).contains(&number).then_some((head(number).len(), number))
            );
        }
        assert!(known.recall(&head(3)[..20]).is_none(), "not whole");
        known.learn(&[b'x'; LENGTH_MAX + 1], FOUND, 9);
        assert!(known.recall(&[b'x'; 2 * LENGTH_MAX]).is_none(), "too long to be kept");
    }

    #[test]
    fn heads_that_never_come_again_are_hardly_kept_until_some_do() {
        let many = 10 * UNKNOWN_MAX as usize + 5;
        let mut known = known(0..many);
        let mut kept: Vec<usize> = (0..many)
            .filter(|number| known.clone().recall(&head(*number)).is_some())
            .collect();
        assert_eq!(kept.len(), HEADS);
        assert!(
            kept.windows(2).all(|two| two[1] - two[0] == UNKNOWN_MAX as usize),
            "{kept:?}"
        );
        known.recall(&head(kept.pop().unwrap()));
        known.learn(&head(many), FOUND, many);
        assert!(
            known.recall(&head(many)).is_some(),
            "once one is recognised, the next new one is kept"
        );
    }
}
