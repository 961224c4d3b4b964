//! The endpoint driven by the real SDK: every operation's answer decodes, and errors carry AWS's codes.

mod changes;
mod ec2;
mod fis;
mod global;
mod manners;
mod regional;

use std::sync::Arc;

use crate::lab::config::LabConfig;
use crate::lab::{Lab, LabOptions, start};
use crate::units::Pace;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::Credentials;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

const REGION: &str = "us-east-1";

/// A lab with its endpoint, and the SDK's configuration for it.
async fn lab(config: serde_json::Value) -> (Arc<Lab>, SdkConfig) {
    let config = LabConfig::from_json(config).expect("a valid configuration");
    let pace = std::env::var("LAB_PACE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(120.0);
    let options = LabOptions::at_pace(Pace::new(pace).expect("a pace"));
    let (lab, announcement) = start(config, options).await.expect("a lab");
    let sdk = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(announcement.endpoint)
        .credentials_provider(Credentials::new("lab", "lab", None, None, "test"))
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .load()
        .await;
    (lab, sdk)
}

async fn plain_lab() -> (Arc<Lab>, SdkConfig) {
    lab(serde_json::json!({})).await
}

/// The code of a refusal.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(
    result: Result<T, SdkError<E, R>>,
) -> String {
    match result {
        Err(SdkError::ServiceError(error)) => error.err().code().unwrap_or("no code").to_owned(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}
