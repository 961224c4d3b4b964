//! What this process may use, held against a plan before anything is sent. The arithmetic is the plan's.

use std::net::{SocketAddr, UdpSocket};

use anyhow::anyhow;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cli::exit::Failure;
use crate::cli::out;
use crate::plan::{Addresses, Capacity, Plan, capacity};
use crate::run::load;

/// Lets this process, and the lab it may start, open as many files as the user is allowed to.
pub(super) fn raise() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Where it is refused the check that follows says what is missing.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Refuses what cannot be sent from here, and warns of what may not be.
pub(super) fn check(plan: &Plan, entry: &[SocketAddr]) -> Result<(), Failure> {
    check_sources(plan)?;
    match verdict(plan, entry) {
        Capacity::Enough => Ok(()),
        Capacity::Doubtful(why) => {
            out::tell(&format!("warning: {why}"));
            Ok(())
        }
        Capacity::Lacking(why) => Err(Failure::usage(anyhow!(why))),
    }
}

/// Refuses source addresses that are none of this machine's.
pub(super) fn check_sources(plan: &Plan) -> Result<(), Failure> {
    for source in &plan.client.connections.sources {
        if let Err(error) = UdpSocket::bind((*source, 0)) {
            return Err(Failure::usage(anyhow!(
                "cannot send from {source}: {error}\nhint: `source_addresses` are addresses of this machine, see `ip address`"
            )));
        }
    }
    Ok(())
}

/// What a plan needs of this machine, held against what there is.
pub(super) fn verdict(plan: &Plan, entry: &[SocketAddr]) -> Capacity {
    capacity(
        plan,
        load::connections_max(plan),
        addresses(plan, entry),
        load::limits(),
    )
}

/// Users are spread over the addresses of a DNS answer: all there are, or those of one Region when it stands alone.
fn addresses(plan: &Plan, entry: &[SocketAddr]) -> Addresses {
    let of = |region: &str| plan.target.edge.values().filter(|of| *of == region).count();
    let fewest = plan.target.edge.values().map(|region| of(region)).min();
    Addresses {
        all: entry.len(),
        fewest: fewest.unwrap_or(entry.len()),
    }
}
