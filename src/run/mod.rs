//! Making it happen: load, faults and observation on one clock; the director owns the run's state.

pub mod chaos;
pub mod control;
pub mod director;
pub mod load;
pub mod observe;
mod slices;
mod stop;
mod timeline;
pub mod tls;
