"""What a person sees who opens the API in a browser, on a network without the internet."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from opeva_api.testing import Stage

Open = Callable[[str], None]


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the browser complains of."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.fixture
def strangers(page: Page, stage: Stage) -> list[str]:
    """Addresses of other hosts that the pages asked for; none of them gets an answer."""
    own = urlsplit(str(stage.client.base_url)).netloc
    found: list[str] = []

    def let_own_pass(route: Route) -> None:
        if urlsplit(route.request.url).netloc in (own, ""):
            route.continue_()
        else:
            found.append(route.request.url)
            route.abort()

    page.context.route("**/*", let_own_pass)
    return found


@pytest.fixture
def open_page(page: Page, stage: Stage) -> Open:
    """Opens a path of the API."""

    def opened(path: str) -> None:
        answer = page.goto(f"{stage.client.base_url}{path}")
        assert answer is not None
        assert answer.status == 200

    return opened


def test_the_first_page_says_what_this_is(
    page: Page, stage: Stage, open_page: Open, complaints: list[str], strangers: list[str]
) -> None:
    open_page("/")
    expect(page).to_have_title("OPEVA jobs")
    expect(page.get_by_role("heading", level=1)).to_have_text("OPEVA jobs")
    expect(page.get_by_text("A job is a spec file")).to_be_visible()
    expect(page.get_by_text("All is well")).to_be_visible()
    expect(page.locator("pre")).to_contain_text(f"curl -X POST {stage.client.base_url}/run-simulation")
    assert complaints == strangers == []


def test_every_link_of_the_first_page_leads_somewhere(page: Page, open_page: Open, strangers: list[str]) -> None:
    open_page("/")
    links = page.locator("a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert {"/docs", "/jobs", "/hosts", "/health"} <= set(links)
    for link in links:
        open_page("/")
        with page.expect_response(f"**{link}") as answer:
            page.locator(f'a[href="{link}"]').click()
        assert answer.value.status == 200, link
    assert strangers == []


def test_the_first_page_tells_of_trouble_as_text(page: Page, stage: Stage, open_page: Open) -> None:
    stage.operator.beats(problems=["specs/<b>x</b> is not mounted"])
    stage.eventually(lambda: stage.get("/health").json()["status"] == "degraded")
    open_page("/")
    expect(page.get_by_text("Specs/<b>x</b> is not mounted.")).to_be_visible()
    expect(page.get_by_text("All is well")).to_have_count(0)


def test_the_docs_show_every_endpoint_without_the_internet(
    page: Page, stage: Stage, open_page: Open, complaints: list[str], strangers: list[str]
) -> None:
    open_page("/docs")
    paths = stage.get("/openapi.json").json()["paths"]
    operations = [operation for path in paths.values() for operation in path.values()]
    expect(page.locator(".opblock")).to_have_count(len(operations))
    for operation in operations:
        expect(page.locator(".opblock-summary-description", has_text=operation["summary"]).first).to_be_visible()
    # The style sheet has arrived too: without it the method would be no coloured box.
    colour = page.locator(".opblock-post .opblock-summary-method").first.evaluate("e => getComputedStyle(e).background")
    assert "rgb(73, 204, 144)" in colour
    assert complaints == strangers == []


def test_a_run_can_be_asked_for_from_the_docs(
    page: Page, stage: Stage, open_page: Open, complaints: list[str], strangers: list[str]
) -> None:
    stage.operator.writes("configs/rbc-quick.yaml", "experiment: {name: Grid}\n")
    open_page("/docs")
    block = page.locator(".opblock", has_text="/run-simulation")
    block.locator(".opblock-summary").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table .response .microlight").first
    expect(answer).to_contain_text('"status": "queued"')
    assert [job["status"] for job in stage.get("/jobs").json()] == ["queued"]
    assert complaints == strangers == []


def test_an_error_in_the_docs_is_one_sentence(stage: Stage) -> None:
    description = stage.get("/openapi.json").json()
    assert "HTTPValidationError" not in str(description)
    refused = description["paths"]["/jobs"]["get"]["responses"]["4XX"]["content"]["application/json"]["schema"]
    assert refused["properties"]["detail"] == {"type": "string"}
