"""Sites of somebody else's, each made by `django-admin startproject`, the README's blocks and one app."""
