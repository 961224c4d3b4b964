//! Where a value was written: a file or a `--set` argument, with line and column.

use std::fmt;
use std::sync::Arc;

/// A text with the name it goes by in messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            text: text.to_owned(),
        })
    }
}

/// A stretch of one line of a source; lines and columns count from 1, columns in characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    pub(super) source: Arc<Source>,
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
    /// Characters it covers, at least one.
    pub length: usize,
}

impl Place {
    pub(super) fn start(source: &Arc<Source>) -> Self {
        Self {
            source: Arc::clone(source),
            line: 1,
            column: 1,
            length: 1,
        }
    }

    /// The name of the file, or `--set`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The whole line it lies on.
    #[must_use]
    pub fn text(&self) -> &str {
        self.source
            .text
            .lines()
            .nth(self.line.saturating_sub(1))
            .unwrap_or_default()
    }

    /// A part of it: `length` characters from `offset`.
    pub(super) fn part(&self, offset: usize, length: usize) -> Self {
        Self {
            column: self.column + offset,
            length: length.max(1),
            ..self.clone()
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.name, self.line, self.column)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value with the place it was written at.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub place: Place,
}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
