//! Eventual consistency: for a while after a change, a Describe call may answer as if it had not been made.
//! Copies of the world are kept from before each change; who reads gets one that is up to `control_plane.lag` old, by
//! the seed and anew for each call, so that answers may even go back in time, as AWS's do. What the cloud does by itself
//! is seen late only in such a copy. Nothing but answers is late: the data plane and what a change is checked
//! against are the present.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::manners::is_read;
use crate::lab::Lab;
use crate::lab::world::{CloudTime, World};

/// Most copies that are kept; a burst of changes drops the oldest.
const MOST_COPIES: usize = 16;
/// Services whose answers may be late. Route 53 documents that its lists are current, CloudWatch has a delay of its own.
const LATE: [&str; 4] = ["ec2", "autoscaling", "elasticloadbalancing", "rds"];

/// The world as it was before the latest changes, oldest first.
#[derive(Debug, Default)]
pub struct Past {
    copies: Mutex<VecDeque<(CloudTime, Arc<World>)>>,
}

impl Past {
    /// What a call of `action` sees: an old world, or none for the present. A call that changes something sees the
    /// present, and leaves a copy of it for those who come after.
    pub fn seen(&self, lab: &Lab, service: &str, action: &str) -> Option<Arc<World>> {
        let lag = lab.config.control_plane.lag.as_secs_f64();
        if lag <= 0.0 || !LATE.contains(&service) {
            return None;
        }
        let now = lab.now();
        if !is_read(action) {
            let copy = Arc::new(lab.world().clone());
            self.keep(now, lag, copy);
            return None;
        }
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.retain(|(at, _)| now - at <= lag);
        if copies.is_empty() {
            return None;
        }
        let age = lab.draw(0.0..=lag);
        let old = copies.iter().find(|(at, _)| now - at <= age);
        old.map(|(_, world)| Arc::clone(world))
    }

    fn keep(&self, now: CloudTime, lag: f64, copy: Arc<World>) {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.retain(|(at, _)| now - at <= lag);
        if copies.len() == MOST_COPIES {
            copies.pop_front();
        }
        copies.push_back((now, copy));
    }
}
