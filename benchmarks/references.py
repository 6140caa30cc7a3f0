"""The references of the rates, on Granian's WSGI with 32 threads and without middleware or a database.

`/event` is the floor: a plain Django view. `/hello` is a hello world of Django REST framework with default settings.
"""

from typing import Any

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=[],
    SECRET_KEY="unused",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
)
django.setup()

from rest_framework import serializers  # noqa: E402  (needs the settings)
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b'{"ok":true}', content_type="application/json")


class Greeting(serializers.Serializer[Any]):
    greeting = serializers.CharField()
    name = serializers.CharField()


class Hello(APIView):
    def get(self, request: Request) -> Response:
        return Response(Greeting({"greeting": "Hello", "name": "world"}).data)


urlpatterns = [path("event", answer), path("hello", Hello.as_view())]
application = get_wsgi_application()
