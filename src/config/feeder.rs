//! Feeders: tables of test data that passes of a journey take their values from, one row each.
//! Reads the text of a CSV or JSON file it is given; who gets which row is the generator's work.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::files::{self, Files};
use super::nearest::suggest;
use super::node::{Node, Value};
use super::source::{Place, Spanned};

/// In which order rows are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowOrder {
    /// As written; after the last row the first again.
    #[default]
    Sequential,
    /// Shuffled by the run's seed; after the last row the same order again.
    Shuffled,
    /// Any row each time.
    Random,
    /// As written, and no row twice in a run.
    Unique,
}

const ORDERS: [(&str, RowOrder); 4] = [
    ("sequential", RowOrder::Sequential),
    ("shuffled", RowOrder::Shuffled),
    ("random", RowOrder::Random),
    ("unique", RowOrder::Unique),
];

/// A table of test data.
#[derive(Clone, Debug)]
pub struct Feeder {
    /// Its name.
    pub name: String,
    /// Order of its rows.
    pub order: RowOrder,
    /// Its rows.
    pub table: Arc<Table>,
    /// Where it is written.
    pub place: Place,
}

impl Feeder {
    /// One that cannot be read, which was told: whoever takes its rows makes no mistake of his own.
    fn unread(name: &str, place: &Place) -> Self {
        Self {
            name: name.to_owned(),
            order: RowOrder::default(),
            table: Arc::new(Table {
                columns: vec![ANY_COLUMN.to_owned()],
                ..Table::default()
            }),
            place: place.clone(),
        }
    }

    /// The names that its columns have in templates.
    pub(super) fn variables(&self) -> impl Iterator<Item = String> {
        self.table
            .columns
            .iter()
            .map(|column| format!("{}.{column}", self.name))
    }
}

/// Stands for every column of a feeder that cannot be read.
pub(super) const ANY_COLUMN: &str = "*";

/// Rows of text under named columns, all in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    columns: Vec<String>,
    text: String,
    /// Where each cell ends in the text, row by row.
    ends: Vec<usize>,
}

impl Table {
    /// Names of the columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ends.len().checked_div(self.columns.len()).unwrap_or(0)
    }

    /// The cells of a row, from zero; none where there is no such row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = &str> {
        let first = row.saturating_mul(self.columns.len());
        (first..first + self.columns.len()).map_while(|cell| {
            let end = *self.ends.get(cell)?;
            let start = cell.checked_sub(1).map_or(0, |before| self.ends[before]);
            Some(&self.text[start..end])
        })
    }

    fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    /// A table with a head line.
    pub(crate) fn from_csv(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(bytes);
        let mut table = Self::default();
        for column in reader.headers().map_err(|error| error.to_string())? {
            if table.columns.iter().any(|known| known == column) {
                return Err(format!("two columns are named {column:?}"));
            }
            table.columns.push(column.to_owned());
        }
        let mut last = csv::StringRecord::new();
        for record in reader.records() {
            last = record.map_err(|error| error.to_string())?;
            last.iter().for_each(|cell| table.push(cell));
        }
        if let Some(line) = unclosed(bytes, &last) {
            return Err(format!("a quote in line {line} is never closed"));
        }
        Ok(table)
    }

    /// A list of objects with the same keys.
    fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let rows: Vec<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_slice(bytes).map_err(|error| format!("{error}; it has to be a list of objects"))?;
        let mut table = Self {
            columns: rows
                .first()
                .map(|row| row.keys().cloned().collect())
                .unwrap_or_default(),
            ..Self::default()
        };
        for (number, row) in rows.iter().enumerate() {
            if let Some(other) = row.keys().find(|key| !table.columns.contains(key)) {
                return Err(format!(
                    "object {} has {other:?}, which the first one has not",
                    number + 1
                ));
            }
            for column in table.columns.clone() {
                match row.get(&column) {
                    None => return Err(format!("object {} has no {column:?}", number + 1)),
                    Some(serde_json::Value::String(text)) => table.push(text),
                    Some(value) if value.is_array() || value.is_object() => {
                        return Err(format!("{column:?} of object {} is no single value", number + 1));
                    }
                    Some(value) => table.push(&value.to_string()),
                }
            }
        }
        Ok(table)
    }
}

/// The line in which the last record begins, where a quote in it lasts to the end of the file, which the reader takes for
/// a cell: a quote that opened is in no cell, and one that stands for itself is.
fn unclosed(bytes: &[u8], last: &csv::StringRecord) -> Option<u64> {
    let from = last.position()?;
    let text = bytes.get(usize::try_from(from.byte()).ok()?..)?;
    let quotes = text.iter().filter(|byte| **byte == b'"').count();
    let open = quotes % 2 == 1 && !last.iter().next_back()?.contains('"');
    open.then(|| from.line())
}

/// The feeders of a profile; `files` holds what stands in the files they name.
pub(super) fn feeders(node: &Node, files: &Files, sink: &mut Sink) -> Vec<Feeder> {
    let entries = decode::map(node, "feeders", sink);
    entries
        .iter()
        .map(|entry| {
            let read = if is_word(&entry.key) {
                feeder(&entry.key, &entry.node, files, sink)
            } else {
                let hint = "use lower-case letters, digits and `_`";
                sink.push(Mistake::at(&entry.place, format!("{:?} cannot name a feeder", entry.key)).hint(hint));
                None
            };
            read.unwrap_or_else(|| Feeder::unread(&entry.key, &entry.place))
        })
        .collect()
}

/// How a file is read.
type Read = fn(&[u8]) -> Result<Table, String>;

/// What can stand in a template without being mistaken for anything else.
fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn feeder(name: &str, node: &Node, files: &Files, sink: &mut Sink) -> Option<Feeder> {
    let mut fields = Fields::of(node, format!("feeder {name:?}"), sink)?;
    let (csv, json) = (fields.take("csv"), fields.take("json"));
    let order = fields.take("order").map_or(Some(RowOrder::default()), |node| {
        decode::choice(node, "order", &ORDERS, sink)
    });
    fields.finish(sink);
    let (path, read): (_, Read) = match (csv, json) {
        (Some(path), None) => (path, Table::from_csv),
        (None, Some(path)) => (path, Table::from_json),
        (None, None) => {
            let hint = "add `csv: data/accounts.csv` or `json: data/accounts.json`";
            sink.push(Mistake::at(&node.place, format!("feeder {name:?} names no file")).hint(hint));
            return None;
        }
        (Some(_), Some(json)) => {
            sink.push(Mistake::at(&json.place, "a feeder has either `csv` or `json`").hint("remove one of the two"));
            return None;
        }
    };
    let bytes = files::read(path, files, sink)?;
    let table = read(bytes)
        .map_err(|problem| sink.push(Mistake::at(&path.place, format!("cannot be read: {problem}"))))
        .ok()?;
    if table.rows() == 0 {
        sink.push(Mistake::at(&path.place, "has no rows").hint("a feeder needs at least one"));
        return None;
    }
    if let Some(column) = table.columns.iter().find(|column| !is_word(column)) {
        let hint = "use lower-case letters, digits and `_` in its first line";
        sink.push(Mistake::at(&path.place, format!("{column:?} cannot name a column")).hint(hint));
        return None;
    }
    Some(Feeder {
        name: name.to_owned(),
        order: order?,
        table: Arc::new(table),
        place: node.place.clone(),
    })
}

/// The feeders that a journey's `feed` names.
pub(super) fn named(node: &Node, feeders: &[Feeder], sink: &mut Sink) -> Vec<Spanned<String>> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut names: Vec<Spanned<String>> = Vec::new();
    for item in items {
        let Some(name) = decode::spanned(item, sink) else {
            continue;
        };
        if !feeders.iter().any(|feeder| feeder.name == name.value) {
            let hint = if feeders.is_empty() {
                format!(
                    "add `feeders: {{ {}: {{ csv: data/{}.csv }} }}`",
                    name.value, name.value
                )
            } else {
                suggest(&name.value, feeders.iter().map(|feeder| feeder.name.as_str()))
            };
            sink.push(Mistake::at(&name.place, format!("unknown feeder {:?}", name.value)).hint(hint));
        } else if names.iter().any(|other| other.value == name.value) {
            sink.push(Mistake::at(
                &name.place,
                format!("{:?} feeds the journey twice", name.value),
            ));
        } else {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(table: &Table) -> Vec<Vec<&str>> {
        (0..table.rows()).map(|row| table.row(row).collect()).collect()
    }

    #[test]
    fn csv_and_json_make_the_same_table() {
        let csv = Table::from_csv(b"email, age\n\"a,b@x\",7\nc@x,\n").expect("it is CSV");
        let json = Table::from_json(br#"[{"email":"a,b@x","age":7},{"email":"c@x","age":""}]"#).expect("it is JSON");
        assert_eq!(csv.columns(), ["email", "age"]);
        assert_eq!(rows(&csv), [["a,b@x", "7"], ["c@x", ""]]);
        assert_eq!(json.columns().len(), 2);
        let emails: Vec<&str> = (0..2)
            .filter_map(|row| json.row(row).find(|cell| cell.contains('@')))
            .collect();
        assert_eq!(emails, ["a,b@x", "c@x"]);
        assert_eq!(csv.row(2).count(), 0);
    }

    #[test]
    fn quotes_that_stand_for_themselves_close_nothing() {
        for (bytes, cell) in [
            (&b"a\n5\" disk\n"[..], "5\" disk"),
            (b"a\n\"two\nlines \"\"x\"\"\"", "two\nlines \"x\""),
        ] {
            let table = Table::from_csv(bytes).expect("it is CSV");
            assert_eq!(rows(&table), [[cell]]);
        }
    }

    #[test]
    fn tables_that_are_none_are_refused() {
        let csv = [
            (&b"a,b\n1\n"[..], "record"),
            (b"a\n\xff\n", "utf-8"),
            (b"id, id\n1,2\n", "two columns are named \"id\""),
            (b"id,b\n1,x\n2,\"y\n", "a quote in line 3 is never closed"),
            (b"id,b\n1,\"x\n2,y\n", "a quote in line 2 is never closed"),
        ];
        for (bytes, problem) in csv {
            let error = Table::from_csv(bytes).expect_err("it is no table").to_lowercase();
            assert!(error.contains(problem), "{error}");
        }
        let json = [
            ("{}", "list of objects"),
            (r#"[{"a":1},{"b":1}]"#, "object 2 has \"b\""),
            (r#"[{"a":1,"b":2},{"b":1}]"#, "object 2 has no \"a\""),
            (r#"[{"a":[1]}]"#, "no single value"),
        ];
        for (text, problem) in json {
            let error = Table::from_json(text.as_bytes()).expect_err("it is no table");
            assert!(error.contains(problem), "{error}");
        }
    }
}
