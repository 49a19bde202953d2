"""A plain WSGI application: python examples/servers/wsgi_shop.py 8000."""

import sys
from collections.abc import Iterable
from typing import Any
from wsgiref.simple_server import make_server

from atrion import Atrion
from atrion.integrations.wsgi import AtrionMiddleware


def shop(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("content-type", "application/json")])
    return [b'{"item": 7}']


app = AtrionMiddleware(
    shop,
    Atrion(),
    tiers={"/checkout": "critical", "/export/*": "bulk"},
    exclude=["/health"],
)

if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
