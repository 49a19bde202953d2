"""The same dependency behind every HTTP client: python examples/clients/http_clients.py http://127.0.0.1:8000/."""

import asyncio
import sys
from urllib.parse import urlsplit

import aiohttp
import httpx
import requests

from atrion import Atrion, FlowRejected
from atrion.integrations.aiohttp_client import guard
from atrion.integrations.httpx import AsyncAtrionTransport, AtrionTransport
from atrion.integrations.requests import install
from atrion.integrations.urllib3 import AtrionPoolManager

atrion = Atrion()
url = sys.argv[1]
host = urlsplit(url).netloc

with httpx.Client(transport=AtrionTransport(atrion)) as client:
    print("httpx", client.get(url).status_code)

with requests.Session() as session:
    install(session, atrion)
    print("requests", session.get(url).status_code)

with AtrionPoolManager(atrion) as pool:
    print("urllib3", pool.request("GET", url).status)


async def asynchronous() -> None:
    async with httpx.AsyncClient(transport=AsyncAtrionTransport(atrion)) as client:
        print("httpx, async", (await client.get(url)).status_code)
    async with aiohttp.ClientSession(middlewares=[guard(atrion)]) as session, session.get(url) as response:
        print("aiohttp", response.status)


asyncio.run(asynchronous())
print(atrion.snapshot()[host])

try:
    atrion.force(host, 1000.0)  # as if the dependency were down
    httpx.Client(transport=AtrionTransport(atrion)).get(url)
except FlowRejected as shed:
    print("not sent:", shed)
