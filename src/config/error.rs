//! Mistakes and how they read: the message, the place, the line with a caret, and the remedy.

use std::fmt;

use super::source::Place;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong.
    pub message: String,
    /// Where, when it is somewhere.
    pub place: Option<Place>,
    /// What would be right.
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake at a place.
    #[must_use]
    pub fn at(place: &Place, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: Some(place.clone()),
            hint: None,
        }
    }

    /// A mistake of no single line.
    #[must_use]
    pub fn anywhere(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            hint: None,
        }
    }

    /// The same with its remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let margin = " ".repeat(number.len());
            // A tab stays a tab under the caret, so that the caret stands below what it marks.
            let before: String = place
                .text()
                .chars()
                .take(place.column.saturating_sub(1))
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let rest = place.text().chars().count().saturating_sub(before.chars().count());
            let carets = "^".repeat(place.length.min(rest.max(1)).max(1));
            write!(
                f,
                "\n{margin}--> {place}\n{margin} |\n{number} | {}\n{margin} | {before}{carets}",
                place.text()
            )?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// Every mistake found, in the order of the files and lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    mistakes: Vec<Mistake>,
}

impl ConfigErrors {
    /// The mistakes as errors; there must be at least one for this to make sense.
    #[must_use]
    pub fn new(mut mistakes: Vec<Mistake>) -> Self {
        let key = |mistake: &Mistake| {
            mistake
                .place
                .as_ref()
                .map(|place| (place.name().to_owned(), place.line, place.column))
        };
        let order: Vec<String> = mistakes
            .iter()
            .filter_map(|m| Some(m.place.as_ref()?.name().to_owned()))
            .collect();
        mistakes.sort_by_key(|mistake| {
            key(mistake).map(|(name, line, column)| {
                (
                    order.iter().position(|known| *known == name).unwrap_or_default(),
                    line,
                    column,
                )
            })
        });
        mistakes.dedup();
        Self { mistakes }
    }

    /// The mistakes.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// A file that a profile refers to could not be read.
    #[must_use]
    pub fn unreadable(place: &Place, path: &str, reason: &str) -> Self {
        let mistake = Mistake::at(place, format!("cannot read {path:?}: {reason}"));
        Self::new(vec![mistake.hint(
            "a path is looked up in the directory tenfold is started in, then beside and above the profile",
        )])
    }

    /// A file that a profile refers to is longer than it may be.
    #[must_use]
    pub fn too_long(place: &Place, path: &str, max: u64) -> Self {
        let mistake = Mistake::at(place, format!("{path:?} is longer than {} MiB", max >> 20));
        Self::new(vec![
            mistake.hint("it is kept in memory while the run lasts; use a smaller one"),
        ])
    }

    /// A file that a profile refers to is no text.
    #[must_use]
    pub fn not_text(place: &Place, path: &str) -> Self {
        let mistake = Mistake::at(place, format!("{path:?} is not UTF-8 text"));
        Self::new(vec![mistake.hint("save the file as UTF-8")])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Mistakes while they are collected.
#[derive(Debug, Default)]
pub(super) struct Sink {
    pub(super) mistakes: Vec<Mistake>,
}

impl Sink {
    pub(super) fn push(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Fails with everything collected, or gives `value`.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        match value {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ if self.mistakes.is_empty() => Err(ConfigErrors::new(vec![Mistake::anywhere("the file is empty")])),
            _ => Err(ConfigErrors::new(self.mistakes)),
        }
    }
}
