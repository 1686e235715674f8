"""The page on which all endpoints can be tried out; its scripts come from here, so that no other host is needed."""

from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.staticfiles import StaticFiles

PAGE = "/docs"
ASSETS = "/docs-assets"
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='3' fill='%231b5e84'/%3E"
    "%3Cpath d='M9 2 4 9h3l-1 5 6-8H8z' fill='%23ffd54f'/%3E%3C/svg%3E"
)
_SENTENCE = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
_REFUSED = {"description": "Why not, in one sentence.", "content": {"application/json": {"schema": _SENTENCE}}}


class DocumentedAPI(FastAPI):
    """An application that tells of each endpoint in the words of its docstring, and serves the page that shows them."""

    def __init__(self, **given: Any) -> None:
        super().__init__(docs_url=None, redoc_url=None, responses={"4XX": _REFUSED}, **given)
        # Of that package only files are used: Swagger UI as its authors publish it.
        self.mount(ASSETS, StaticFiles(directory=str(files("fastapi_offline") / "static")))
        self.add_api_route(PAGE, self._page, include_in_schema=False)

    def openapi(self) -> dict[str, Any]:
        """The description of all endpoints, made once."""
        is_made = self.openapi_schema is not None
        found = super().openapi()
        for path in () if is_made else found["paths"].values():
            for operation in path.values():
                operation["summary"] = operation.pop("description").rstrip(".").replace("`", "")
        return found

    async def _page(self) -> Response:
        return get_swagger_ui_html(
            openapi_url=str(self.openapi_url),
            title=f"{self.title}: all endpoints",
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=ICON,
        )
