//! Making it happen: load, faults and observation on one clock; the director owns the run's state.

pub mod chaos;
pub mod coding;
pub mod control;
pub mod director;
mod freeze;
pub mod http1;
pub mod load;
mod notes;
pub mod oauth2;
pub mod observe;
mod recorded;
pub mod reflection;
pub mod sigv4;
mod slices;
mod spool;
mod stop;
mod timeline;
pub mod tls;
