"""The pages in a real browser: Debian's Chromium, on a Studio that watches the demo under load."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from atrion import Atrion
from atrion_studio import AtrionStudio
from atrion_studio.demo import DemoSource
from frontend_tools import FRONTEND, installed
from studio_server import chromium, serving

TOKEN = "correct horse battery"
PATIENCE = 30_000
"""Milliseconds after which something on a page will not come any more."""
PAGES = {
    "overview": "routes? refuse|Every request flows",
    "route/GET%20%2Fsearch": "GET /search",
    "cluster": "One node",
    "time": "Now",
    "whatif": "What if",
    "lab": "Lab",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoSource]:
    source = DemoSource("overload")
    source.start()
    yield source
    source.stop()


@pytest.fixture(scope="module")
def url(demo: DemoSource) -> Iterator[str]:
    studio = AtrionStudio(demo, allow_changes=True).start()
    with serving(Starlette(routes=[Mount("/studio", studio)])) as address:
        yield f"{address}/studio/"
        studio.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which nothing may go wrong: no error of a script, and nothing against the policy."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    wrong: list[str] = []
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
    yield opened
    context.close()
    assert wrong == []


def test_every_page_loads_and_numbers_are_on_it(page: Page, url: str) -> None:
    for fragment, heading in PAGES.items():
        page.goto(f"{url}#/{fragment}")
        expect(page.locator("h1")).to_have_text(re.compile(heading))
        expect(page.locator(".status")).to_contain_text("Live")


def test_numbers_move_and_what_is_refused_is_said(page: Page, url: str) -> None:
    page.goto(f"{url}#/overview")
    expect(page.locator("h1")).to_have_text(re.compile("routes? refuse"))
    row = page.locator(".row", has_text="GET /reviews")
    expect(row).to_contain_text("Refusing")
    expect(row).to_contain_text("saturated")
    before = page.locator(".tile", has_text="Admitted").inner_text()
    expect(page.locator(".tile", has_text="Admitted")).not_to_have_text(before)


def test_a_dependency_dies_and_recovers_before_ones_eyes(page: Page, url: str) -> None:
    page.goto(f"{url}#/route/payments")
    sentence = page.locator(".why")
    expect(sentence).to_contain_text("nothing is refused")
    page.locator(".scene select").select_option("outage")
    expect(page.locator("h1 + .badge")).to_contain_text("Breaker open")
    expect(sentence).to_contain_text("The breaker is open, so everything is refused: too many calls fail")
    expect(sentence).to_contain_text(re.compile(r"Resistance is [\d.]+ Ω"))
    page.locator(".scene select").select_option("calm")
    expect(page.locator("h1 + .badge")).to_contain_text("Flowing")
    expect(sentence).to_contain_text("nothing is refused")
    page.locator(".scene select").select_option("overload")


def test_scrubbing_goes_back_and_a_link_leads_to_the_same_moment(page: Page, url: str) -> None:
    page.goto(f"{url}#/time")
    back = page.get_by_role("button", name="10 s back")
    back.click()
    expect(page.locator("h1")).to_contain_text("ago")
    expect(page).to_have_url(re.compile(r"at=\d+"))
    shown = page.locator("h1").inner_text().split()[0]
    expect(page.locator("tbody tr").first).to_contain_text("Ω")
    page.get_by_label("Moment").press("ArrowLeft")
    expect(page.locator("h1")).not_to_contain_text(shown)
    earlier = page.locator("h1").inner_text().split()[0]
    again = page.context.new_page()
    again.goto(page.url)
    expect(again.locator("h1")).to_contain_text(earlier)
    page.get_by_role("button", name="Now", exact=True).click()
    expect(page.locator("h1")).to_have_text("Now")


def test_searching_and_filtering_are_part_of_the_link(page: Page, url: str) -> None:
    page.goto(f"{url}#/overview")
    expect(page.locator(".row")).to_have_count(7)
    page.keyboard.press("/")
    page.keyboard.type("GET /s")
    expect(page.locator(".row")).to_have_count(1)
    expect(page).to_have_url(re.compile("search=GET"))
    page.reload()
    expect(page.locator(".row")).to_have_count(1)
    page.locator("#search").fill("nothing like it")
    expect(page.locator(".empty")).to_contain_text("No route matches")


def test_keys_lead_to_pages_and_pause(page: Page, url: str) -> None:
    page.goto(f"{url}#/overview")
    expect(page.locator(".status")).to_contain_text("Live")
    page.keyboard.press("2")
    expect(page).to_have_url(re.compile("#/cluster"))
    page.keyboard.press("p")
    expect(page.locator(".status")).to_contain_text("Paused")
    page.keyboard.press("p")
    expect(page.locator(".status")).to_contain_text("Live")


def test_charts_and_views_can_be_saved(page: Page, url: str, tmp_path: Path) -> None:
    page.goto(f"{url}#/route/GET%20%2Fsearch")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save PNG of Throughput").click()
    saved.value.save_as(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save JSON").click()
    saved.value.save_as(tmp_path / "view.json")
    assert '"GET /search"' in (tmp_path / "view.json").read_text()


def test_a_change_takes_effect_and_a_wrong_one_is_explained(page: Page, url: str) -> None:
    page.goto(f"{url}#/route/GET%20%2Faccount")
    form = page.locator("form", has_text="γ, 0 to 1")
    form.locator("input").fill("0.55")
    form.get_by_role("button").click()
    expect(page.get_by_role("status").filter(has_text="gamma was changed")).to_be_visible()
    expect(page.locator(".facts", has_text="their share")).to_contain_text("0.55")


def test_the_past_can_be_played_again_with_another_traffic(page: Page, url: str) -> None:
    page.goto(f"{url}#/whatif/GET%20%2Fsearch")
    page.get_by_role("button", name="Play it again").click()
    expect(page.locator("h2", has_text="2 times the traffic")).to_be_visible()
    expect(page.locator("tr", has_text="Refused, of all attempts")).to_contain_text("%")


def test_the_lab_compares_two_controllers(page: Page, url: str) -> None:
    page.goto(f"{url}#/lab?scenario=steady-2x&a=atrion&b=none")
    page.get_by_role("button", name="Play").click()
    expect(page.locator("tr", has_text="critical in time").locator("td")).to_have_count(2, timeout=150_000)
    assert page.locator("tr", has_text="critical in time").locator("td").first.inner_text() == "100.0%"


def test_login_is_needed_and_works(page: Page, demo: DemoSource) -> None:
    studio = AtrionStudio(demo, token=TOKEN)
    with serving(Starlette(routes=[Mount("/studio", studio)])) as address:
        page.goto(f"{address}/studio/")
        expect(page).to_have_url(re.compile("/studio/login$"))
        page.get_by_label("Token").fill("this is a wrong one")
        page.get_by_role("button").click()
        expect(page.get_by_role("alert")).to_contain_text("wrong")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button").click()
        expect(page.locator(".status")).to_contain_text("Live")
        assert TOKEN not in page.url
        assert page.evaluate("document.cookie") == ""
        fresh = page.context.browser.new_page() if page.context.browser else page
        fresh.goto(f"{address}/studio/?token={TOKEN.replace(' ', '+')}")
        expect(fresh.locator(".status")).to_contain_text("Live")
        assert "token" not in fresh.url
        fresh.close()
        page.goto("about:blank")
        studio.close()


def test_three_thousand_routes_are_there_and_few_of_them_in_the_page(page: Page) -> None:
    engine = Atrion()
    for n in range(3000):
        engine.find(f"GET /route/{n:04}")
    studio = AtrionStudio(engine)
    with serving(Starlette(routes=[Mount("/studio", studio)])) as address:
        page.goto(f"{address}/studio/#/overview?sort=name")
        expect(page.locator(".tile", has_text="Routes")).to_contain_text("3,000")
        expect(page.locator(".row").first).to_contain_text("/route/0000")
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(page.locator(".row").last).to_contain_text("/route/2999")
        assert page.locator(".row").count() < 60
        page.goto("about:blank")
        studio.close()


def test_without_a_route_it_says_what_to_do(page: Page) -> None:
    studio = AtrionStudio(Atrion())
    with serving(Starlette(routes=[Mount("/studio", studio)])) as address:
        page.goto(f"{address}/studio/")
        expect(page.locator(".empty")).to_contain_text("Guard one with")
        page.goto(f"{address}/studio/#/route/nowhere")
        expect(page.locator(".empty")).to_contain_text("no such route")
        page.goto("about:blank")
        studio.close()


@pytest.mark.parametrize("scheme, width", [("dark", 1280), ("light", 390)])
def test_axe_finds_no_serious_fault(browser: Browser, url: str, scheme: str, width: int) -> None:
    installed()
    axe = (FRONTEND / "node_modules" / "axe-core" / "axe.min.js").read_text()
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    found = {}
    for fragment, heading in PAGES.items():
        opened.goto(f"{url}#/{fragment}")
        expect(opened.locator("h1")).to_have_text(re.compile(heading))
        opened.evaluate(axe)
        result = opened.evaluate("axe.run({resultTypes: ['violations']})")
        for fault in result["violations"]:
            if fault["impact"] in {"serious", "critical"}:
                found[f"{fragment}: {fault['id']}"] = [node["html"][:120] for node in fault["nodes"][:3]]
    context.close()
    assert found == {}
