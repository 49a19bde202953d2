"""A Flask shop: python examples/servers/flask_shop.py 8000, or gunicorn -w 2 --threads 4 flask_shop:app."""

import sys

from flask import Flask

from atrion import Atrion
from atrion.integrations.flask import install, tier

app = Flask(__name__)


@app.get("/items/<int:item>")
def item(item: int) -> dict[str, int]:
    return {"item": item}


@app.post("/checkout")
@tier("critical")
def checkout() -> dict[str, bool]:
    return {"paid": True}


@app.get("/health")
def health() -> str:
    return "ok"


install(
    app,
    Atrion(),
    key=lambda environ: environ.get("HTTP_X_USER"),
    tiers={"/export/*": "bulk"},
    exclude=["/health"],
)

if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
