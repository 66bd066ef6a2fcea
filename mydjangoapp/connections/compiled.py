"""Queries that are compiled once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.db import connections
from django.db.models import QuerySet

Compiled = tuple[str, list[tuple[int, Any, Any]]]


class CompiledQuery:
    """A query that is asked again and again with another value. Django takes several times as long to compile
    it as the database to answer it.

    `query`: gets the alias of a database; returns `values_list(…)` of a queryset with as many parameters as
    `first` is called with, whatever their values. No value may change the text of the query, as None would.
    """

    def __init__(self, query: Callable[[str], QuerySet[Any, Any]]) -> None:
        self._query = query
        self._compiled = lru_cache(maxsize=32)(self._compile)

    def first(self, alias: str, *values: Any) -> list[Any] | None:
        """The columns of one row, converted as Django does it; None if there is none. One query."""
        connection = connections[alias]
        sql, converters = self._compiled(alias, connection.vendor)
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            row = cursor.fetchone()
        if row is None:
            return None
        columns = list(row)
        for index, convert, expression in converters:
            columns[index] = convert(columns[index], expression, connection)
        return columns

    def _compile(self, alias: str, vendor: str) -> Compiled:
        compiler = self._query(alias).order_by().query.get_compiler(alias)
        sql, _ = compiler.as_sql()
        found = compiler.get_converters([selected[0] for selected in compiler.select or ()])
        return sql, [
            (index, convert, expression)
            for index, (converts, expression) in found.items()
            for convert in converts
        ]
