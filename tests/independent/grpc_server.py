"""The shop of profiles/examples/protos by grpcio: a server that owes tenfold nothing. Takes the path of a descriptor set,
prints its port, serves until its standard input ends, and then prints what it has seen. With --tls it has the certificate
server.pem and the key server.key of that directory, with --reflection it says what its services look like."""

import argparse
import json
import pathlib
import sys
import time
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection, reflection_pb2

SHOP = "shop.v1.Shop"
seen = {"items": 0, "orders": {}, "carts": 0, "deadlines": 0, "tracked": 0, "left": 0, "reflected": 0}

parser = argparse.ArgumentParser()
parser.add_argument("descriptors")
parser.add_argument("--tls", type=pathlib.Path)
parser.add_argument("--reflection", choices=["v1", "v1alpha"])
arguments = parser.parse_args()

pool = descriptor_pool.DescriptorPool()
with open(arguments.descriptors, "rb") as file:
    for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
        pool.Add(proto)
service = pool.FindServiceByName(SHOP)


def message(name):
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"shop.v1.{name}"))


def metadata(context):
    return dict(context.invocation_metadata())


def get_item(request, context):
    seen["items"] += 1
    if metadata(context).get("authorization") != "Bearer shopper":
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
    if request.id == 404:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such item")
    if request.id == 500:
        time.sleep(3)
    return message("Item")(id=request.id, name=f"item {request.id}", price_cents=request.id * 10**10, tags=["new"])


def order(request, context):
    if context.time_remaining() is not None:
        seen["deadlines"] += 0 < context.time_remaining() <= 2
    seen["carts"] += metadata(context).get("x-cart") == request.id
    lines = [[line.item, line.amount] for line in request.lines]
    kind = json.dumps([[amount for _, amount in lines], request.delivery, dict(request.notes), request.gift])
    seen["orders"][kind] = seen["orders"].get(kind, 0) + 1
    context.set_trailing_metadata([("x-cart", "taken")])
    return message("OrderReply")(order=request.id, total_cents=sum(item * amount for item, amount in lines))


def track(request, context):
    seen["tracked"] += 1
    arrived = []
    # Whether its caller has left before it had arrived.
    context.add_callback(lambda: seen.update(left=seen["left"] + (not arrived)))
    number = 0
    while context.is_active():
        number += 1
        if number == request.positions:
            arrived.append(True)
        yield message("Position")(number=number, place=f"stop {number}", arrived=bool(arrived))
        if arrived:
            return
        time.sleep(0.005)


def handlers():
    for name, answer in {"GetItem": get_item, "Order": order, "Track": track}.items():
        method = service.methods_by_name[name]
        kind = grpc.unary_stream_rpc_method_handler if name == "Track" else grpc.unary_unary_rpc_method_handler
        yield name, kind(
            answer,
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=lambda reply: reply.SerializeToString(),
        )


class Reflection(reflection.ReflectionServicer):
    def ServerReflectionInfo(self, request_iterator, context):
        seen["reflected"] += 1
        yield from super().ServerReflectionInfo(request_iterator, context)


def reflecting(version):
    """Both versions say the same under two names; grpcio has one of them."""
    info = grpc.stream_stream_rpc_method_handler(
        Reflection([SHOP, reflection.SERVICE_NAME], pool).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=lambda reply: reply.SerializeToString(),
    )
    name = f"grpc.reflection.{version}.ServerReflection"
    return grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": info})


server = grpc.server(futures.ThreadPoolExecutor(max_workers=80))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SHOP, dict(handlers()))])
if arguments.reflection:
    server.add_generic_rpc_handlers([reflecting(arguments.reflection)])
if arguments.tls:
    pair = [(arguments.tls / name).read_bytes() for name in ("server.key", "server.pem")]
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(json.dumps({"port": port}), flush=True)
sys.stdin.read()
server.stop(0.5).wait()
print(json.dumps(seen), flush=True)
