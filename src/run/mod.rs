//! Making it happen: load, faults and observation on one clock; the director owns the run's state.

pub mod chaos;
pub mod load;
pub mod observe;
