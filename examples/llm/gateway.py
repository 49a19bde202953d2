"""A gateway to a model server, which sheds by tier and tokens: python examples/llm/gateway.py 8000."""

import sys

import uvicorn
from fastapi import FastAPI, Header
from model_server import serving
from openai import AsyncOpenAI
from pydantic import BaseModel

from atrion import Atrion
from atrion.integrations.fastapi import install
from atrion.integrations.llm import guard
from atrion.propagation import use

port = int(sys.argv[1])
app, atrion = FastAPI(), Atrion()


class Question(BaseModel):
    prompt: str
    tokens: int = 20


@app.post("/ask")
async def ask(question: Question, x_atrion_tier: str = Header("normal")) -> dict[str, str | None]:
    with use(tier=x_atrion_tier):
        answer = await client.chat.completions.create(
            model="small",
            messages=[{"role": "user", "content": question.prompt}],
            max_tokens=question.tokens,
        )
    return {"answer": answer.choices[0].message.content}


install(app, atrion, trust_tier_header=True)  # a proxy in front of this sets the header

if __name__ == "__main__":
    with serving() as address:
        client = guard(AsyncOpenAI(base_url=address, api_key="none", max_retries=0), atrion, dependency="gpt")
        uvicorn.run(app, port=port, log_level="error")
