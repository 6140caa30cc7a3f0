from events.api.urls import SiteRouter
from legacy.routes.views import ClientLogViewSet, CountViewSet, IncrementViewSet, RecentViewSet

router = SiteRouter()
router.register("client-log", ClientLogViewSet, "client-log")
router.register("count", CountViewSet, "count")
router.register("increment", IncrementViewSet, "increment")
router.register("recent", RecentViewSet, "recent")

urlpatterns = router.urls
