"""A chat over WebSocket and a ticker of server-sent events by aiohttp, a feed over compressed WebSocket by websockets, and
lines over TCP by asyncio: servers that owe tenfold nothing. Prints their ports, serves until its standard input ends, and then prints what it has seen."""

import asyncio
import json
import sys

from aiohttp import WSMsgType, web
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import PerMessageDeflate

seen = {"sessions": 0, "pings": 0, "closed": {}, "said": 0, "streams": 0, "live": 0, "accept": [], "lines": 0, "connections": 0}
seen |= {"feeds": 0, "plain": 0, "compressed": 0, "agreed": {}}


async def chat(request):
    if request.headers.get("authorization") != "Bearer chatter":
        return web.Response(status=401)
    socket = web.WebSocketResponse(protocols=["chat.v1"], autoping=False)
    await socket.prepare(request)
    seen["sessions"] += 1
    agreed = str(socket.compress)
    seen["agreed"][agreed] = seen["agreed"].get(agreed, 0) + 1
    number = seen["sessions"]
    async for message in socket:
        if message.type == WSMsgType.PING:
            seen["pings"] += 1
            await socket.pong(message.data)
        elif message.type == WSMsgType.TEXT:
            asked = json.loads(message.data)
            if asked["type"] == "join":
                await socket.send_json({"type": "welcome", "user": number})
            elif asked["type"] == "say" and asked["user"] == str(number):
                seen["said"] += 1
                # What goes on in the room comes first, and the server wants to know whether the user is there.
                await socket.ping(b"there?")
                await socket.send_json({"type": "noise"})
                await socket.send_json({"type": "said", "text": asked["text"]})
    code = str(socket.close_code)
    seen["closed"][code] = seen["closed"].get(code, 0) + 1
    return socket


async def stream(request, kind):
    answer = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    await answer.prepare(request)
    seen[kind] += 1
    if request.headers.get("accept") not in seen["accept"]:
        seen["accept"].append(request.headers.get("accept"))
    await answer.write(b": welcome\n\n")
    return answer


async def live(request):
    answer = await stream(request, "live")
    try:
        while True:  # It is its user who leaves.
            await answer.write(b"data: {}\n\n")
            await asyncio.sleep(0.01)
    except ConnectionResetError:
        return answer


async def prices(request):
    answer = await stream(request, "streams")
    try:
        for number in range(1, 4):
            await asyncio.sleep(0.01)
            price = json.dumps({"item": request.query["item"], "price": number})
            await answer.write(f"event: price\nid: {number}\ndata: {price}\n\n".encode())
        await answer.write(b"event: closing\r\ndata: {\r\ndata: \"left\": 0}\r\n\r\n")
    except ConnectionResetError:
        pass  # Its user has seen enough.
    return answer


async def lines(reader, writer):
    seen["connections"] += 1
    stored = {}
    while line := await reader.readline():
        seen["lines"] += 1
        command, _, rest = line.decode().rstrip("\r\n").partition(" ")
        key, _, value = rest.partition(" ")
        if command == "SET":
            stored[key] = value
            writer.write(b"+OK\r\n")
        elif command == "GET" and key in stored:
            writer.write(b"$" + stored[key].encode() + b"\r\n")
        else:
            writer.write(b"-ERR\r\n")
        await writer.drain()
    writer.close()


class Counted(PerMessageDeflate):
    """Tells the messages that came compressed from those that did not."""

    def decode(self, frame, **bounds):
        if frame.opcode.name in ("TEXT", "BINARY"):
            seen["compressed" if frame.rsv1 else "plain"] += 1
        return super().decode(frame, **bounds)


async def feed(socket):
    seen["feeds"] += 1
    for extension in socket.protocol.extensions:
        extension.__class__ = Counted
        agreed = str(extension)
        seen["agreed"][agreed] = seen["agreed"].get(agreed, 0) + 1
    async for message in socket:
        if isinstance(message, bytes):
            await socket.send(message)
            continue
        asked = json.loads(message)
        text = json.dumps({"rows": [{"number": number, "say": asked["say"]} for number in range(asked["rows"])]})
        # In fragments, between which it may ask whether its user is there.
        await socket.send([text[:7], text[7:9000], text[9000:]])


async def main():
    app = web.Application()
    app.router.add_get("/chat", chat)
    app.router.add_get("/prices", prices)
    app.router.add_get("/prices/live", live)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    tcp = await asyncio.start_server(lines, "127.0.0.1", 0)
    feeds = await serve(feed, "127.0.0.1", 0)
    listening = [runner.addresses[0], *(server.sockets[0].getsockname() for server in (tcp, feeds))]
    print(json.dumps(dict(zip(("http", "tcp", "feed"), (address[1] for address in listening)))), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps(seen), flush=True)


asyncio.run(main())
