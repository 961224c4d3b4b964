//! A recorded curve replayed: a CSV file of what load there was when, as stages of constant load.
//! Reads the text it is given; recordings of other tools are brought into this form by their user.

use std::time::Duration;

use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::feeder::Table;
use super::files::{self, Files};
use super::node::Node;
use super::stages::{self, Load, Stage, USERS_MAX};

/// Rows of a recording at most: a curve has its shape long before.
const ROWS_MAX: usize = 10_000;

/// The stages of a `{ tier, replay, scale }`: the file has the columns `seconds` (cloud time, ascending) and either
/// `arrivals` (a second) or `users`. Each row holds until the next; the last one only says when it ends.
pub(super) fn stages(node: &Node, files: &Files, sink: &mut Sink) -> Vec<Stage> {
    let Some(mut fields) = Fields::of(node, "a stage", sink) else {
        return Vec::new();
    };
    let tier = fields
        .require("tier", "1", sink)
        .and_then(|node| stages::tier(node, sink));
    let path = fields.take("replay");
    let scale = fields.take("scale").map_or(Some(1.0), |node| {
        let scale = decode::number(node, sink)?;
        if !(scale > 0.0 && scale <= 1e6) {
            sink.push(Mistake::at(
                &node.place,
                "a scale is a positive number, at most 1_000_000",
            ));
            return None;
        }
        Some(scale)
    });
    fields.finish(sink);
    let (Some(tier), Some(path), Some(scale)) = (tier, path, scale) else {
        return Vec::new();
    };
    let Some(bytes) = files::read(path, files, sink) else {
        return Vec::new();
    };
    let rows = match Table::from_csv(bytes).and_then(|table| rows(&table)) {
        Ok(rows) => rows,
        Err(problem) => {
            let hint = "write the columns seconds,arrivals or seconds,users, with a row for each change";
            sink.push(Mistake::at(&path.place, format!("cannot be replayed: {problem}")).hint(hint));
            return Vec::new();
        }
    };
    let load = |load: Load| match load {
        Load::Users(users) => Load::Users((users as f64 * scale).round() as u64),
        Load::Arrivals(rate) => Load::Arrivals(rate * scale),
    };
    let (asked, _end) = rows.split_at(rows.len() - 1);
    if asked.iter().all(|(_, of)| load(*of).level() == 0.0) {
        let hint = "write how much there was, or use a larger scale";
        sink.push(Mistake::at(&path.place, "asks for no load at any time").hint(hint));
        return Vec::new();
    }
    if rows.iter().any(|(_, of)| load(*of).level() > USERS_MAX as f64) {
        let hint = "use a smaller scale";
        sink.push(Mistake::at(&path.place, "comes to more than 100_000_000 users or arrivals a second").hint(hint));
        return Vec::new();
    }
    rows.windows(2)
        .map(|pair| Stage {
            tier,
            load: load(pair[0].1),
            ramp: Duration::ZERO,
            hold: pair[1].0 - pair[0].0,
            place: path.place.clone(),
        })
        .collect()
}

fn rows(table: &Table) -> Result<Vec<(Duration, Load)>, String> {
    let column = |name: &str| table.columns().iter().position(|column| column == name);
    let seconds = column("seconds").ok_or("it has no column `seconds`")?;
    let (level, is_users) = match (column("arrivals"), column("users")) {
        (Some(arrivals), None) => (arrivals, false),
        (None, Some(users)) => (users, true),
        _ => return Err("it needs one of the columns `arrivals` and `users`".to_owned()),
    };
    if !(2..=ROWS_MAX).contains(&table.rows()) {
        return Err(format!("it has {} rows, and needs 2 to {ROWS_MAX}", table.rows()));
    }
    let mut rows: Vec<(Duration, Load)> = Vec::with_capacity(table.rows());
    for number in 0..table.rows() {
        let cells: Vec<&str> = table.row(number).collect();
        // The first line has the names.
        let line = number + 2;
        let read = |cell: usize| {
            let number = cells[cell].trim().parse::<f64>().ok();
            let number = number.filter(|number| number.is_finite() && *number >= 0.0);
            number.ok_or_else(|| format!("line {line}: {:?} is no number from zero on", cells[cell]))
        };
        let at = Duration::try_from_secs_f64(read(seconds)?).map_err(|_| format!("line {line}: too late"))?;
        if rows.last().is_some_and(|(before, _)| *before >= at) {
            return Err(format!("line {line}: it is not later than the line before"));
        }
        let level = read(level)?;
        rows.push((
            at,
            if is_users {
                Load::Users(level.round() as u64)
            } else {
                Load::Arrivals(level)
            },
        ));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(Duration, Load)>, String> {
        Table::from_csv(text.as_bytes()).and_then(|table| rows(&table))
    }

    #[test]
    fn rows_are_read_in_order_of_time() {
        let s = Duration::from_secs;
        assert_eq!(
            read("arrivals,seconds\n10,0\n20.5,60\n0,90\n"),
            Ok(vec![
                (s(0), Load::Arrivals(10.0)),
                (s(60), Load::Arrivals(20.5)),
                (s(90), Load::Arrivals(0.0))
            ])
        );
        assert_eq!(
            read("seconds,users\n0,7\n9,8\n"),
            Ok(vec![(s(0), Load::Users(7)), (s(9), Load::Users(8))])
        );
    }

    #[test]
    fn what_cannot_be_replayed_is_said_with_its_line() {
        for (text, problem) in [
            ("rate\n1\n2\n", "no column `seconds`"),
            ("seconds,rate\n1,2\n2,3\n", "one of the columns"),
            ("seconds,users\n1,2\n", "needs 2"),
            ("seconds,users\n0,2\n5,x\n", "line 3: \"x\""),
            ("seconds,users\n5,2\n5,3\n", "line 3: it is not later"),
            ("seconds,users\n0,-2\n5,3\n", "line 2: \"-2\""),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(problem), "{error}");
        }
    }
}
