//! The nearest known word to a mistyped one.

/// `did you mean "…"?` for the nearest known word, or the list of known words when none is near.
pub(super) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = nearest(word, &known) {
        return format!("did you mean {near:?}?");
    }
    if known.is_empty() {
        return "nothing is known here; remove it".to_owned();
    }
    format!("known here: {}", known.join(", "))
}

/// The known word with the fewest edits, when they are at most a third of its length and at least one is allowed.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), *candidate))
        .filter(|(edits, candidate)| *edits <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    // Longer words are never near a key; the bound keeps hostile input cheap.
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_words_find_their_neighbour_and_strangers_do_not() {
        let known = ["stages", "journeys", "objectives", "chaos"];
        assert_eq!(nearest("stagess", &known), Some("stages"));
        assert_eq!(nearest("cahos", &known), Some("chaos"));
        assert_eq!(nearest("Journey", &known), Some("journeys"));
        assert_eq!(nearest("frobnicate", &known), None);
        assert_eq!(distance("recovery", "recovrey"), 1);
    }
}
