"""The app's URLs; a site includes them where it likes: `path("", include("mydjangoapp.urls"))`."""

from django.urls import path

from .api import feed, health, people, photos, views

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
    path("livez/", health.livez, name="livez"),
    path("readyz/", health.ReadyView.as_view(), name="readyz"),
]
