//! How requests ended by the place that answered them: Region, AZ and instance.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::recording::{Recording, ServedBy};

/// How many requests succeeded and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// Succeeded.
    pub ok: u64,
    /// Failed: the place gave a wrong answer, or, of a Region, none.
    pub failed: u64,
}

/// Requests by place; what no answer and no map of addresses can place is `unknown`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Places {
    /// By Region: of the answer, or of the address where there was none.
    pub regions: BTreeMap<String, Outcomes>,
    /// By AZ, of the answers that name one.
    pub azs: BTreeMap<String, Outcomes>,
    /// By instance, of the answers that name one.
    pub instances: BTreeMap<String, Outcomes>,
}

impl Places {
    /// Sums a recording up.
    #[must_use]
    pub fn new(recording: &Recording) -> Self {
        let mut places = Self::default();
        for slice in &recording.slices {
            for (by, count) in &slice.served {
                places.each(by, |outcomes| outcomes.ok += count);
            }
            for (by, count) in &slice.served_failed {
                places.each(by, |outcomes| outcomes.failed += count);
            }
        }
        places
    }

    fn each(&mut self, by: &ServedBy, count: impl Fn(&mut Outcomes)) {
        let region = if by.region.is_empty() { "unknown" } else { &by.region };
        count(self.regions.entry(region.to_owned()).or_default());
        for (all, name) in [(&mut self.azs, &by.az), (&mut self.instances, &by.instance)] {
            if !name.is_empty() {
                count(all.entry(name.clone()).or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::fixture::{EAST, Fixture, LENGTH, well};
    use crate::plan::Fault;

    #[test]
    fn places_add_up_by_each_part_of_who_served() {
        let mut fixture = Fixture::new(Fault::RdsFailover, "database", Vec::new(), well);
        let failed = &mut fixture.recording.slices[7].served_failed;
        failed.insert(ServedBy::parse("i-2/us-east-1b/us-east-1"), 5);
        failed.insert(ServedBy::parse("//us-east-1"), 3);
        failed.insert(ServedBy::default(), 2);
        let places = Places::new(&fixture.recording);
        let outcomes = |ok, failed| Outcomes { ok, failed };
        assert_eq!(places.regions[EAST], outcomes(100 * LENGTH, 8));
        assert_eq!(places.regions["unknown"], outcomes(0, 2));
        assert_eq!(places.azs["us-east-1b"], outcomes(67 * LENGTH, 5));
        assert_eq!(places.instances["i-1"], outcomes(33 * LENGTH, 0));
        assert_eq!(places.azs.len(), 2);
    }
}
