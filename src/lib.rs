//! tenfold grows load on an AWS architecture tenfold at a time, breaks it at every step, and proves from the
//! users' side whether it held.

pub mod aws;
pub mod cli;
pub mod clock;
pub mod config;
pub mod event;
pub mod judge;
pub mod lab;
pub mod plan;
pub mod recording;
pub mod report;
pub mod run;
pub mod units;
