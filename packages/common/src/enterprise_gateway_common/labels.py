"""The labels and annotations that tie cluster objects to a gateway, a kernel and an installation.

The first group is what existing installations select by (`kubectl get all -l kernel_id=…`) and never changes; the
second is Kubernetes' recommended set, whose instance label keeps two installations apart.
"""

__all__ = [
    "ANNOTATION_PREFIX",
    "APP",
    "APP_VALUE",
    "COMPONENT",
    "COMPONENT_GATEWAY",
    "COMPONENT_KERNEL",
    "COMPONENT_PULLER",
    "COMPONENT_WORKER",
    "INSTANCE",
    "KERNEL_ID",
    "MANAGED_BY",
    "NAME",
    "PART_OF",
    "RECOMMENDED_COMPONENT",
]

APP = "app"
APP_VALUE = "enterprise-gateway"
COMPONENT = "component"
COMPONENT_GATEWAY = "enterprise-gateway"
COMPONENT_KERNEL = "kernel"
COMPONENT_WORKER = "worker"
COMPONENT_PULLER = "kernel-image-puller"
KERNEL_ID = "kernel_id"

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
RECOMMENDED_COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
PART_OF = "app.kubernetes.io/part-of"

ANNOTATION_PREFIX = "enterprise-gateway.jupyter.org/"
