//! Mistakes and how they read: the message, the place, the line with a caret, and the remedy.

use std::fmt;

use super::source::Place;

/// Characters that are shown of a line: JSON may have a whole file on one.
const SHOWN_MAX: usize = 160;
/// Characters that are shown in front of the place where the line is cut there.
const BEFORE_MAX: usize = 60;

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
            let (shown, column) = shown(place);
            // A tab stays a tab under the caret, so that the caret stands below what it marks.
            let before: String = shown
                .chars()
                .take(column)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let rest = shown.chars().count().saturating_sub(before.chars().count());
            let carets = "^".repeat(place.length.min(rest.max(1)).max(1));
            write!(
                f,
                "\n{margin}--> {place}\n{margin} |\n{number} | {shown}\n{margin} | {before}{carets}"
            )?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// The line of a place, cut to what fits around it, and how many characters of that stand in front of it.
fn shown(place: &Place) -> (String, usize) {
    let line: Vec<char> = place.text().chars().collect();
    let column = place.column.saturating_sub(1);
    if line.len() <= SHOWN_MAX {
        return (line.into_iter().collect(), column);
    }
    let from = match column > BEFORE_MAX {
        true => column.min(line.len()) - BEFORE_MAX,
        false => 0,
    };
    let to = line.len().min(from + SHOWN_MAX);
    let mut shown: String = line[from..to].iter().collect();
    if to < line.len() {
        shown.push('…');
    }
    match from {
        0 => (shown, column),
        from => (format!("…{shown}"), column - from + 1),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Source;

    fn told(line: &str, column: usize, length: usize) -> Vec<String> {
        let place = Place {
            column,
            length,
            ..Place::start(&Source::new("target.json", line))
        };
        let told = Mistake::at(&place, "wrong").to_string();
        told.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_long_line_is_cut_around_its_mistake_and_the_column_stays() {
        let line = format!("{}\"wrnog\"{}", "a".repeat(3_000), "b".repeat(3_000));
        let told = told(&line, 3_001, 7);
        assert_eq!(told[1], " --> target.json:1:3001");
        assert_eq!(
            told[3],
            format!(
                "1 | …{}\"wrnog\"{}…",
                "a".repeat(BEFORE_MAX),
                "b".repeat(SHOWN_MAX - BEFORE_MAX - 7)
            )
        );
        let under = told[4].find('^').expect("a caret");
        let marked: String = told[3].chars().skip(under).take(7).collect();
        assert_eq!((marked.as_str(), told[4].matches('^').count()), ("\"wrnog\"", 7));
    }

    #[test]
    fn what_is_near_an_end_of_a_long_line_is_shown_with_that_end() {
        let line = format!("x{}y", "a".repeat(1_000));
        assert!(told(&line, 1, 1)[3].starts_with("1 | xaaa"));
        let at_end = told(&line, 1_002, 1);
        assert!(at_end[3].ends_with("aay") && at_end[4].ends_with("^"), "{at_end:?}");
        // What is missing is looked for behind the end.
        assert!(told(&line, 1_003, 1)[4].ends_with("^"));
        let short = "a".repeat(SHOWN_MAX);
        assert_eq!(told(&short, 5, 1)[3], format!("1 | {short}"));
    }
}
