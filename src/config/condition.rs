//! Conditions of a journey's flow, as written: `{{ state }} == done`.

use super::decode;
use super::error::{Mistake, Sink};
use super::flow::{Condition, Relation};
use super::node::Node;
use super::template::{self, Holes, Piece};

/// A relation, where in the text it begins and how long it is.
type Found = (Relation, usize, usize);

/// A condition on what the pass knows.
pub(super) fn condition(node: &Node, variables: &[String], sink: &mut Sink) -> Option<Condition<Vec<Piece>>> {
    let text = decode::text(node, sink)?;
    let Some((relation, at, length)) = relation(&text) else {
        let hint = "write \"{{ state }} == done\"; `!=`, `<`, `<=`, `>` and `>=` are known too";
        sink.push(Mistake::at(&node.place, format!("{text:?} compares nothing")).hint(hint));
        return None;
    };
    if let Some((odd, from)) = no_relation(&text, at, length) {
        let message = format!("`{odd}` compares nothing");
        let hint =
            "the relations are `==`, `!=`, `<`, `<=`, `>` and `>=`; a text that begins with one stands in quotes";
        let offset = text[..from].chars().count();
        sink.push(Mistake::at(&node.part(offset, odd.chars().count()), message).hint(hint));
        return None;
    }
    let holes = Holes { variables, id: false };
    let mut side = |from: usize, to: usize| {
        let side = &text[from..to];
        let from = from + side.len() - side.trim_start().len();
        let parsed = template::parse(unquoted(side.trim()), &holes);
        parsed
            .map_err(|wrong| {
                let offset = text[..from].chars().count() + wrong.offset;
                sink.push(Mistake::at(&node.part(offset, wrong.length), wrong.message).hint(wrong.hint));
            })
            .ok()
    };
    let (left, right) = (side(0, at), side(at + length, text.len()));
    let condition = Condition {
        left: left?,
        relation,
        right: right?,
    };
    let pieces = || condition.left.iter().chain(&condition.right);
    if !pieces().all(|piece| matches!(piece, Piece::Text(_) | Piece::Random(..) | Piece::Variable(_))) {
        let hint = "compare what an earlier step extracted, a feeder's column or `{{ random(1, 10) }}`";
        sink.push(Mistake::at(&node.place, "a condition asks only for what the pass knows").hint(hint));
        return None;
    }
    if pieces().all(|piece| matches!(piece, Piece::Text(_))) {
        let hint = "one side is a hole: \"{{ state }} == done\"";
        sink.push(Mistake::at(&node.place, format!("{text:?} is the same for everyone")).hint(hint));
        return None;
    }
    let is_number = |side: &[Piece]| match side {
        [Piece::Text(text)] => text.trim().parse::<f64>().is_ok(),
        side => !side.is_empty(),
    };
    let orders = !matches!(condition.relation, Relation::Is | Relation::IsNot);
    let sides = [&condition.left, &condition.right];
    if orders && !sides.into_iter().all(|side| is_number(side)) {
        let hint = "`<`, `<=`, `>` and `>=` compare numbers; `==` and `!=` compare texts";
        sink.push(Mistake::at(&node.place, format!("{text:?} is never true: one side is no number")).hint(hint));
        return None;
    }
    Some(condition)
}

/// What stands there instead of a relation, where more of its signs follow one another than one has: `=>`, `===`.
fn no_relation(text: &str, at: usize, length: usize) -> Option<(&str, usize)> {
    let is_sign = |char: char| "=<>!".contains(char);
    let from = text[..at].trim_end_matches(is_sign).len();
    let to = text.len() - text[at + length..].trim_start_matches(is_sign).len();
    (from < at || to > at + length).then(|| (&text[from..to], from))
}

/// The first relation that does not stand in a hole.
fn relation(text: &str) -> Option<Found> {
    const RELATIONS: [(&str, Relation); 6] = [
        ("==", Relation::Is),
        ("!=", Relation::IsNot),
        ("<=", Relation::AtMost),
        (">=", Relation::AtLeast),
        ("<", Relation::Less),
        (">", Relation::More),
    ];
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("{{") {
            at += rest.find("}}")? + 2;
            continue;
        }
        if let Some((written, relation)) = RELATIONS.iter().find(|(written, _)| rest.starts_with(written)) {
            return Some((*relation, at, written.len()));
        }
        at += rest.chars().next().map_or(1, char::len_utf8);
    }
    None
}

/// Without the quotes around all of it, which let a side be empty.
fn unquoted(side: &str) -> &str {
    let inner = |quote: char| side.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(side)
}

/// Whether what a condition asks for may be another thing after these variables were set anew.
pub(super) fn may_change(condition: &Condition<Vec<Piece>>, set: &[String]) -> bool {
    let mut pieces = condition.left.iter().chain(&condition.right);
    pieces.any(|piece| match piece {
        Piece::Variable(name) => set.contains(name),
        Piece::Random(..) => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_relation_stands_outside_holes() {
        for (text, found) in [
            ("{{ a == b }} != c", Some((Relation::IsNot, 13, 2))),
            ("é<=1", Some((Relation::AtMost, 2, 2))),
            ("a>b", Some((Relation::More, 1, 1))),
            ("{{ a == b", None),
            ("a = b", None),
            ("", None),
        ] {
            assert_eq!(relation(text), found, "{text}");
        }
        for (text, odd) in [
            ("{{ n }} => 2", Some("=>")),
            ("{{ n }}=<2", Some("=<")),
            ("{{ n }} === 2", Some("===")),
            ("{{ n }} <> 2", Some("<>")),
            ("{{ n }} == '=2'", None),
            ("{{ n }}!={{ m }}", None),
        ] {
            let (_, at, length) = relation(text).expect("it has one");
            assert_eq!(no_relation(text, at, length).map(|(odd, _)| odd), odd, "{text}");
        }
        assert_eq!(unquoted("\"\""), "");
        assert_eq!(unquoted("'a b'"), "a b");
        assert_eq!(unquoted("'"), "'");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[{}=<>!'\"a é]{0,30}") {
            if let Some((_, at, length)) = relation(&text) {
                prop_assert!(text.is_char_boundary(at) && text.is_char_boundary(at + length));
            }
        }
    }
}
