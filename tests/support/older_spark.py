"""A Spark kernelspec as Enterprise Gateway 3.3 had it: what of it matters to a start here."""

from __future__ import annotations

from typing import Any

__all__ = ["OLDER_TEMPLATE", "older_spark_kernelspec"]

_LABELS = {"app": "enterprise-gateway", "kernel_id": "${KERNEL_ID}"}
_SETTINGS = {
    "spark.kubernetes.namespace": "${KERNEL_NAMESPACE}",
    **{f"spark.kubernetes.driver.label.{name}": value for name, value in {**_LABELS, "component": "kernel"}.items()},
    **{f"spark.kubernetes.executor.label.{name}": value for name, value in {**_LABELS, "component": "worker"}.items()},
    "spark.kubernetes.driver.container.image": "${KERNEL_IMAGE}",
    "spark.kubernetes.executor.container.image": "${KERNEL_EXECUTOR_IMAGE}",
    "spark.kubernetes.authenticate.driver.serviceAccountName": "${KERNEL_SERVICE_ACCOUNT_NAME}",
    "spark.kubernetes.submission.waitAppCompletion": "false",
    "spark.kubernetes.driverEnv.HTTP2_DISABLE": "true",
}
_MASTER = "k8s://https://${KUBERNETES_SERVICE_HOST}:${KUBERNETES_SERVICE_PORT}"
_CONNECTION = ("kernel-id", "port-range", "response-address", "public-key")

# Of their `scripts/kernel-pod.yaml.j2` what differs from this project's: no account's token, nothing of the pod's own
# address or images, and a security context only where ids are named.
OLDER_TEMPLATE = """\
apiVersion: v1
kind: Pod
metadata:
  name: "{{ kernel_pod_name }}"
  namespace: "{{ kernel_namespace }}"
  labels:
    kernel_id: "{{ kernel_id }}"
    app: enterprise-gateway
    component: kernel
spec:
  restartPolicy: Never
  serviceAccountName: "{{ kernel_service_account_name }}"
  {% if kernel_uid is defined or kernel_gid is defined %}
  securityContext:
    {% if kernel_uid is defined %}
    runAsUser: {{ kernel_uid | int }}
    {% endif %}
    {% if kernel_gid is defined %}
    runAsGroup: {{ kernel_gid | int }}
    {% endif %}
    fsGroup: 100
  {% endif %}
  containers:
  - name: "{{ kernel_pod_name }}"
    image: "{{ kernel_image }}"
    env:
    - name: EG_RESPONSE_ADDRESS
      value: "{{ eg_response_address }}"
    - name: KERNEL_SPARK_CONTEXT_INIT_MODE
      value: "{{ kernel_spark_context_init_mode }}"
    - name: KERNEL_NAMESPACE
      value: "{{ kernel_namespace }}"
"""


def older_spark_kernelspec(name: str, image: str) -> dict[str, Any]:
    """Return the kernel.json of a kernelspec of this name."""
    confs = " ".join(f"--conf {setting}={value}" for setting, value in _SETTINGS.items())
    argv = [f"/usr/local/share/jupyter/kernels/{name}/bin/run.sh"]
    argv += [word for option in _CONNECTION for word in (f"--RemoteProcessProxy.{option}", f"{{{option.replace('-', '_')}}}")]
    return {
        "argv": [*argv, "--RemoteProcessProxy.spark-context-initialization-mode", "lazy"],
        "language": "python",
        "display_name": "Spark as it was",
        "env": {
            "SPARK_HOME": "/opt/spark",
            "SPARK_OPTS": f"--master {_MASTER} --deploy-mode cluster --name ${{KERNEL_USERNAME}}-${{KERNEL_ID}} {confs} "
            "${KERNEL_EXTRA_SPARK_OPTS}",
            "HTTP2_DISABLE": "true",
            "LAUNCH_OPTS": "",
        },
        "metadata": {
            "process_proxy": {
                "class_name": "enterprise_gateway.services.processproxies.k8s.KubernetesProcessProxy",
                "config": {"image_name": image, "executor_image_name": image},
            },
            "debugger": True,
        },
    }
