"""Cases of the rules about pods."""

from dataclasses import replace

from policies.rules.model import Secret
from tests.unit.policies.cases.case import Case
from tests.unit.policies.deep_change import GONE, changed_at
from tests.unit.policies.resources import APP, CONFIG_MAP, DEPLOYMENT, DIGEST, POD, SECRET

CASES: dict[str, list[Case]] = {
    "k8s-resources": [
        Case(
            [DEPLOYMENT],
            [
                (f"{APP}.resources.requests.cpu", GONE, "containers[app].resources.requests.cpu is not set"),
                (f"{APP}.resources.requests.memory", GONE, "requests.memory is not set"),
                (f"{APP}.resources.limits.cpu", GONE, "limits.cpu is not set"),
                (f"{APP}.resources.limits.memory", GONE, "limits.memory is not set"),
                (f"{POD}.initContainers.0.resources", GONE, "initContainers[init].resources.requests.cpu"),
            ],
            [f"{APP}.resources", f"{POD}.containers", "spec", f"{POD}.initContainers"],
        )
    ],
    "k8s-non-root": [
        Case(
            [DEPLOYMENT],
            [
                (f"{POD}.securityContext.runAsNonRoot", False, "runAsNonRoot is false"),
                (f"{POD}.securityContext.runAsNonRoot", GONE, "runAsNonRoot is not set"),
                (f"{POD}.securityContext.runAsUser", 0.0, "runAsUser is 0"),
                (f"{APP}.securityContext.runAsNonRoot", False, "containers[app].securityContext.runAsNonRoot is false"),
                (f"{APP}.securityContext.runAsUser", 0.0, "containers[app].securityContext.runAsUser is 0"),
            ],
            [f"{POD}.securityContext.runAsNonRoot", f"{APP}.securityContext", APP],
        )
    ],
    "k8s-no-privilege-escalation": [
        Case(
            [DEPLOYMENT],
            [
                (f"{APP}.securityContext.allowPrivilegeEscalation", GONE, "allowPrivilegeEscalation is not set"),
                (f"{APP}.securityContext.privileged", True, "privileged is true"),
                (f"{APP}.securityContext.capabilities.add", ["SYS_ADMIN"], "capabilities.add is SYS_ADMIN"),
                (f"{APP}.securityContext.procMount", "Unmasked", "procMount is 'Unmasked'; expected Default"),
                (
                    f"{APP}.securityContext.seccompProfile",
                    {"type": "Unconfined"},
                    "containers[app].securityContext.secc",
                ),
                (f"{POD}.securityContext.seccompProfile", {"type": "Unconfined"}, f"{POD}.securityContext.seccomp"),
                (f"{POD}.securityContext.appArmorProfile", {"type": "Unconfined"}, "appArmorProfile.type"),
                (f"{POD}.securityContext.sysctls", [{"name": "kernel.shm_rmid_forced"}], "sysctls is [{"),
                (f"{POD}.securityContext.windowsOptions", {"hostProcess": True}, "hostProcess is true"),
                (f"{APP}.securityContext.seLinuxOptions", {"type": "spc_t"}, "seLinuxOptions.type is 'spc_t'"),
                (f"{APP}.securityContext.capabilities", GONE, "capabilities.drop is not set; expected ALL"),
                (f"{APP}.securityContext.capabilities.drop", ["NET_RAW"], "capabilities.drop is NET_RAW"),
                (f"{POD}.initContainers.0.securityContext.privileged", True, "initContainers[init]"),
            ],
            [f"{APP}.securityContext", f"{APP}.securityContext.capabilities.drop.0"],
        )
    ],
    "k8s-read-only-root": [
        Case(
            [DEPLOYMENT],
            [(f"{APP}.securityContext.readOnlyRootFilesystem", GONE, "readOnlyRootFilesystem is not set")],
            [f"{APP}.securityContext.readOnlyRootFilesystem"],
        )
    ],
    "k8s-no-host-access": [
        Case(
            [DEPLOYMENT],
            [
                (f"{POD}.hostNetwork", True, "hostNetwork is true"),
                (f"{POD}.hostPID", True, "hostPID is true"),
                (f"{POD}.hostIPC", True, "hostIPC is true"),
                (f"{POD}.volumes.0.hostPath", {"path": "/"}, "volumes[0].hostPath is {'path': '/'}"),
                (f"{POD}.volumes.0.nfs", {"server": "nfs"}, "volumes[0].nfs is {'server': 'nfs'}; expected another"),
                (f"{APP}.ports", [{"containerPort": 80.0, "hostPort": 80.0}], "ports[0].hostPort is 80"),
            ],
            [f"{POD}.hostNetwork", f"{POD}.volumes", f"{POD}.volumes.0"],
        )
    ],
    "k8s-no-latest": [
        Case(
            [DEPLOYMENT, replace(DEPLOYMENT, inputs=changed_at(DEPLOYMENT.inputs, f"{APP}.image", "host:5000/app:1"))],
            [
                (f"{APP}.image", "registry.example/app:latest", "app:latest'"),
                (f"{APP}.image", "registry.example/app", "expected a tag"),
                (f"{APP}.image", "host:5000/app", "expected a tag"),
                (f"{APP}.image", "app:stable", "expected a tag"),
                (f"{APP}.image", "app:1-latest", "expected a tag"),
                (f"{APP}.image", "app:Latest", "expected a tag"),
                (f"{APP}.image", f"registry.example/app:latest@{DIGEST}", "expected a tag"),
                (f"{APP}.image", GONE, "image is not set"),
            ],
            [f"{APP}.image"],
        )
    ],
    "k8s-probes": [
        Case(
            [DEPLOYMENT],
            [
                (f"{APP}.readinessProbe", GONE, "readinessProbe is not set"),
                (f"{APP}.livenessProbe", GONE, "livenessProbe is not set"),
            ],
            [f"{APP}.livenessProbe"],
        )
    ],
    "k8s-no-plain-secret": [
        Case(
            [CONFIG_MAP],
            [
                ("data.HOST", Secret("hush"), "data.HOST holds a value that the program marks as secret"),
                ("data.PAYLOAD_SECRET", "hush", "data.PAYLOAD_SECRET is named like a secret"),
                ("data.DATABASE_URI", "hush", "data.DATABASE_URI is named like a secret"),
                ("data.URL", "postgres://u:hush@h/db", "data.URL holds a URL with a password"),
            ],
            ["data", "data.HOST"],
        ),
        Case(
            [DEPLOYMENT],
            [
                (f"{APP}.env.1", {"name": "PASSWORD", "value": "hush"}, "env.PASSWORD is named like a secret"),
                (f"{APP}.env.0.value", Secret("hush"), "env.LOG_LEVEL holds a value"),
                (f"{APP}.env.0", {"name": "SENTRY_API_KEY", "value": "hush"}, "env.SENTRY_API_KEY is named like"),
                (f"{APP}.args", ["serve", "--password=hush"], "args.password is named like a secret"),
                (f"{APP}.command", ["psql", "postgres://u:hush@h/d"], "command.1 holds a URL with a password"),
                (f"{APP}.args", [Secret("hush")], "args.0 holds a value that the program marks as secret"),
            ],
            [f"{APP}.env", f"{APP}.env.0", f"{APP}.env.0.value"],
        ),
        Case([SECRET], [("stringData.PASSWORD", "hush", "stringData.PASSWORD is not marked as secret")], []),
    ],
    "k8s-no-shared-token": [
        Case(
            [
                replace(DEPLOYMENT, inputs=changed_at(DEPLOYMENT.inputs, f"{POD}.automountServiceAccountToken", False)),
                replace(DEPLOYMENT, inputs=changed_at(DEPLOYMENT.inputs, f"{POD}.serviceAccountName", "prometheus")),
            ],
            [
                (
                    f"{POD}.automountServiceAccountToken",
                    GONE,
                    "automountServiceAccountToken is not set; expected false",
                ),
                (f"{POD}.automountServiceAccountToken", True, "automountServiceAccountToken is true"),
            ],
            [f"{POD}.automountServiceAccountToken"],
        )
    ],
}
