"""An identity provider by oauthlib and the API behind it, over aiohttp: servers that owe tenfold nothing. Takes its settings
as JSON: how long tokens last, whether the answer says so, which token requests it answers 503 (from the number `fails[0]` on, up
to `fails[1]`), whether it gives refresh tokens, at which request of the API it takes back all tokens but the first, and
the PEM file of a certificate with its key, with which it speaks TLS too. Prints its ports, serves until its standard input
ends, and then prints what it has seen. Every token begins with `tok-`."""

import asyncio
import base64
import json
import ssl
import sys
import time
from urllib.parse import unquote_plus

from aiohttp import web
from oauthlib.oauth2 import BackendApplicationServer, RefreshTokenGrant, RequestValidator

ID, SECRET = "load test", "s3cret&more:%"
settings = {"lasts": 3600, "says": True, "fails": [0, 0], "refresh": False, "revoke": 0, "pem": None} | json.loads(sys.argv[1])
seen = {"asked": [], "grants": {}, "credentials": {}, "audiences": [], "failed": 0, "used": {}, "refused": 0, "requests": 0}
tokens, refreshes = {}, set()


class Client:
    client_id = ID


class Validator(RequestValidator):
    def authenticate_client(self, request, *args, **kwargs):
        header = request.headers.get("Authorization", "")
        if header.startswith("Basic "):
            how, pair = "header", [unquote_plus(part) for part in base64.b64decode(header[6:]).decode().split(":")]
        else:
            how, pair = "form", [request.client_id, request.client_secret]
        seen["credentials"][how] = seen["credentials"].get(how, 0) + 1
        request.client = Client()
        return pair == [ID, SECRET]

    def validate_grant_type(self, client_id, grant_type, client, request, *args, **kwargs):
        seen["grants"][grant_type] = seen["grants"].get(grant_type, 0) + 1
        return grant_type in ("client_credentials", "refresh_token")

    def get_default_scopes(self, client_id, request, *args, **kwargs):
        return ["orders"]

    def validate_scopes(self, client_id, scopes, client, request, *args, **kwargs):
        return set(scopes) <= {"orders", "products"}

    def validate_refresh_token(self, refresh_token, client, request, *args, **kwargs):
        request.user = None
        return refresh_token in refreshes

    def get_original_scopes(self, refresh_token, request, *args, **kwargs):
        return ["orders", "products"]

    def save_bearer_token(self, token, request, *args, **kwargs):
        tokens[token["access_token"]] = (time.monotonic() + settings["lasts"], token["scope"].split())

    def validate_bearer_token(self, token, scopes, request):
        ends, granted = tokens.get(token, (0, []))
        return ends > time.monotonic() and set(scopes) <= set(granted)


def new_token(request, refresh_token=False):
    return f"tok-{len(seen['asked'])}-{'x' * 40}"


validator = Validator()
server = BackendApplicationServer(validator, token_generator=new_token, token_expires_in=settings["lasts"])
server.grant_types["refresh_token"] = RefreshTokenGrant(validator)


async def token(request):
    seen["asked"].append(time.time())
    if settings["fails"][0] <= len(seen["asked"]) < settings["fails"][1]:
        seen["failed"] += 1
        return web.Response(status=503, text=f"busy, {SECRET}")
    body = await request.text()
    audience = (await request.post()).get("audience")
    if audience not in seen["audiences"]:
        seen["audiences"].append(audience)
    headers, text, status = server.create_token_response(
        f"https://id.example.com{request.path_qs}", request.method, body, dict(request.headers)
    )
    answer = json.loads(text)
    if status == 200 and settings["refresh"]:
        answer["refresh_token"] = f"tok-refresh-{len(seen['asked'])}"
        refreshes.add(answer["refresh_token"])
    if not settings["says"]:
        answer.pop("expires_in", None)
    return web.json_response(answer, status=status)


async def api(request):
    seen["requests"] += 1
    if seen["requests"] == settings["revoke"]:
        for taken_back in list(tokens)[1:]:
            del tokens[taken_back]
    fine, _ = server.verify_request(
        f"https://api.example.com{request.path_qs}", request.method, None, dict(request.headers), ["orders"]
    )
    if not fine:
        seen["refused"] += 1
        return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    used = request.headers["Authorization"].split()[1].split("-")[1]
    seen["used"][used] = seen["used"].get(used, 0) + 1
    return web.Response(status=201 if request.method == "POST" else 200)


async def main():
    app = web.Application()
    app.router.add_post("/oauth/token", token)
    app.router.add_route("*", "/orders", api)
    app.router.add_route("*", "/orders/{id}", api)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    if settings["pem"]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings["pem"])
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    print(json.dumps([address[1] for address in runner.addresses]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps(seen), flush=True)


asyncio.run(main())
