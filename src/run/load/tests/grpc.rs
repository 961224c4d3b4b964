//! Calls of gRPC against servers whose answers a test decides.

use super::*;

/// The plan, whose only step calls `method` of the example's shop.
pub(super) fn calling(mut plan: Plan, method: &str) -> Plan {
    let shop = protox::compile(["shop.proto"], ["profiles/examples/protos"]).unwrap();
    plan.services = Some(ServicesPlan::Descriptors(prost::Message::encode_to_vec(&shop)));
    plan.client.connections.http2 = Some(10);
    plan.steps = vec![StepPlan {
        protocol: Protocol::Grpc(GrpcStep::default()),
        body: Some(Body {
            content_type: "application/grpc".to_owned(),
            template: text("{}"),
            encoding: Encoding::Json,
            compress: None,
        }),
        ..step("call", "POST", &format!("/shop.v1.Shop/{method}"))
    }];
    plan
}
