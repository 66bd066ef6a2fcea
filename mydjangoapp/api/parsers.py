"""Reading a JSON body that a stranger sent."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser


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
            raise BodyTooLarge(f"The JSON body has more than {self.LIMIT:,} bytes.")
        try:
            return super().parse(io.BytesIO(body), media_type, parser_context)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply.") from error
