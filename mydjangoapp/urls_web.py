"""Pages, for users who are logged in by session. `urls_accounts` has signing up and in."""

from django.urls import path

from .connections.requests import answering_when_away, with_views
from .web import account, circles, home, people, photo, trending, upload

app_name = "mydjangoapp_web"

urlpatterns = with_views(
    answering_when_away,
    [
        path("", home.HomeView.as_view(), name="home"),
        path("new/", upload.UploadView.as_view(), name="upload"),
        path("p/<int:photo_id>/", photo.PhotoView.as_view(), name="photo"),
        path("p/<int:photo_id>/like/", photo.LikeView.as_view(), name="like"),
        path("p/<int:photo_id>/delete/", photo.DeleteView.as_view(), name="delete"),
        path("people/", people.PeopleView.as_view(), name="people"),
        path("u/<str:user_id>/", people.ProfileView.as_view(), name="profile"),
        path("u/<str:user_id>/follow/", people.FollowView.as_view(), name="follow"),
        path("u/<str:user_id>/mute/", people.MuteView.as_view(), name="mute"),
        path("u/<str:user_id>/block/", people.BlockView.as_view(), name="block"),
        path("c/", circles.CirclesView.as_view(), name="circles"),
        path("c/new/", circles.NewCircleView.as_view(), name="new-circle"),
        path("c/<int:circle_id>/", circles.CircleView.as_view(), name="circle"),
        path("c/<int:circle_id>/membership/", circles.MembershipView.as_view(), name="membership"),
        path("circles/<int:circle_id>/trending/", trending.TrendingView.as_view(), name="trending"),
        path("settings/", account.SettingsView.as_view(), name="settings"),
        path("settings/my-data.json", account.DownloadView.as_view(), name="download"),
        path("settings/leave/", account.LeaveView.as_view(), name="leave"),
    ],
)
