"""A database and Redis, guarded: python examples/clients/stores.py redis://127.0.0.1:6379/0."""

import sys

import redis
from sqlalchemy import create_engine, text

from atrion import Atrion
from atrion.integrations import redis as for_redis
from atrion.integrations import sqlalchemy as for_sqlalchemy

atrion = Atrion()

engine = create_engine("sqlite://")
for_sqlalchemy.install(engine, atrion, dependency="database")
with engine.connect() as connection:
    print("database", connection.execute(text("select 7")).scalar())

client = redis.Redis.from_url(sys.argv[1])
for_redis.install(client, atrion, dependency="cache")
client.set("item", "7")
print("cache", client.get("item"))
client.close()
engine.dispose()

for name, state in atrion.snapshot().items():
    print(name, state.admitted)
