"""Every setting of the gateway, declared once.

The command line, the configuration file, the environment and the documentation's page of settings all come from the
fields of `GatewaySettings`, which has one base for each group.

A value is taken from the command line, else from the configuration file, else from the environment, else it is the
default that stands here. Older environment names follow the newest; `KG_*` names come from Jupyter Kernel Gateway.
"""

from dataclasses import dataclass

from enterprise_gateway.settings.access import AccessSettings
from enterprise_gateway.settings.bounds import BoundSettings
from enterprise_gateway.settings.culling import CullingSettings
from enterprise_gateway.settings.elsewhere import ACCEPTED_WITHOUT_EFFECT, ElsewhereSettings
from enterprise_gateway.settings.environment import EnvironmentSettings
from enterprise_gateway.settings.kernels import KernelSettings
from enterprise_gateway.settings.kernelspecs import KernelspecSettings
from enterprise_gateway.settings.kubernetes import KubernetesSettings
from enterprise_gateway.settings.network import NetworkSettings
from enterprise_gateway.settings.operation import OperationSettings
from enterprise_gateway.settings.users import UserSettings
from enterprise_gateway.settings.websocket import WebsocketSettings

__all__ = ["ACCEPTED_WITHOUT_EFFECT", "GatewaySettings"]


# The fields of a dataclass begin with those of its last base, so the groups stand here from the last to the first.
@dataclass(frozen=True, kw_only=True)
class GatewaySettings(
    OperationSettings,
    ElsewhereSettings,
    KubernetesSettings,
    BoundSettings,
    WebsocketSettings,
    CullingSettings,
    UserSettings,
    EnvironmentSettings,
    KernelSettings,
    KernelspecSettings,
    AccessSettings,
    NetworkSettings,
):
    """The settings of one gateway process; read once at its start and handed to who needs them."""
