"""The page to try the API on: Swagger UI, its assets served from here, under a policy of its own."""

from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from drf_spectacular.views import SpectacularSwaggerSplitView


@method_decorator(csp_update({"img-src": ["data:"]}), name="dispatch")
class ApiPage(SpectacularSwaggerSplitView):
    """Swagger UI draws its icons from `data:` images; no other page may."""

    url_name = "api-schema"
    template_name = "api_page.html"
