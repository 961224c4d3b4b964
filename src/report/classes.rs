//! Classes of clients as rows of text, the same on the terminal and on the page: what each did, and who moved when.

use std::net::IpAddr;
use std::time::Duration;

use crate::judge::{ClassFindings, ClassMove, DnsMove, format_share};
use crate::units::{format_count, format_duration};

/// The columns of [`row`].
pub(super) const COLUMNS: [&str; 8] = [
    "class", "share", "DNS", "requests", "failed", "attempts", "each", "at most",
];
/// The columns of [`move_row`].
pub(super) const MOVE_COLUMNS: [&str; 7] = ["class", "had it", "50%", "90%", "99%", "all", "still there"];

/// What a class did.
pub(super) fn row(class: &ClassFindings) -> [String; 8] {
    let times = |times: Option<f64>| times.map_or_else(|| "–".to_owned(), |times| format!("{times:.2}×"));
    let ended = class.ok + class.failed;
    [
        class.name.clone(),
        format_share(class.share),
        class.dns.to_string(),
        format_count(class.intended),
        format_share(class.failed as f64 / ended.max(1) as f64),
        format_count(class.attempts),
        times(class.amplification),
        times(class.amplification_max),
    ]
}

/// What moved, for a heading.
pub(super) fn move_title(moved: &DnsMove) -> String {
    let list = |addresses: &[IpAddr]| {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        addresses.join(" ")
    };
    format!(
        "at {} from {} to {}, TTL {}",
        format_duration(moved.at),
        list(&moved.from),
        list(&moved.to),
        format_duration(moved.ttl)
    )
}

/// How a class followed.
pub(super) fn move_row(class: &ClassMove) -> [String; 7] {
    let never = || "never".to_owned();
    let when = |at: Option<Duration>| at.map_or_else(never, |at| format!("+{}", format_duration(at)));
    [
        class.class.clone(),
        when(class.learned),
        when(class.half),
        when(class.most),
        when(class.nearly_all),
        when(class.all),
        class.left.map_or_else(|| "–".to_owned(), format_share),
    ]
}

/// Rows below their columns for a terminal, indented; all but the first column to the right.
pub(super) fn table<const N: usize>(indent: &str, columns: [&str; N], rows: &[[String; N]]) -> String {
    let heads = columns.map(str::to_owned);
    let all = || std::iter::once(&heads).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for row in all() {
        out += indent;
        for (column, cell) in row.iter().enumerate() {
            let blank = " ".repeat(width(column).saturating_sub(cell.chars().count()));
            out += &match column {
                0 => format!("{cell}{blank}"),
                _ => format!("  {blank}{cell}"),
            };
        }
        out.push('\n');
    }
    out
}
