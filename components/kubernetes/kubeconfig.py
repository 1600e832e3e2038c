"""How the program reaches the EKS cluster, with no token in the state."""

import pulumi

from components.kubernetes.cluster_facts import ClusterFacts


def eks_kubeconfig(facts: ClusterFacts, region: str) -> pulumi.Output[str]:
    """A kubeconfig (JSON is YAML) whose user asks the AWS CLI for a token at each use."""
    return pulumi.Output.json_dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": facts.name,
            "contexts": [{"name": facts.name, "context": {"cluster": facts.name, "user": facts.name}}],
            "clusters": [
                {
                    "name": facts.name,
                    "cluster": {
                        "server": facts.endpoint,
                        "certificate-authority-data": facts.certificate_authority,
                    },
                }
            ],
            "users": [
                {
                    "name": facts.name,
                    "user": {
                        "exec": {
                            "apiVersion": "client.authentication.k8s.io/v1",
                            "command": "aws",
                            "args": ["eks", "get-token", "--cluster-name", facts.name, "--region", region],
                            "interactiveMode": "Never",
                        }
                    },
                }
            ],
        },
        sort_keys=True,
    )
