//! Parts of a pass that go on at the same time. Each is a pass of its own, in a row of its own, and what it asks for is
//! measured like every other request; the pass that has begun them, its parent, goes on when all have ended.
//!
//! A part begins with what its parent knows and has kept, and sees nothing of the others. What it extracts and the
//! cookies it was sent are its parent's once all have ended, in the order of the steps. One that does not come to its
//! end, because it lacks what it needs or the run is over, ends its pass too: those under way are waited for, and no
//! other is begun.

use std::sync::Arc;

use super::jar;
use super::passes::{OpenGroup, PAST_END, Pass, Passes};
use super::program::{Op, Together};
use super::shard::Shard;
use super::transport::Own;

/// What a pass knows of its parts.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Of those begun, in order; kept until all have ended.
    rows: Vec<u32>,
    under_way: usize,
    /// Some are being begun; one that ends meanwhile leaves it to whoever begins them to go on.
    beginning: bool,
    /// None has ended before its end.
    whole: bool,
    /// One of them has sent what it came to last; where none came to anything, so had the pass before them.
    sent: bool,
    /// The step that one of them came to.
    step: Option<u32>,
    /// Connections of its user's own that no part uses; they last as long as the pass.
    spare: Vec<Own>,
}

/// How the parts of a pass ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// All of them at their end.
    pub(super) whole: bool,
    /// One of them came to a request.
    pub(super) asked: bool,
    /// What they came to last was sent; where they came to nothing, what the pass did before them.
    pub(super) sent: bool,
}

impl Parts {
    fn begin(&mut self, sent: bool) {
        (self.whole, self.sent, self.step) = (true, sent, None);
    }

    /// Whether another one is to begin.
    fn have_room(&self, together: &Together) -> bool {
        self.whole && self.under_way < together.at_most && self.rows.len() < together.parts.len()
    }

    fn end(&mut self, part: &mut Pass, sent: bool) {
        self.under_way -= 1;
        self.whole &= part.at == PAST_END;
        self.spare.extend(part.own.take());
        if part.has_asked() {
            self.sent = sent || (self.sent && self.step.is_some());
            self.step = Some(part.step);
        }
    }

    /// The connections that its user does not keep.
    pub(super) fn into_spare(self) -> Vec<Own> {
        self.spare
    }
}

impl Shard {
    /// Begins the parts of the `together` that a pass is at, due at `due_us`; how they ended, if they have already. `sent`
    /// says whether the request before was sent.
    pub(super) fn begin_together(&mut self, parent: u32, due_us: u64, sent: bool) -> Option<Ended> {
        self.passes[parent].parts.get_or_insert_default().begin(sent);
        self.begin_parts(parent, due_us, true)
    }

    /// Begins as many parts as there is room for, or none where there are to be no `more`.
    fn begin_parts(&mut self, parent: u32, due_us: u64, more: bool) -> Option<Ended> {
        let programs = Arc::clone(&self.common.programs);
        let state = &self.passes[parent];
        let Some(Op::Together(together)) = programs[state.journey as usize].ops.get(state.at as usize) else {
            // Only who is at one has parts.
            return Some(Ended {
                whole: false,
                asked: false,
                sent: false,
            });
        };
        self.parts(parent).beginning = true;
        while more && self.parts(parent).have_room(together) {
            let part = self.begin_part(parent, together);
            self.walk(part, due_us, self.now_us(), true);
        }
        let parts = self.parts(parent);
        parts.beginning = false;
        (parts.under_way == 0).then(|| self.end_together(parent, together))
    }

    fn begin_part(&mut self, parent: u32, together: &Together) -> u32 {
        let next = self.parts(parent).rows.len();
        let part = self.passes.begin_part(parent, together.parts[next].from);
        let own = match self.owned {
            true => (self.passes[parent].own.take()).or_else(|| self.parts(parent).spare.pop()),
            false => None,
        };
        self.passes[part].own = own;
        let parts = self.parts(parent);
        parts.rows.push(part);
        parts.under_way += 1;
        part
    }

    /// A part is over. Its row is kept until all are.
    pub(super) fn end_part(&mut self, parent: u32, part: u32, now_us: u64, sent: bool) {
        let around = self.passes[parent].groups.len();
        self.leave_groups(part, around);
        let (parts, part) = self.passes.parts_and(parent, part);
        parts.end(part, sent);
        if parts.beginning {
            return;
        }
        let more = !self.stopping && !self.overstays(parent, now_us);
        match self.begin_parts(parent, now_us, more) {
            None => {}
            Some(ended) if ended.whole => self.walk(parent, now_us, now_us, ended.sent),
            Some(ended) => self.end_pass(parent, now_us, ended.sent),
        }
    }

    /// All parts that were begun have ended: their parent has what they leave, and is behind them.
    fn end_together(&mut self, parent: u32, together: &Together) -> Ended {
        let jar = self.common.programs[self.passes[parent].journey as usize].jar;
        let before = jar.map(|jar| self.passes[parent].values.get(jar).cloned().unwrap_or_default());
        let mut rows = std::mem::take(&mut self.parts(parent).rows);
        for (row, part) in rows.iter().zip(&together.parts) {
            self.passes.take_over(parent, *row, &part.keeps);
            if let (Some(jar), Some(before)) = (jar, &before) {
                self.passes.merge_jars(parent, *row, jar, before);
            }
            self.passes.end(*row);
        }
        let state = &mut self.passes[parent];
        state.at = together.to;
        let parts = state.parts.get_or_insert_default();
        let ended = Ended {
            whole: parts.whole && rows.len() == together.parts.len(),
            asked: parts.step.is_some(),
            sent: parts.sent,
        };
        if let Some(step) = parts.step {
            state.step = step;
        }
        state.own = state.own.or_else(|| parts.spare.pop());
        rows.clear();
        parts.rows = rows;
        ended
    }

    fn parts(&mut self, parent: u32) -> &mut Parts {
        self.passes[parent].parts.get_or_insert_default()
    }
}

impl Passes {
    /// Keeps a part of a pass that begins at this place of its program, with what the pass knows.
    fn begin_part(&mut self, parent: u32, at: u32) -> u32 {
        let of = &mut self[parent];
        let (owner, class, journey, begun_us) = (of.owner, of.class, of.journey, of.begun_us);
        let groups: Vec<OpenGroup> = of.groups.iter().map(|group| OpenGroup::enter(group.number)).collect();
        let (choices, values) = (of.choices.fork(), std::mem::take(&mut of.values));
        let row = self.begin(owner, class, choices);
        let part = &mut self[row];
        (part.parent, part.journey, part.at, part.begun_us) = (Some(parent), journey, at, begun_us);
        part.groups.extend(groups);
        self[row].values.clone_from(&values);
        self[parent].values = values;
        row
    }

    /// What a pass knows of its parts, and one of them.
    fn parts_and(&mut self, parent: u32, part: u32) -> (&mut Parts, &mut Pass) {
        let [parent, part] = self.both(parent, part);
        (parent.parts.get_or_insert_default(), part)
    }

    /// What a part has extracted is its parent's, and what it did counts in the groups around.
    fn take_over(&mut self, parent: u32, part: u32, keeps: &[usize]) {
        let [parent, part] = self.both(parent, part);
        for number in keeps {
            let Some(value) = part.values.get_mut(*number) else {
                continue;
            };
            if parent.values.len() <= *number {
                parent.values.resize_with(*number + 1, Vec::new);
            }
            std::mem::swap(&mut parent.values[*number], value);
        }
        for (around, within) in parent.groups.iter_mut().zip(&part.groups) {
            around.take_in(within);
        }
    }

    /// The cookies that a part was sent are its parent's, which had those `before`.
    fn merge_jars(&mut self, parent: u32, part: u32, jar: usize, before: &[u8]) {
        let [parent, part] = self.both(parent, part);
        let Some(after) = part.values.get(jar) else { return };
        if parent.values.len() <= jar {
            parent.values.resize_with(jar + 1, Vec::new);
        }
        jar::merge(&mut parent.values[jar], before, after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::FailureKind;
    use crate::run::load::passes::Owner;
    use crate::run::load::users::choices;

    fn passes() -> (Passes, u32) {
        let mut passes = Passes::default();
        let owner = Owner::User { load: 3, row: 7 };
        let parent = passes.begin(owner, 2, choices(42, 7, 1));
        passes[parent].values = vec![b"a".to_vec(), b"b".to_vec()];
        passes[parent].groups = vec![OpenGroup {
            from_to_us: Some((5, 9)),
            lacks: true,
            ..OpenGroup::enter(4)
        }];
        passes[parent].journey = 6;
        (passes, parent)
    }

    #[test]
    fn a_part_is_its_parents_users_and_chooses_for_itself() {
        let (mut passes, parent) = passes();
        let [one, other] = [11, 12].map(|at| passes.begin_part(parent, at));
        assert_eq!(passes.live(), 3);
        for part in [one, other] {
            let (parent, part) = (&passes[parent], &passes[part]);
            // The tokens of users' own go by the owner.
            assert_eq!((part.owner, part.class, part.journey), (parent.owner, 2, 6));
            assert_eq!(part.values, parent.values);
            let groups: Vec<_> = part
                .groups
                .iter()
                .map(|group| (group.number, group.from_to_us, group.lacks))
                .collect();
            assert_eq!(groups, [(4, None, false)]);
            assert!(!part.has_asked() && part.parts.is_none());
        }
        assert_eq!((passes[one].at, passes[other].at), (11, 12));
        let mut drawn = [parent, one, other].map(|pass| passes[pass].choices.u64(..));
        let (mut passes, parent) = self::passes();
        let [one, other] = [11, 12].map(|at| passes.begin_part(parent, at));
        assert_eq!(drawn, [parent, one, other].map(|pass| passes[pass].choices.u64(..)));
        drawn.sort_unstable();
        assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_parent_takes_over_what_a_part_extracts_and_nothing_else() {
        let (mut passes, parent) = passes();
        let part = passes.begin_part(parent, 1);
        passes[part].values = [b"x", b"y", b"z", b"!"].map(|value| value.to_vec()).to_vec();
        let around = &mut passes[part].groups[0];
        (around.from_to_us, around.failure) = (Some((7, 20)), Some(FailureKind::Dns));
        passes.take_over(parent, part, &[1, 2, 9]);
        let parent = &passes[parent];
        assert_eq!(parent.values, [b"a", b"y", b"z"].map(|value| value.to_vec()));
        let group = parent.groups[0];
        assert_eq!(
            (group.from_to_us, group.failure),
            (Some((5, 20)), Some(FailureKind::Dns))
        );
        assert!(group.lacks);
    }

    #[test]
    fn what_was_sent_before_counts_only_where_no_part_asked() {
        let mut part = Pass::empty();
        part.at = PAST_END;
        for before in [false, true] {
            let mut parts = Parts::default();
            parts.begin(before);
            for (asks, sent, then) in [
                (false, false, before),
                (true, false, false),
                (false, true, false),
                (true, true, true),
                (true, false, true),
            ] {
                part.step = if asks { 3 } else { u32::MAX };
                parts.under_way += 1;
                parts.end(&mut part, sent);
                assert_eq!((parts.sent, parts.whole), (then, true), "{before} {asks} {sent}");
            }
            part.at = 4;
            parts.under_way += 1;
            parts.end(&mut part, true);
            assert_eq!((parts.whole, parts.under_way), (false, 0));
            part.at = PAST_END;
        }
    }
}
