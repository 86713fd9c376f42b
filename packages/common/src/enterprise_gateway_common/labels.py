"""The labels and annotations that tie cluster objects to a gateway, a kernel and an installation.

The first group is what existing installations select by (`kubectl get all -l kernel_id=…`) and never changes; the
second is Kubernetes' recommended set, whose instance label keeps two installations apart.
"""

__all__ = [
    "ANNOTATION_PREFIX",
    "APP",
    "APP_VALUE",
    "CLAIM_ANNOTATION",
    "COMPONENT",
    "COMPONENT_KERNEL",
    "COMPONENT_POOL",
    "COMPONENT_PULLER",
    "COMPONENT_WORKER",
    "CULL_QUESTION_ANNOTATION",
    "DEFAULT_CONTAINER_ANNOTATION",
    "ENDING_ANNOTATION",
    "HEARD_ANNOTATION",
    "INSTANCE",
    "IN_USE_ANNOTATION",
    "KERNEL_CONTAINER_ANNOTATION",
    "KERNEL_ID",
    "KERNEL_LAUNCH",
    "KERNEL_NAME_ANNOTATION",
    "KERNEL_USER",
    "LAST_ACTIVITY_ANNOTATION",
    "LOSS_ANNOTATION",
    "LOSS_QUESTION_ANNOTATION",
    "MANAGED_BY",
    "NAME",
    "OWN_NAMESPACE_ANNOTATION",
    "PART_OF",
    "POOL_FINGERPRINT",
    "POOL_READY_ANNOTATION",
    "PROXY_PORTS_ANNOTATION",
    "RECOMMENDED_COMPONENT",
    "RECORD_VERSION_ANNOTATION",
    "USERNAME_ANNOTATION",
]

APP = "app"
APP_VALUE = "enterprise-gateway"
COMPONENT = "component"
COMPONENT_KERNEL = "kernel"
COMPONENT_POOL = "kernel-pool"  # a pod that waits for the start of a kernel, and is nobody's until then
COMPONENT_PULLER = "kernel-image-puller"
COMPONENT_WORKER = "worker"  # a pod that a kernel starts itself, such as Spark's executors
KERNEL_ID = "kernel_id"

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
RECOMMENDED_COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
PART_OF = "app.kubernetes.io/part-of"
DEFAULT_CONTAINER_ANNOTATION = "kubectl.kubernetes.io/default-container"  # which one `kubectl logs` and `kubectl exec` take

ANNOTATION_PREFIX = "enterprise-gateway.jupyter.org/"

# Labels: what objects are selected by.
KERNEL_LAUNCH = ANNOTATION_PREFIX + "launch"  # one start of a kernel; a restart has another one
KERNEL_USER = ANNOTATION_PREFIX + "user"  # the user's name as a valid, collision-free label
POOL_FINGERPRINT = ANNOTATION_PREFIX + "pool"  # starts that have it in common can have each other's pods

# Annotations: what is only read.
RECORD_VERSION_ANNOTATION = ANNOTATION_PREFIX + "record-version"
KERNEL_NAME_ANNOTATION = ANNOTATION_PREFIX + "kernelspec"
USERNAME_ANNOTATION = ANNOTATION_PREFIX + "username"
KERNEL_CONTAINER_ANNOTATION = ANNOTATION_PREFIX + "kernel-container"  # the kernel's container, whatever admission adds to the pod
LAST_ACTIVITY_ANNOTATION = ANNOTATION_PREFIX + "last-activity"
PROXY_PORTS_ANNOTATION = ANNOTATION_PREFIX + "proxy-ports"  # what the kernelspec opened to the gateway when the pod was made
POOL_READY_ANNOTATION = ANNOTATION_PREFIX + "pool-ready"  # when the supervisor of a pool's pod was found to wait
CLAIM_ANNOTATION = ANNOTATION_PREFIX + "claimed"  # when a kernel's start took the pod out of a pool
OWN_NAMESPACE_ANNOTATION = ANNOTATION_PREFIX + "own-namespace"  # "true": the namespace was made for this kernel

# Annotations by which the replicas of a gateway tell each other of a kernel.
ENDING_ANNOTATION = ANNOTATION_PREFIX + "ending"  # why the pod is about to end: whether the kernel ends or starts again
CULL_QUESTION_ANNOTATION = ANNOTATION_PREFIX + "cull-question"  # who is about to cull it
IN_USE_ANNOTATION = ANNOTATION_PREFIX + "in-use"  # when a replica last answered that it is in use
LOSS_QUESTION_ANNOTATION = ANNOTATION_PREFIX + "loss-question"  # who can't reach the kernel of a pod that the cluster doubts
HEARD_ANNOTATION = ANNOTATION_PREFIX + "heard"  # when a replica last answered that it can
LOSS_ANNOTATION = ANNOTATION_PREFIX + "lost"  # when the kernel was given up for lost: no replica reaches it
