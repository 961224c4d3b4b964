//! tenfold grows load on an AWS architecture tenfold at a time, breaks it at every step, and proves from the
//! users' side whether it held.

pub mod clock;
pub mod lab;
pub mod units;
