"""Two models, the first of which is soon used up: python examples/llm/fallback.py."""

from collections import Counter

from model_server import serving
from openai import OpenAI

from atrion import Atrion, FlowRejected
from atrion.integrations.llm import guard

atrion = Atrion()
answered: Counter[str] = Counter()

with serving() as address, guard(OpenAI(base_url=address, api_key="none", max_retries=0), atrion) as client:
    host = client.base_url.netloc.decode()

    def ask(prompt: str) -> str:
        """The answer of the model with the least resistance; of the other one, if that one is shed at this moment."""
        models = ["large", "small"]
        first = atrion.select([f"{host}/{model}" for model in models]).rpartition("/")[2]
        for model in sorted(models, key=lambda model: model != first):
            try:
                answer = client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": prompt}], max_tokens=5
                )
            except FlowRejected:
                continue
            answered[model] += 1
            return str(answer.choices[0].message.content)
        raise SystemExit("both models are used up")

    for number in range(100):
        ask(f"What is {number} ohms?")

print(dict(answered))
for route, seen in atrion.snapshot().items():
    print(f"{route}: {seen.resistance:.0f} Ω")
