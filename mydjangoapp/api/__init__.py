"""HTTP, and nothing but: permission, serializer, one call, response."""
