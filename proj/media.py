"""Serving uploaded images on a laptop. A real site lets its web server or its object store do that."""

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.static import serve

SAFE = {"image/jpeg", "image/png", "image/webp", "image/avif"}


def media(request: HttpRequest, path: str) -> HttpResponseBase:
    """A file of `MEDIA_ROOT`: as an image, or else as a download, and never as a page with scripts."""
    response = serve(request, path, document_root=settings.MEDIA_ROOT)
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    if response.headers.get("Content-Type") not in SAFE:
        response["Content-Type"] = "application/octet-stream"
        response["Content-Disposition"] = "attachment"
    return response
