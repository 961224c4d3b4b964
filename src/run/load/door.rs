//! Doors: the ways into the target. All HTTP goes through the first, the target's own port; raw TCP may go to other
//! ports, in the clear or through TLS. Connections of one door are never used for another.

use std::sync::Arc;

use crate::plan::{Plan, Protocol, StepPlan};
use crate::run::tls::{Tls, TlsError};

/// One way in.
#[derive(Clone, Debug)]
pub struct Door {
    /// The same at every address.
    pub port: u16,
    /// None speaks in the clear.
    pub tls: Option<Arc<Tls>>,
}

/// All doors that the steps of a plan use; the first is that of HTTP.
pub fn doors(plan: &Plan) -> Result<Vec<Door>, TlsError> {
    let tls = match plan.client.connections.http2 {
        None => Tls::to(&plan.target, &plan.client.tls)?,
        Some(_) => Tls::to_http2(&plan.target, &plan.client.tls)?,
    };
    let mut doors = vec![Door {
        port: plan.target.port,
        tls,
    }];
    for (port, tls) in further(plan) {
        let tls = tls.then(|| Tls::without_alpn(&plan.target.host, &plan.client.tls));
        doors.push(Door {
            port,
            tls: tls.transpose()?.map(Arc::new),
        });
    }
    Ok(doors)
}

/// The index of the door that a step of the plan uses.
#[must_use]
pub fn door_of(plan: &Plan, step: &StepPlan) -> u32 {
    let Some(wanted) = other(plan, step) else { return 0 };
    let index = further(plan).iter().position(|door| *door == wanted);
    index.map_or(0, |index| index as u32 + 1)
}

/// Port and TLS of the doors after the first, each once.
fn further(plan: &Plan) -> Vec<(u16, bool)> {
    let mut doors = Vec::new();
    for door in plan.steps.iter().filter_map(|step| other(plan, step)) {
        if !doors.contains(&door) {
            doors.push(door);
        }
    }
    doors
}

fn other(plan: &Plan, step: &StepPlan) -> Option<(u16, bool)> {
    match &step.protocol {
        Protocol::Tcp(tcp) => Some((tcp.port.unwrap_or(plan.target.port), tcp.tls)),
        _ => None,
    }
}
