//! AWS as the harness needs it: one file per service, plain structs out. No SDK type leaves this folder.
//! Knows neither plan nor run; whether the endpoint is AWS or something that speaks like it is not known here either.

mod arczonalshift;
mod autoscaling;
mod cloudwatch;
mod connect;
mod ec2;
mod elasticloadbalancingv2;
mod error;
mod fis;
mod iam;
mod imds;
mod rds;
mod route53;
mod sts;

pub use arczonalshift::ZonalShift;
pub use autoscaling::{Activity, Group, Member};
pub use cloudwatch::{Alarm, AlarmMetric, Point};
pub use connect::{Clients, ConnectOptions, Reader, Writer};
pub use ec2::{Association, Instance, NetworkAcl, NetworkInterface, Subnet, Volume};
pub use elasticloadbalancingv2::{LoadBalancer, Target, TargetGroup};
pub use error::{AwsError, Called, ErrorKind};
pub use fis::{FisExperiment, NewAction, NewTemplate};
pub use iam::IamRole;
pub use imds::{OwnInstance, own_instance};
pub use rds::{ClusterMember, DbCluster, DbEvent, DbInstance, GlobalCluster, GlobalMember};
pub use route53::{HealthCheck, HealthCheckView, RecordSet};
pub use sts::Caller;

use std::collections::BTreeMap;

/// Tags of a resource.
pub type Tags = BTreeMap<String, String>;
