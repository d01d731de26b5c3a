"""The Litestar application over the services."""

from litestar import Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig

from appliance import __version__
from appliance.api import (
    conversations,
    dead_letters,
    faq,
    faq_asking,
    faq_import,
    fragments,
    inbox,
    keys,
    logs,
    me,
    misses,
    models,
    openai,
    placement,
    regressions,
    requests,
    sessions,
    settings,
    setup,
    status,
    users,
)
from appliance.api.bodies import StrictRequest
from appliance.api.callers import Caller, caller_of
from appliance.api.document import DocumentPlugin
from appliance.api.document_page import PagePlugin
from appliance.api.gate import Gate
from appliance.api.problems import EXCEPTION_HANDLERS
from appliance.api.services import Services


def build(services: Services) -> Gate:
    """The API. It starts and stops nothing: the runtime owns what `services` holds."""
    application = Litestar(
        route_handlers=[
            status.router,
            sessions.router,
            requests.router,
            dead_letters.router,
            users.router,
            me.router,
            inbox.router,
            fragments.router,
            keys.router,
            conversations.router,
            faq.router,
            faq_asking.router,
            faq_import.router,
            misses.router,
            regressions.router,
            models.router,
            placement.router,
            setup.router,
            settings.router,
            logs.router,
            openai.router,
        ],
        dependencies={
            "services": Provide(lambda: services, sync_to_thread=False),
            "caller": Provide(caller_of, sync_to_thread=False),
        },
        request_class=StrictRequest,
        signature_types=[Services, Caller],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=OpenAPIConfig(
            title="Sluice",
            version=__version__,
            path="/schema",
            render_plugins=[DocumentPlugin(), PagePlugin()],
        ),
        request_max_body_size=None,  # the gate bounds bodies, per route
        debug=False,
        logging_config=None,
    )
    return Gate(
        application,
        settings=services.settings,
        admin_key=services.admin_key,
        api_keys=services.api_keys,
        owners=services.owners,
        paths=[route.path_format for route in application.routes],
    )
