//! The tokens that users have now: a value that is replaced as a whole, so that whoever sends a request waits for nobody.

use std::sync::Arc;

/// The tokens of every client.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// By client.
    tokens: Vec<Vec<Arc<str>>>,
}

impl Held {
    /// The token that a user sends; always the same one of those that it shares. None is an empty one.
    #[must_use]
    #[inline]
    pub fn token(&self, client: usize, user: u64) -> &str {
        let shared = self.tokens.get(client).map_or(&[][..], Vec::as_slice);
        let index = (user % (shared.len() as u64).max(1)) as usize;
        shared.get(index).map_or("", |token| token)
    }

    /// Puts a token in the place of one that was got before.
    pub(super) fn put(&mut self, client: usize, index: usize, token: Arc<str>) {
        if self.tokens.len() <= client {
            self.tokens.resize_with(client + 1, Vec::new);
        }
        let shared = &mut self.tokens[client];
        match shared.get_mut(index) {
            Some(place) => *place = token,
            None => shared.push(token),
        }
    }
}

/// How many there are: what they are is nobody's business.
impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.tokens.iter().map(Vec::len)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_keeps_to_one_of_the_shared_tokens_and_nobody_sees_it() {
        let mut held = Held::default();
        for (index, token) in ["one", "two", "three"].into_iter().enumerate() {
            held.put(1, index, token.into());
        }
        assert_eq!(
            (held.token(1, 0), held.token(1, 5), held.token(1, 6)),
            ("one", "three", "one")
        );
        held.put(1, 0, "new".into());
        assert_eq!((held.token(1, 3), held.token(0, 3), held.token(7, 0)), ("new", "", ""));
        assert_eq!(format!("{held:?}"), "[0, 3]");
    }
}
