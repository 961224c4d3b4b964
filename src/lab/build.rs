//! The world as it is when the lab starts: every Region with its network, group, load balancer and database.
//! Opens no sockets; `serve` does.

use super::Lab;
use super::world::World;

/// The initial world of `lab`'s configuration.
#[must_use]
pub fn world(lab: &Lab) -> World {
    World {
        account: lab.config.account.clone(),
        ..World::default()
    }
}
