"""Tasks for Celery: celery -A celery_shop worker."""

from celery import Celery

from atrion import Atrion
from atrion.integrations.celery import install

app = Celery("shop", broker="redis://127.0.0.1:6379/0")
install(app, Atrion(), tier={"shop.report": "bulk", "shop.receipt": "critical"}.get)


@app.task(name="shop.receipt")
def receipt(order: int) -> str:
    return f"receipt of {order}"
