//! A small cloud in one process: AWS control plane on the wire, data plane on real sockets, Route 53 on real DNS.
//! Knows nothing of the harness, which meets it only through sockets.

pub mod error;
pub mod world;
