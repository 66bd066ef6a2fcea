"""What a visitor of the demo finds: people with photos, circles, and a feed of their own."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile

from devtools import scenery

VISITOR = "demo"
PEOPLE = ["Ada Berg", "Bilal Aydin", "Chiyo Mori", "Dana Novak", "Emeka Obi", "Freya Lind"]
PHOTOS = 12
SHAPES = [(1_600, 1_200), (1_200, 1_500), (1_600, 900)]
CIRCLE = ("Hills", "Hills at any hour of the day.")


def fill(author: Any, password: str) -> Any:
    """Makes people, photos, a circle and likes, if they are not there; returns the visitor, who follows
    almost all of them and `author`, and logs in by this password."""
    from mydjangoapp import graph, likes, uploads
    from mydjangoapp.circles import members
    from mydjangoapp.models import Circle, Photo
    from mydjangoapp.photos import images

    visitor = _user(VISITOR, "Demo Visitor")
    visitor.set_password(password)
    visitor.save()
    people = [_user(name.split()[0].lower(), name) for name in PEOPLE]
    for person in (*people[:-1], author):  # one is left to be found under People
        graph.follow(visitor, person)
    if Photo.objects.filter(user__in=people).exists():
        return visitor
    circle = Circle.objects.first() or members.create(people[0], name=CIRCLE[0], description=CIRCLE[1])
    for number in range(PHOTOS):
        person = people[number % len(people)]
        scene = scenery.draw(number, SHAPES[number % len(SHAPES)])
        image = images.clean(SimpleUploadedFile("scene.jpg", scene.body))
        is_for_all = number % 3
        if not is_for_all:
            members.join(person, circle)
        photo = uploads.publish(
            person,
            description=scene.title,
            alt_text=scene.shows,
            image=image,
            circle=None if is_for_all else circle,
        )
        for other in people[: number % len(people)]:
            likes.like(other, photo.pk)
    return visitor


def _user(username: str, name: str) -> Any:
    first, last = name.split()
    user, _ = get_user_model().objects.get_or_create(
        username=username, defaults={"first_name": first, "last_name": last, "password": "!"}
    )
    return user
