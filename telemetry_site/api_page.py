"""The OpenAPI schema, and Swagger UI with its own content security policy. The site serves Swagger UI itself."""

from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request


class ApiSchema(SpectacularAPIView):
    """The schema has one version. drf-spectacular would copy the parameter `version` into a header."""

    def _get_version_parameter(self, request: Request) -> None:
        return None


@method_decorator(csp_update({"img-src": ["data:"]}), name="dispatch")
class ApiPage(SpectacularSwaggerSplitView):
    """Swagger UI loads its icons from `data:` URLs. Other pages forbid them."""

    url_name = "api-schema"
    template_name = "api_page.html"
