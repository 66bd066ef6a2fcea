"""The app's URLs; a site includes them where it likes: `path("", include("mydjangoapp.urls"))`."""

from django.urls import path

from .api import circles, feed, people, photos, views
from .api.outages import answering_when_away, without_transaction
from .ops import health, metrics
from .web import trending

app_name = "mydjangoapp"

urlpatterns = [
    path("token/", views.TokenView.as_view(), name="token"),
    path("upload/", views.UploadView.as_view(), name="upload"),
    path("feed/", feed.FeedView.as_view(), name="feed"),
    path("photos/<int:photo_id>/", photos.PhotoView.as_view(), name="photo"),
    path("photos/<int:photo_id>/like/", photos.LikeView.as_view(), name="like"),
    path("users/<str:user_id>/", people.ProfileView.as_view(), name="user"),
    path("users/<str:user_id>/photos/", people.PhotosView.as_view(), name="user-photos"),
    path("users/<str:user_id>/followers/", people.FollowersView.as_view(), name="followers"),
    path("users/<str:user_id>/following/", people.FollowingView.as_view(), name="following"),
    path("users/<str:user_id>/follow/", people.FollowView.as_view(), name="follow"),
    path("users/<str:user_id>/mute/", people.MuteView.as_view(), name="mute"),
    path("users/<str:user_id>/block/", people.BlockView.as_view(), name="block"),
    path("photos/<int:photo_id>/fanout/", views.FanOutView.as_view(), name="fanout"),
    path("photos/<int:photo_id>/fanout/retry/", views.RetryView.as_view(), name="retry"),
    path("circles/", circles.CirclesView.as_view(), name="circles"),
    path("circles/<int:circle_id>/", circles.CircleView.as_view(), name="circle"),
    path("circles/<int:circle_id>/membership/", circles.MembershipView.as_view(), name="membership"),
    path("circles/<int:circle_id>/photos/", circles.CirclePhotosView.as_view(), name="circle-photos"),
    path("circles/<int:circle_id>/hot/", circles.HotView.as_view(), name="hot"),
    path("circles/<int:circle_id>/trending/", trending.TrendingView.as_view(), name="trending"),
    path("livez/", health.livez, name="livez"),
    path("metrics", metrics.metrics, name="metrics"),
    path("readyz/", health.ReadyView.as_view(), name="readyz"),
]

ASKS_NOBODY = {"livez", "metrics", "readyz"}  # or says itself what is away

for pattern in urlpatterns:
    wrap = without_transaction if pattern.name in ASKS_NOBODY else answering_when_away
    pattern.callback = wrap(pattern.callback)
