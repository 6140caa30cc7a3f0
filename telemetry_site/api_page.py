"""The description of the API, and the page to try it on: Swagger UI, served from here, under a policy of its own."""

from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request


class ApiSchema(SpectacularAPIView):
    """The description has one version. drf-spectacular writes the parameter `version` into a header."""

    def _get_version_parameter(self, request: Request) -> None:
        return None


@method_decorator(csp_update({"img-src": ["data:"]}), name="dispatch")
class ApiPage(SpectacularSwaggerSplitView):
    """Swagger UI draws its icons from `data:` images; no other page may."""

    url_name = "api-schema"
    template_name = "api_page.html"
