"""The API, which a site includes where it likes: `path("feeds/", include("mydjangoapp.urls"))`.

Beside it, each to be included or left out: `urls_token` (a token for a password), `urls_ops` (health and
metrics), `urls_web` (pages), `urls_docs` (OpenAPI).
"""

from django.urls import path

from .api import circles, feed, people, photos, views
from .connections.requests import answering_when_away, with_views

app_name = "mydjangoapp"

urlpatterns = with_views(
    answering_when_away,
    [
        path("upload/", views.UploadView.as_view(), name="upload"),
        path("feed/", feed.FeedView.as_view(), name="feed"),
        path("photos/<int:photo_id>/", photos.PhotoView.as_view(), name="photo"),
        path("photos/<int:photo_id>/like/", photos.LikeView.as_view(), name="like"),
        path("photos/<int:photo_id>/fanout/", views.FanOutView.as_view(), name="fanout"),
        path("photos/<int:photo_id>/fanout/retry/", views.RetryView.as_view(), name="retry"),
        path("users/<str:user_id>/", people.ProfileView.as_view(), name="user"),
        path("users/<str:user_id>/photos/", people.PhotosView.as_view(), name="user-photos"),
        path("users/<str:user_id>/followers/", people.FollowersView.as_view(), name="followers"),
        path("users/<str:user_id>/following/", people.FollowingView.as_view(), name="following"),
        path("users/<str:user_id>/follow/", people.FollowView.as_view(), name="follow"),
        path("users/<str:user_id>/mute/", people.MuteView.as_view(), name="mute"),
        path("users/<str:user_id>/block/", people.BlockView.as_view(), name="block"),
        path("circles/", circles.CirclesView.as_view(), name="circles"),
        path("circles/<int:circle_id>/", circles.CircleView.as_view(), name="circle"),
        path("circles/<int:circle_id>/membership/", circles.MembershipView.as_view(), name="membership"),
        path("circles/<int:circle_id>/photos/", circles.CirclePhotosView.as_view(), name="circle-photos"),
        path("circles/<int:circle_id>/hot/", circles.HotView.as_view(), name="hot"),
    ],
)
