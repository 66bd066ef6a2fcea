"""Reading a body that a stranger sent."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import IO, Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser, DataAndFiles, FormParser, JSONParser, MultiPartParser

from ..conf import conf


class BodyTooLarge(APIException):
    """413: more bytes than any call of ours needs."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


class BoundedJSONParser(JSONParser):
    """JSON of at most 64 KiB, nested no deeper than Python's parser goes.

    Django's own limit on request bodies does not see what DRF reads from the stream.
    """

    LIMIT = 64 * 1024

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        body = stream.read(self.LIMIT + 1)
        if len(body) > self.LIMIT:
            raise BodyTooLarge(
                _("The JSON body has more than %(most)s bytes.")
                % {"most": number_format(self.LIMIT, force_grouping=True)}
            )
        try:
            return super().parse(io.BytesIO(body), media_type, parser_context)
        except RecursionError as error:
            raise ParseError(_("JSON parse error - nested too deeply.")) from error


class _KnownCharset(BaseParser):
    """A charset parameter that Python cannot decode with is the client's error."""

    def parse(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().parse(*arguments, **options)
        except (LookupError, UnicodeError) as error:
            raise ParseError(_("The charset in Content-Type does not fit the body.")) from error


class BoundedFormParser(_KnownCharset, FormParser):
    """A form; Django's own DATA_UPLOAD_MAX_MEMORY_SIZE bounds it."""


class BoundedMultiPartParser(_KnownCharset, MultiPartParser):
    """Multipart of at most `UPLOAD_MAX_BYTES` and 64 KiB for the fields, refused before it is read."""

    FIELDS = 64 * 1024

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> DataAndFiles[Any, Any]:
        length = (parser_context or {})["request"].META.get("CONTENT_LENGTH") or 0
        if int(length) > conf.UPLOAD_MAX_BYTES + self.FIELDS:
            problem = _("image: the file has more than %(most)s bytes.")
            raise BodyTooLarge(problem % {"most": number_format(conf.UPLOAD_MAX_BYTES, force_grouping=True)})
        found: DataAndFiles[Any, Any] = super().parse(stream, media_type, parser_context)
        return found
